"""Programs that are killed at random moments end, by the same command, bit for bit as if they had not been.

RACL_TF_KILLS says how many kills in all, such as 10 or 50: by default 2, one of a search and one of a training; from 10
on all programs are killed. Each is told in a line.
"""

import contextlib
import csv
import hashlib
import io
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import tensorflow as tf

KILLS = int(os.environ.get("RACL_TF_KILLS", "2"))
ROOT = pathlib.Path(__file__).parents[2]
#: What is run in one folder, one after the other, and how many of ten kills each gets.
PROGRAMS = {
    "search": (3, []),
    "choose": (1, []),
    "train": (2, []),
    "evaluate": (1, []),
    "sweep": (1, ["--attacks=fgsm", "--epsilons=0.05,0.1", "--steps=1,2"]),
    "transfer": (1, ["--models=a={train}/best.keras,b={train}/best.keras", "--attack=fgsm"]),
    "export": (1, []),
}
FEW = ("search", "train")  # that are killed where kills are few
SETTINGS = [
    "--config=digits:smoke",
    "--config.search.epochs=3",
    "--config.train.epochs=3",
    "--config.checkpoint.minutes=0.01",
]
#: What tells when and where a run was made, or is a picture of what is compared.
LEFT_OUT = {"versions.json", ".lock", ".writer.json"}

pytestmark = pytest.mark.slow


def command(program: str, workdir: pathlib.Path) -> list[str]:
    _, others = PROGRAMS[program]
    given = [text.format(train=workdir / "train") for text in others]
    return [sys.executable, str(ROOT / "bin" / f"{program}.py"), *SETTINGS, f"--workdir={workdir}", *given]


def run_to_the_end(program: str, workdir: pathlib.Path) -> float:
    start = time.monotonic()
    result = subprocess.run(command(program, workdir), capture_output=True, text=True, check=False, timeout=900)
    assert result.returncode == 0, result.stderr
    return time.monotonic() - start


def content(path: pathlib.Path) -> object:
    """Returns what a file says, without when it was written."""
    if path.name == "history.csv":
        return [{**row, "seconds": ""} for row in csv.DictReader(io.StringIO(path.read_text()))]
    if path.suffix == ".json" and path.name != "state.json":
        return without_times(json.loads(path.read_text()))
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            return hashlib.sha256(archive.read("model.weights.h5")).hexdigest()
    if path.suffix == ".npz":
        return {name: value.tobytes() for name, value in np.load(path).items()}
    return path.read_bytes()


def without_times(value: object) -> object:
    if isinstance(value, dict):
        return {name: without_times(item) for name, item in value.items() if name not in ("date", "seconds", "models")}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def contents(workdir: pathlib.Path) -> dict[str, object]:
    """Returns what the files of a run say, by name, and the weights of an export."""
    found: dict[str, object] = {}
    for path in sorted(workdir.rglob("*")):
        parts = path.relative_to(workdir).parts
        if path.is_dir() or path.name in LEFT_OUT or "events" in parts or path.name == "state.json":
            continue
        if parts[0] == "saved_model":
            continue
        if "checkpoints" in parts and not parts[-2].endswith("step-0000000"):
            continue  # when states within an epoch are saved depends on the time
        found["/".join(parts)] = content(path)
    variables = workdir / "saved_model/variables/variables"
    if variables.with_suffix(".index").exists():
        reader = tf.train.load_checkpoint(str(variables))
        for name in reader.get_variable_to_shape_map():
            value = reader.get_tensor(name)
            if not name.startswith(("_CHECKPOINTABLE", "_all_variables")):  # the latter again, ordered by addresses
                found[f"saved_model/{name}"] = np.asarray(value).tobytes()
    return found


def latest_states(found: dict[str, object]) -> dict[str, object]:
    """Leaves out states before the last, of which a run with states within epochs keeps others."""
    states = {name.split("/checkpoints/")[1].split("/")[0] for name in found if "/checkpoints/" in name}
    dropped = sorted(states)[:-1]
    return {name: value for name, value in found.items() if not any(f"/{state}/" in name for state in dropped)}


def run_and_kill(program: str, workdir: pathlib.Path, seconds: float, chance: random.Random, kills: int) -> int:
    """Runs a program over and over, each time killed at a random moment, and returns how often it was killed.

    Arguments:
        program: a name in `PROGRAMS`.
        workdir: the folder of its run.
        seconds: that it takes when it is not killed.
        chance: draws the moments.
        kills: the most that there may be; it ends before if the program ends by itself.
    """
    for count in range(kills):
        wait = chance.uniform(0.2, 1) * seconds
        process = subprocess.Popen(
            command(program, workdir), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = process.wait(wait)
            print(f"{program}: ended after less than {wait:.1f} s, status {status}", flush=True)
            assert status == 0
            return count
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        states = sorted(path.name for path in (workdir / program).glob("checkpoints/epoch-*"))
        print(f"{program}: killed after {wait:.1f} s of {seconds:.1f} s, state {states[-1:]}", flush=True)
    return kills


def test_killed_runs_end_like_whole_ones(tmp_path: pathlib.Path) -> None:
    """A run that ends before it has been killed often enough is followed by another from the start."""
    whole, chance, count, compared = tmp_path / "whole", random.Random(int(time.time())), 0, 0
    whole.mkdir()
    for program, (share, _) in PROGRAMS.items():
        kills = round(KILLS * share / 10) if KILLS >= 10 else KILLS * (program in FEW) // len(FEW)
        if not kills:
            continue
        before = tmp_path / f"before-{program}"
        shutil.copytree(whole, before)
        seconds = run_to_the_end(program, whole)
        truth = latest_states(contents(whole))
        wanted = count + kills
        for number in range(10 * kills):
            killed = tmp_path / f"{program}-{number}"
            shutil.copytree(before, killed)
            count += run_and_kill(program, killed, seconds, chance, wanted - count)
            run_to_the_end(program, killed)
            found = latest_states(contents(killed))
            assert found.keys() == truth.keys()
            different = [name for name in truth if truth[name] != found[name]]
            assert not different, (program, number, different)
            compared += len(truth)
            shutil.rmtree(killed)
            if count == wanted:
                break
        assert count == wanted, f"{program} ended before it was killed, nearly every time"
    print(f"{count} kills; {compared} files and variables compared, none differs")
