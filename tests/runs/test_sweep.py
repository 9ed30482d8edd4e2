"""The sweeps of a model from a file: what they write, and mistakes found before any work."""

import pathlib
from collections.abc import Callable

import pytest
from ml_collections import ConfigDict

from racl_tf.files import read_table
from racl_tf.runs.sweep import run_sweep

Settings = Callable[..., ConfigDict]


def test_a_sweep(flag_settings: Settings, models: dict[str, str], tmp_path: pathlib.Path) -> None:
    config = flag_settings(
        model=models["one"],
        dataset="digits",
        images="60",
        eps="1/20",
        attacks="fgsm",
        epsilons="1/50,1/20,1/4",
        steps="1,5",
    )
    config.sweep.attacks = ("fgsm", "pgd5")
    sweeps = run_sweep(config, str(tmp_path))
    assert list(sweeps) == ["fgsm over eps", "pgd5 over eps", "pgd over steps"]
    for name, sweep in sweeps.items():
        rows = read_table(tmp_path / f"sweep/{name.replace(' ', '_')}.csv")
        assert [int(row["standing"]) for row in rows] == list(sweep.num_robust)
        assert sweep.clean > sweep.num_robust[0] >= sweep.num_robust[-1]
    for picture in ("eps.png", "steps.png"):
        assert (tmp_path / "sweep" / picture).read_bytes().startswith(b"\x89PNG")
    assert {path: sweep.num_robust for path, sweep in run_sweep(config, str(tmp_path)).items()} == {
        path: sweep.num_robust for path, sweep in sweeps.items()
    }


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"epsilons": "0.2,0.1"}, "rising"),
        ({"steps": ""}, r"`steps` must be one number or several rising ones. Received: \[\]"),
    ],
    ids=str,
)
def test_mistakes_are_found_before_any_work(refuses: Callable, flags: dict[str, str], message: str) -> None:
    refuses(run_sweep, message, model="ONE", **flags)
