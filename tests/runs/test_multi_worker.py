"""Two processes on this machine make a run together: the numbers of one, one writer, and an end that says why."""

import contextlib
import csv
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import keras
import numpy as np
import pytest

from racl_tf import file_names
from racl_tf.data import load_dataset
from racl_tf.distribution import LOST_AFTER

ROOT = pathlib.Path(__file__).parents[2]
TOGETHER = "--config.strategy=multi_worker"
SEARCH = [
    "--config=digits:smoke",
    "--config.data.train_size=384",
    "--config.search.cells=2",
    "--config.search.attack_steps=1",
]
TRAIN = [
    "--config=digits:smoke",
    "--config.data.train_size=420",  # of which 320 are 5 batches; of those held out the last batch has 36
    "--config.train.held_out=100",
    "--config.train.network=racl",
    "--config.train.cells=2",
    "--config.train.attack_steps=2",
    "--config.train.validation_steps=2",
    "--config.train.drop_path=0.1",
    "--config.train.epochs=3",
]

pytestmark = pytest.mark.slow


def command(program: str, workdir: pathlib.Path, *arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "bin" / f"{program}.py"), f"--workdir={workdir}", *arguments]


def alone(program: str, workdir: pathlib.Path, *arguments: str) -> None:
    subprocess.run(command(program, workdir, *arguments), check=True, capture_output=True, timeout=900)


@contextlib.contextmanager
def two(program: str, workdir: pathlib.Path, *arguments: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Starts a program twice, as the two processes of one run, and ends what is left of them."""
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("localhost", 0))
        cluster = {"worker": [f"localhost:{each.getsockname()[1]}" for each in (first, second)]}
    environments = [
        {**os.environ, "TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})}
        for index in range(2)
    ]
    processes = [
        subprocess.Popen(
            command(program, workdir, TOGETHER, *arguments),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for environment in environments
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def together(program: str, workdir: pathlib.Path, *arguments: str) -> list[str]:
    """Runs a program to the end in two processes and returns what each said."""
    with two(program, workdir, *arguments) as processes:
        said = [process.communicate(timeout=1800)[0] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], said
    return said


def table(path: pathlib.Path) -> list[dict[str, float]]:
    rows = list(csv.DictReader(path.read_text().splitlines()))
    return [{name: float(cell) for name, cell in row.items() if cell and name != "seconds"} for row in rows]


def assert_same_state(one: pathlib.Path, other: pathlib.Path) -> None:
    """Asserts that two folders end with the same state: all variables, those of optimizers among them, to 1e-6."""
    first, second = (max((folder / file_names.CHECKPOINTS).glob("epoch-*")) for folder in (one, other))
    assert first.name == second.name
    ours, theirs = (np.load(state / "variables.npz") for state in (first, second))
    assert ours.files == theirs.files
    for variable in ours.files:
        np.testing.assert_allclose(ours[variable], theirs[variable], rtol=1e-6, atol=1e-6)


def assert_same_tables(one: pathlib.Path, other: pathlib.Path) -> None:
    rows, others = table(one), table(other)
    assert [{*row} for row in rows] == [{*row} for row in others]
    for row, theirs in zip(rows, others, strict=True):
        assert row == pytest.approx(theirs, rel=2e-6, abs=1e-6)  # which hold 7 digits


def test_a_search_by_two_processes_has_the_numbers_of_one(tmp_path: pathlib.Path) -> None:
    """Over the few steps that rounding takes to grow."""
    alone("search", tmp_path / "one", *SEARCH)
    together("search", tmp_path / "two", *SEARCH)
    one, other = (tmp_path / name / "search" for name in ("one", "two"))
    assert_same_state(one, other)
    for name in (file_names.HISTORY, file_names.STEPS):
        assert_same_tables(one / name, other / name)
    assert (one / file_names.GENOTYPE).read_bytes() == (other / file_names.GENOTYPE).read_bytes()
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}


def test_a_training_by_two_processes_has_the_numbers_of_one_and_goes_on_after_a_kill(tmp_path: pathlib.Path) -> None:
    alone("train", tmp_path / "one", *TRAIN)
    with two("train", tmp_path / "two", *TRAIN, "--config.checkpoint.minutes=0") as processes:
        states = tmp_path / "two" / "train" / file_names.CHECKPOINTS
        while not any(states.glob("epoch-*")):
            assert processes[0].poll() is None, processes[0].communicate()
            time.sleep(0.1)
        processes[1].kill()
        killed = time.monotonic()
        said, _ = processes[0].communicate(timeout=2 * LOST_AFTER + 60)
        assert time.monotonic() - killed < 2 * LOST_AFTER
        assert processes[0].returncode == 1
    assert "Another of the 2 processes of this run has ended" in " ".join(said.split())
    assert "Traceback" not in said
    said_now = together("train", tmp_path / "two", *TRAIN, "--config.checkpoint.minutes=0")
    assert "It goes on at epoch" in said_now[0]
    one, other = (tmp_path / name / "train" for name in ("one", "two"))
    assert_same_state(one, other)
    assert_same_tables(one / file_names.HISTORY, other / file_names.HISTORY)


def test_a_signal_to_one_of_two_processes_ends_both_with_their_state(tmp_path: pathlib.Path) -> None:
    with two("train", tmp_path, *TRAIN, "--config.train.epochs=10000") as processes:
        states = tmp_path / "train" / file_names.CHECKPOINTS
        while not any(states.glob("epoch-*")):
            assert processes[0].poll() is None, processes[0].communicate()
            time.sleep(0.1)
        processes[1].send_signal(signal.SIGTERM)
        said = [process.communicate(timeout=120)[0] for process in processes]
        assert [process.returncode for process in processes] == [143, 143], said
    assert all("Interrupted. The same command continues" in text for text in said)


def test_an_evaluation_by_two_processes_has_the_outcomes_of_one(tmp_path: pathlib.Path) -> None:
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
    network.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    train = load_dataset("digits").train
    network.fit(train.images(), train.y, epochs=10, verbose=0)
    network.save(tmp_path / "network.keras")
    given = [
        "--config=digits:smoke",
        f"--model={tmp_path / 'network.keras'}",
        "--attacks=fgsm,pgd5,autoattack",
        "--eps=0.03",
        "--config.evaluate.check_images=20",
        "--config.evaluate.batch_size=32",
        "--config.data.test_size=101",
        "--keep_adversarial",
    ]
    alone("evaluate", tmp_path / "one", *given)
    together("evaluate", tmp_path / "two", *given)
    one, other = (tmp_path / name / "evaluate" for name in ("one", "two"))
    outcomes, others = (np.load(folder / file_names.OUTCOMES) for folder in (one, other))
    assert outcomes.files == others.files
    for name in outcomes.files:
        np.testing.assert_array_equal(outcomes[name], others[name], err_msg=name)
    record, other_record = (json.loads((folder / file_names.RESULTS).read_text()) for folder in (one, other))
    assert "masking" in record
    assert {**record, "date": ""} == {**other_record, "date": ""}
    assert {path.name for path in one.iterdir()} == {path.name for path in other.iterdir()}
    assert 0 < sum(others["autoattack/steps"] < 0) < 101
