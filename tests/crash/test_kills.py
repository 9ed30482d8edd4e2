"""Programs that are killed at random moments end, by the same command, bit for bit as if they had not been.

RACL_TF_KILLS says how many kills in all: by default 2, one of a search and one of a training; with 10 and more of all
programs. Each line that is printed is a kill.
"""

import csv
import hashlib
import io
import json
import os
import pathlib
import random
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
    "search": (4, []),
    "choose": (1, []),
    "train": (3, []),
    "evaluate": (1, []),
    "sweep": (1, ["--attacks=fgsm", "--epsilons=0.05,0.1", "--steps=1,2"]),
    "transfer": (0, ["--models=a={train}/best.keras,b={train}/best.keras", "--attack=fgsm"]),
    "export": (0, []),
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
            if not name.startswith("_CHECKPOINTABLE"):
                found[f"saved_model/{name}"] = np.asarray(value).tobytes()
    return found


def latest_states(found: dict[str, object]) -> dict[str, object]:
    """Leaves out states before the last, of which a run with states within epochs keeps others."""
    states = {name.split("/checkpoints/")[1].split("/")[0] for name in found if "/checkpoints/" in name}
    dropped = sorted(states)[:-1]
    return {name: value for name, value in found.items() if not any(f"/{state}/" in name for state in dropped)}


def test_killed_runs_end_like_whole_ones(tmp_path: pathlib.Path) -> None:
    whole, killed, count, chance = tmp_path / "whole", tmp_path / "killed", 0, random.Random(int(time.time()))
    for program, (share, _) in PROGRAMS.items():
        kills = max(1, round(KILLS * share / 10)) if KILLS >= 10 else KILLS * (program in FEW) // len(FEW)
        if not kills:
            continue
        seconds = run_to_the_end(program, whole)
        for _ in range(kills):
            wait = chance.uniform(0.2, 1) * seconds
            process = subprocess.Popen(
                command(program, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )
            try:
                process.wait(wait)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                count += 1
            states = sorted(path.name for path in (killed / program).glob("checkpoints/epoch-*"))
            ended = process.wait()
            print(f"{program}: {wait:.1f} s of {seconds:.1f} s, status {ended}, state {states[-1:]}", flush=True)
        run_to_the_end(program, killed)
    one, other = (latest_states(contents(folder)) for folder in (whole, killed))
    assert one.keys() == other.keys()
    different = [name for name in one if one[name] != other[name]]
    print(f"{count} kills, {len(one)} files and variables compared, {len(different)} differ")
    assert not different
    assert count >= KILLS // 4, "most programs ended before they were killed"
