"""The study and the dynamics of searches, as the programs make them, at the smallest sizes."""

import pathlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from ml_collections import ConfigDict

from racl_tf.files import read_table
from racl_tf.reproduction import pages
from racl_tf.reproduction.dynamics import dynamics
from racl_tf.reproduction.runs import run_reproduction, run_study

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("few_and_shallow")]

Reproduction = Callable[..., ConfigDict]
Written = Callable[[], dict[pathlib.Path, int]]


def test_dynamics(workdir: pathlib.Path, reproduction: Reproduction, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of the searches, of which one is constrained."""
    titles = ("unconstrained", "proximal scale-free, operator norms")
    whole = dynamics(("digits",), ())
    some = replace(whole, systems={("digits", title): whole.systems["digits", title] for title in titles})
    monkeypatch.setattr(pages, "EXHIBITS", {"dynamics": lambda *_: some})
    config = reproduction("dynamics")
    config.digits.search.epochs, config.digits.search.warmup_epochs = 2, 1
    (page,) = run_reproduction(config, str(workdir / "run"))
    text = page.read_text()
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")][2:] == [
        f"| {title}" for title in titles
    ]
    assert "nan" not in text
    assert (workdir / "run/dynamics_digits.png").exists()


def test_the_study(workdir: pathlib.Path, tiny: ConfigDict, written: Written) -> None:
    config = tiny
    config.study.variants = ("RACL scale-free, operator norms", "without confidence learning", "random cells")
    study = run_study(config, str(workdir / "run"))
    assert [len(runs) for runs in study.outcomes.values()] == [2, 2, 2]
    racl, point, random = (runs[0] for runs in study.outcomes.values())
    for outcome in (racl, point, random):
        assert {*outcome.correct} == {"clean", "fgsm"}
        figures = outcome.figures
        assert figures["ln surrogate, matrix"] < figures["ln surrogate, operator"]
        assert figures["ln largest slope found"] < figures["ln upper bound"]
        assert ("constraint" in figures) == ("mu_F" in figures) == ("mu_alpha_common" in outcome.search)
    assert (random.search, len({outcome.genotype for outcome in (racl, point, random)})) == ({}, 3)
    assert study.correlations()["ln surrogate, matrix"].count == 6
    assert study.correlations()["constraint"].count == 4
    searches = [path for path in workdir.rglob("search/history.csv") if len(read_table(path)) == 1]
    assert len(searches) == 4, "of two modes from two seeds"
    before = written()
    assert run_study(config, str(workdir / "run")).markdown() == study.markdown()
    assert written() == before
