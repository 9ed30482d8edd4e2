"""The names mean what the paper's evaluation means by them."""

from dataclasses import replace

import pytest

from racl_tf.attacks import GradientAttack, autoattack, make_attack, standard_suite
from racl_tf.errors import UsageError

EPS, STEP = 8 / 255, 2 / 255


def test_standard_suite():
    assert standard_suite(EPS, STEP) == {
        "fgsm": GradientAttack(EPS, EPS, 1),
        "mim": GradientAttack(EPS, EPS / 10, 10, decay=1.0),
        "pgd10": GradientAttack(EPS, EPS / 10, 10, random_start=True),
        "pgd20": GradientAttack(EPS, STEP, 20, random_start=True),
        "pgd100": GradientAttack(EPS, STEP, 100, random_start=True),
    }


def test_names():
    for name, attack in standard_suite(EPS, STEP).items():
        assert make_attack(name, EPS, STEP) == (attack,)
    assert make_attack("mim10", EPS, STEP) == make_attack("mim", EPS, STEP)
    assert make_attack("mim20", EPS, STEP) == (GradientAttack(EPS, EPS / 20, 20, decay=1.0),)
    assert make_attack("pgd7", EPS, STEP) == (GradientAttack(EPS, STEP, 7, random_start=True),)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_autoattack_and_its_parts(norm):
    whole = make_attack("autoattack", EPS, STEP, norm)
    assert whole == autoattack(EPS, norm)
    assert whole == sum((make_attack(part, EPS, STEP, norm) for part in ("apgd", "apgd_t", "fab", "square")), ())
    first, second = make_attack("autoattack_rand", EPS, STEP, norm)
    assert (replace(first, eot=1),) == make_attack("apgd", EPS, STEP, norm)
    assert (replace(second, eot=1),) == make_attack("apgd_dlr", EPS, STEP, norm)
    for name in ("fgsm", "mim", "pgd10", "pgd7", "mim3"):
        assert make_attack(name, EPS, STEP, norm)[0].norm == norm


@pytest.mark.parametrize(
    ("name", "near"), [("pgd-20", "pgd20"), ("FGSM7gsm", "fgsm"), ("pgd0", "pgd"), ("mim2x", "mim")]
)
def test_unknown_names(name, near):
    with pytest.raises(UsageError, match=f"Unknown attack {name!r}. Did you mean '{near}"):
        make_attack(name, EPS, STEP)
