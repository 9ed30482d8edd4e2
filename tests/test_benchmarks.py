"""Every benchmark runs and writes what it says it measures; how long anything takes is not tested."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from benchmarks import watch
from benchmarks.growth import exponent
from benchmarks.plain_layers import described
from benchmarks.timing import interleave, quartiles, ratios
from racl_tf.errors import UsageError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
EXPECTED = {
    "search_step": {"ours, step, batch 4", "ours, peak memory, batch 4", "constraint alone / step, batch 4"},
    "attacks": {f"{attack}, {name}" for attack in ("FGSM", "PGD", "MIM") for name in ("bound", "ours", "ours, loss")},
    "autoattack": {f"{norm}, ours{what}" for norm in ("linf", "l2") for what in ("", ", robust accuracy after Square")},
    "adversarial_step": {"adversarial step", "attack pass", "plain training step", "adversarial step / parts"},
    "limit": {"search step, attainable / measured", "attack pass, multiply-adds", "PGD-2, kernels alone / measured"},
    "networks": {"ours, forward", "ours, step", "ours, peak memory"},
    "growth": {"batch 2", "exponent of batch", "exponent of classes", "exponent of pixels", "test images 16"},
    "pipeline": {"augmented / constant", "from a file / in memory", "producing a batch of each half, alone"},
    "standing": {"evaluation / bare passes", "same outcome with all steps on all images"},
    "strategy": {"1 replicas", "2 replicas, first call", "2 replicas / 1 replicas"},
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
    if program == "autoattack":
        (reason,) = record["skipped"]
        assert "--autoattack" in reason


def test_the_watch_tells_what_became_slower() -> None:
    kept = {"adversarial step / parts": 1.0, "PGD, speed of ours / bound": 1.0, "exponent of batch": 0.5, "gone": 1.0}
    now = {"adversarial step / parts": 1.1, "PGD, speed of ours / bound": 0.5, "exponent of batch": 0.4, "new": 1.0}
    changes = watch.compare(kept, now)
    assert [change.name for change in changes] == [
        "PGD, speed of ours / bound", "adversarial step / parts", "exponent of batch",
    ]  # fmt: skip
    np.testing.assert_allclose([change.worse_by for change in changes], [1.0, 0.1, -0.2])
    marked = [line for line in watch.table(changes, 0.15).splitlines() if line.endswith("slower")]
    assert len(marked) == 1
    assert marked[0].startswith("PGD")


def test_the_watch_keeps_every_ratio_that_it_watches() -> None:
    kept = json.loads((ROOT / "benchmarks" / "kept.json").read_text())
    assert kept.keys() == {name for _, names in watch.WATCHED.values() for name in names}
    assert min(kept.values()) > 0


def test_the_watch_runs(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    command = [sys.executable, "-m", "benchmarks.watch", "--quick", "--keep", f"--kept={path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {"adversarial step / parts", "exponent of batch", "PGD, speed of ours / bound"} <= json.loads(
        path.read_text()
    ).keys()


def test_plain_layers_carry_their_numbers() -> None:
    layers = [keras.layers.Conv2D(2, 3, 2, "same", activation="relu"), keras.layers.BatchNormalization()]
    model = keras.Sequential([keras.Input([4, 5, 1]), *layers])
    shifted = [np.array(values, np.float32) for values in ([2, 3], [4, 5], [6, 7], [8, 9])]
    layers[1].set_weights(shifted)
    (convolution, relu, affine), arrays = described(model)
    assert [convolution["kind"], relu["kind"], affine["kind"]] == ["convolution", "relu", "affine"]
    assert (convolution["strides"], convolution["pads"]) == ((2, 2), (1, 1, 0, 1))
    x = np.ones([1, 1, 1, 2], np.float32)
    carried = x * arrays[affine["arrays"]["scale"]] + arrays[affine["arrays"]["shift"]]
    np.testing.assert_allclose(carried, layers[1](x), rtol=1e-6)


@pytest.mark.parametrize(
    "layer", [keras.layers.LayerNormalization(), keras.layers.Activation("tanh"), keras.layers.Conv2D(2, 1, groups=2)]
)
def test_other_layers_are_refused_by_name(layer: keras.Layer) -> None:
    with pytest.raises(UsageError, match=layer.name):
        described(keras.Sequential([keras.Input([4, 4, 2]), layer]))


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
