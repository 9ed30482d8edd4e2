"""Every benchmark runs and writes what it says it measures; how long anything takes is not tested."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.growth import exponent
from benchmarks.timing import interleave, quartiles, ratios

ROOT = Path(__file__).parents[1]
EXPECTED = {
    "search_step": {"ours, step, batch 4", "ours, peak memory, batch 4", "constraint alone / step, batch 4"},
    "attacks": {f"{attack}, {name}" for attack in ("FGSM", "PGD", "MIM") for name in ("bound", "ours", "ours, loss")},
    "adversarial_step": {"adversarial step", "attack pass", "plain training step", "adversarial step / parts"},
    "networks": {"ours, forward", "ours, step", "ours, peak memory"},
    "growth": {"batch 2", "batch 4", "exponent of batch"},
    "pipeline": {"augmented / constant", "producing a batch of each half, alone"},
    "startup": {"import racl_tf, after them", "racl-search --help", "start of Python to end of first search step"},
}


@pytest.mark.parametrize("program", EXPECTED)
def test_quick_run(program: str, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    command = [sys.executable, "-m", f"benchmarks.{program}", "--quick", f"--json={path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    record = json.loads(path.read_text())
    assert record["settings"]["quick"] is True
    assert record["machine"]["cores"] >= 1
    assert record["results"].keys() >= EXPECTED[program]
    for name, result in record["results"].items():
        assert name in done.stdout
        assert len(result["values"]) in {1, record["settings"]["repeats"]}, name
        assert min(result["values"]) <= result["low"] <= result["median"] <= result["high"] <= max(result["values"])
        assert result["unit"] == "" or result["low"] > 0, name
    if program in {"search_step", "networks"}:
        (reason,) = record["skipped"]
        assert "--pcdarts" in reason
        assert "--torch_python" in reason


def test_turns_are_taken_by_all_and_begun_by_each() -> None:
    calls: list[str] = []

    def measure(name: str, seconds: float) -> float:
        calls.append(name)
        return seconds

    measures = {"a": lambda: measure("a", 1.0), "b": lambda: measure("b", 4.0), "c": lambda: measure("c", 2.0)}
    values = interleave(measures, 3, warmups=1)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab"
    assert values == {"a": [1.0] * 3, "b": [4.0] * 3, "c": [2.0] * 3}


def test_exponent_of_a_power_law() -> None:
    assert exponent([2, 4, 16], [5.0 * size**1.5 for size in (2, 4, 16)]) == pytest.approx(1.5)


def test_ratios_are_of_the_same_turn() -> None:
    assert ratios([2.0, 6.0], [1.0, 2.0]) == [2.0, 3.0]


def test_quartiles() -> None:
    assert quartiles([5.0, 1.0, 3.0, 2.0, 4.0]) == (2.0, 3.0, 4.0)
    assert quartiles([7.0]) == (7.0, 7.0, 7.0)
