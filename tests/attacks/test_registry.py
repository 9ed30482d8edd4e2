"""The names mean what the paper's evaluation means by them, and a new attack takes one file and one line."""

import pathlib
from dataclasses import KW_ONLY, dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

import keras
import pytest
import tensorflow as tf

from racl_tf.attacks import (
    APGD,
    ATTACKS,
    NORMS,
    Attack,
    CarliniWagner,
    GradientAttack,
    Square,
    autoattack,
    make_attack,
    pgd,
    registry,
    standard_suite,
)
from racl_tf.attacks.autoattack import VERSIONS
from racl_tf.attacks.process import Images, LogitsOf, Process, like
from racl_tf.errors import UsageError
from racl_tf.runs import flags
from racl_tf.runs.evaluate import run_evaluation
from racl_tf.settings import paper_settings

EPS, STEP = 8 / 255, 2 / 255


def test_standard_suite() -> None:
    assert standard_suite(EPS, STEP) == {
        "fgsm": GradientAttack(EPS, EPS, 1),
        "mim": GradientAttack(EPS, EPS / 10, 10, decay=1.0),
        "pgd10": GradientAttack(EPS, EPS / 10, 10, random_start=True),
        "pgd20": GradientAttack(EPS, STEP, 20, random_start=True),
        "pgd100": GradientAttack(EPS, STEP, 100, random_start=True),
    }


def test_names() -> None:
    for name, attack in standard_suite(EPS, STEP).items():
        assert make_attack(name, EPS, STEP) == (attack,)
    assert make_attack("mim10", EPS, STEP) == make_attack("mim", EPS, STEP)
    assert make_attack("mim20", EPS, STEP) == (GradientAttack(EPS, EPS / 20, 20, decay=1.0),)
    assert make_attack("pgd7", EPS, STEP) == (GradientAttack(EPS, STEP, 7, random_start=True),)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_autoattack_and_its_parts(norm) -> None:
    whole = make_attack("autoattack", EPS, STEP, norm)
    assert whole == autoattack(EPS, norm)
    assert whole == sum((make_attack(part, EPS, STEP, norm) for part in ("apgd", "apgd_t", "fab", "square")), ())
    first, second = make_attack("autoattack_rand", EPS, STEP, norm)
    assert isinstance(first, APGD)
    assert isinstance(second, APGD)
    assert (replace(first, eot=1),) == make_attack("apgd", EPS, STEP, norm)
    assert (replace(second, eot=1),) == make_attack("apgd_dlr", EPS, STEP, norm)
    assert make_attack("autoattack_margin", EPS, STEP, norm) == autoattack(EPS, norm, loss="margin")
    assert make_attack("autoattack_rand_margin", EPS, STEP, norm) == autoattack(
        EPS, norm, version="rand", loss="margin"
    )
    for name in ("fgsm", "mim", "pgd10", "pgd7", "mim3"):
        assert make_attack(name, EPS, STEP, norm)[0].norm == norm


@pytest.mark.parametrize("name", ATTACKS)
def test_every_name_makes_an_attack_in_the_norm_asked_for(name: str) -> None:
    made = make_attack(f"{name}7" if name in ("pgd", "cw") else name, 0.5, 0.1, "l2")
    assert all(isinstance(attack, Attack) for attack in made)
    assert {(attack.eps, attack.norm) for attack in made} == {(0.5, "l2")}


def test_a_number_of_steps_follows_the_name_of_an_attack_that_takes_one() -> None:
    assert make_attack("apgd7", EPS, STEP) == (APGD(EPS, 7),)
    assert make_attack("apgd_dlr7", EPS, STEP) == (APGD(EPS, 7, loss="dlr"),)
    (square,) = make_attack("square100", EPS, STEP)
    published = autoattack(EPS)[-1]
    assert isinstance(published, Square)
    assert square == replace(published, steps=100)
    for name in ("fgsm2", "autoattack5"):
        with pytest.raises(UsageError, match=f"Unknown attack {name!r}"):
            make_attack(name, EPS, STEP)
    with pytest.raises(UsageError, match=r"'pgd' needs a number of steps .*'pgd20'"):
        make_attack("pgd", EPS, STEP)


def test_cw_is_pgd_on_the_margin_and_in_l2_the_attack_itself() -> None:
    assert make_attack("cw20", EPS, STEP) == (pgd(EPS, STEP, 20, loss="margin"),)
    assert make_attack("cw_l2", 0.5, 0.1, "l2") == (CarliniWagner(0.5),)
    with pytest.raises(UsageError, match=r"`norm` of an attack, expected 'l2'.*'cw20'"):
        make_attack("cw_l2", EPS, STEP)
    with pytest.raises(UsageError, match=r"'cw' needs a number of steps .*'cw20'"):
        make_attack("cw", EPS, STEP)


def test_a_mean_over_evaluations_follows_the_name() -> None:
    assert make_attack("pgd20_eot10", EPS, STEP) == (pgd(EPS, STEP, 20, eot=10),)
    assert make_attack("pgd10_eot3", EPS, STEP) == (pgd(EPS, EPS / 10, 10, eot=3),)
    assert make_attack("cw7_eot2", EPS, STEP) == (pgd(EPS, STEP, 7, loss="margin", eot=2),)
    assert make_attack("apgd_eot20", EPS, STEP) == autoattack(EPS, version="rand")[:1]
    assert make_attack("apgd_dlr50_eot4", EPS, STEP) == (APGD(EPS, 50, loss="dlr", eot=4),)
    for name in ("square_eot2", "autoattack_eot2", "fgsm_eot2"):
        with pytest.raises(UsageError, match="takes no mean over evaluations"):
            make_attack(name, EPS, STEP)
    for name in ("pgd20_eot0", "pgd20_eot", "pgd_20eot2"):
        with pytest.raises(UsageError, match="Unknown attack"):
            make_attack(name, EPS, STEP)


def test_members_of_autoattack_have_names() -> None:
    assert {name for members in VERSIONS.values() for name in members} <= ATTACKS.keys()


def test_the_registry_is_frozen() -> None:
    with pytest.raises(TypeError):
        ATTACKS["mine"] = APGD  # type: ignore[index]


def test_the_help_of_the_program_lists_the_names() -> None:
    """With N for a number of steps, as in pgd10, which is a name of its own for its step size."""
    _, _, listed = flags.ATTACKS["attacks"].help.partition(": ")
    words = listed.rstrip(".").split(", ")
    assert {word.removesuffix("N") for word in words} == ATTACKS.keys() - {"pgd10"}
    assert all(make_attack(word.replace("N", "3"), EPS, STEP, "l2") for word in words)


@pytest.mark.parametrize(
    ("name", "near"), [("pgd-20", "pgd20"), ("FGSM7gsm", "fgsm"), ("pgd0", "pgd"), ("mim2x", "mim")]
)
def test_unknown_names(name, near) -> None:
    with pytest.raises(UsageError, match=f"Unknown attack {name!r}. Did you mean '{near}"):
        make_attack(name, EPS, STEP)


class FadingState(NamedTuple):
    adversarial: tf.Tensor
    is_adversarial: tf.Tensor


@dataclass(frozen=True)
class Fading(Attack):
    """Fades an image to grey, as far as eps allows."""

    eps: float
    steps: int = 4
    _: KW_ONLY
    norm: str = "linf"

    def process(self, logits_of: LogitsOf) -> Process[FadingState]:
        def start(images: Images) -> FadingState:
            return FadingState(images.x, tf.zeros_like(images.y, tf.bool))

        def step(images: Images, count: tf.Tensor, state: FadingState) -> FadingState:
            predicted = tf.argmax(logits_of(state.adversarial), axis=-1, output_type=tf.int32)
            share = like(tf.cast(count + 1, tf.float32) / self.steps, images.x)
            faded = NORMS[self.norm].keep(images.x, share * (0.5 - images.x), self.eps)
            return FadingState(faded, predicted != images.y)

        return Process(start, step)


def test_a_new_attack_takes_one_file_and_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    """A class as above and its line in the registry, and the programs know it by its name."""
    monkeypatch.setattr(registry, "ATTACKS", MappingProxyType({**ATTACKS, "fading": Fading}))
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    model.save(tmp_path / "model.keras")
    config = paper_settings()
    config.evaluate.model, config.evaluate.attacks = str(tmp_path / "model.keras"), ("fading", "fading2")
    config.data.name, config.data.test_size, config.evaluate.check_images, config.attack.eps = "digits", 200, 0, 0.5
    evaluation, _ = run_evaluation(config, str(tmp_path))
    assert evaluation.attacks == {"fading": (Fading(0.5),), "fading2": (Fading(0.5, 2),)}
    assert evaluation.count("clean") > evaluation.count("fading2") >= evaluation.count("fading")
    with pytest.raises(UsageError, match="Did you mean 'fading'"):
        make_attack("fadding", EPS, STEP)
