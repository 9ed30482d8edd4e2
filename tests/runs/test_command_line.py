"""The programs as a user starts them: help, and mistakes that end in one paragraph and status 1."""

import errno
import os
import pathlib
import platform
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

import racl_tf
from racl_tf.runs.command_line import run_program
from racl_tf.runs.folder import StepFolder
from racl_tf.settings import paper_settings

ROOT = pathlib.Path(__file__).parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]
PROGRAMS = ("search", "train", "evaluate", "sweep", "transfer", "export", "quickstart", "reproduce", "study", "choose")


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_lists_the_flags(call: Run, program: str) -> None:
    result = call(program, "--help")
    assert result.returncode == 0
    for flag in ("--config:", "--workdir:", "--[no]print_config:", "--[no]version:"):
        assert flag in result.stdout


def test_the_version_is_printed(run: Run) -> None:
    result = run("search", "--version")
    assert (result.returncode, result.stdout) == (0, f"racl_tf {racl_tf.__version__}\n")


def test_printed_settings_are_those_of_the_command_line_and_can_be_given_again(call: Run) -> None:
    changed = "--config.search.eta=0.7"
    printed = call("search", "--config=digits", changed, "--print_config")
    assert printed.returncode == 0
    lines = printed.stdout.splitlines()
    assert changed in lines
    assert "--config.evaluate.attacks=('fgsm', 'mim', 'pgd10', 'pgd20', 'pgd100')" in lines
    assert "--config.data.test_size=None" in lines
    assert call("search", "--config=digits", *lines, "--print_config").stdout == printed.stdout


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--config.data.test_size=None"], "None"),
        (["--config.data.test_size", "None"], "None"),
        (["--config.data.test_size=5", "--config.data.test_size=None"], "None"),
        (["--config.data.test_size=None", "--config.data.test_size=5"], "5"),
        (["--images=None"], "None"),
        ([], "1000"),
    ],
)
def test_none_is_given_as_the_default_is_written(call: Run, given: list[str], expected: str) -> None:
    lines = call("evaluate", "--config=cifar10:cpu", "--print_config", *given).stdout.splitlines()
    assert f"--config.data.test_size={expected}" in lines


def test_none_is_given_by_data_set_too_and_to_no_other_setting(call: Run, tmp_path: pathlib.Path) -> None:
    lines = call(
        "reproduce", "--config=reproduction:cpu", "--config.mnist.data.train_size=None", "--print_config"
    ).stdout
    assert "--config.mnist.data.train_size=None" in lines.splitlines()
    refused = call("search", "--config=digits", f"--workdir={tmp_path}/run", "--config.search.epochs=None")
    assert refused.returncode == 1
    assert "None" in refused.stderr


def test_a_run_without_a_folder_is_refused(call: Run) -> None:
    assert_one_paragraph(call("search", "--config=digits"), "Received no --workdir, the run's folder.")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config=digitz"], "Did you mean 'digits'?"),
        (["--config=digits:smoked"], "Did you mean 'smoke'?"),
        (["--config=missing.py"], "no configuration file 'missing.py'"),
        (["--config=digits", "--config.serach.epochs=2"], 'Did you mean "search"'),
        (["--config=digits", "--config.search.epochs=two"], "invalid literal for int()"),
        (["--config=digits", "--workdri=somewhere"], "Unknown flag --workdri. Did you mean --workdir?"),
        (["--config=digits", "--epsilon=0.1"], "Unknown flag --epsilon. Did you mean --eps?"),
        (["--config=digits", "--rho=0.1"], "Unknown flag --rho. Did you mean --config.search.rho?"),
        (["--config=digits", "--epochs=0"], "--epochs must be a positive integer. Received: --epochs=0."),
        (["--config=digits", "--eps=big"], "Received --eps=big. Expected: the radius"),
        (["--dataset=photos", "--norm=l2"], "No radius is usual on 'photos' in the norm 'l2'. Give one: --eps"),
        (["--config.attack.norm=l2"], "In L2, a radius of 8/255 changes nothing"),
        (["--config=digits", f"--seed={'9' * 64}"], "--seed must be at most 2147483647. Received: --seed=999"),
        (["--config=digits", f"--seed={'9' * 5000}"], "Received --seed=999"),
        (["--config"], "Received --config without a value."),
        (["stray"], "not flags: stray"),
        (["--config=digits", "--config.search.mod=racl"], """Did you mean "mode" instead of "mod"?"""),
        (["--config=digits", "--config.search.epochs=0"], "search.epochs must be a positive integer."),
        (["--config=digits", "--config.search.target=nan"], "search.target must be a finite number."),
        (["--config=digits", "--config.train.momentum=2"], "train.momentum must be in [0, 1)."),
        (["--config=digits", "--config.train.weight_decay=-1"], "train.weight_decay must be a number of at least 0."),
        (["--config=digits", "--config.seed=-1"], "seed must be an integer of at least 0."),
        (
            ["--config=digits:smoke", "--config.search.warmup_epochs=2"],
            "must be below search.epochs. Received: 2 and 2.",
        ),
        (["--config=digits", "--workdir="], "Received --workdir= without a folder."),
    ],
)
def test_a_mistake_on_the_command_line_is_one_paragraph(
    call: Run, arguments: list[str], expected: str, tmp_path: pathlib.Path
) -> None:
    result = call("search", f"--workdir={tmp_path}/run", *arguments)
    assert_one_paragraph(result, expected)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config.data.name=digit"], "Did you mean 'digits'?"),
        (["--config.search.eta=0.3"], "eta=0.3"),
        (["--config.search.channels=6"], "channels=6, partial=4"),
        (["--config.search.batch_size=5000"], "batch size"),
    ],
)
def test_a_mistake_in_a_setting_is_one_paragraph(
    call: Run, arguments: list[str], expected: str, tmp_path: pathlib.Path
) -> None:
    assert_one_paragraph(call("search", "--config=digits:smoke", f"--workdir={tmp_path}/run", *arguments), expected)
    assert not (tmp_path / "run").exists()


def test_a_run_is_continued_without_naming_its_settings_again(call: Run, tmp_path: pathlib.Path) -> None:
    """Data, threat and sizes are the run's; what is given counts, and a configuration that is named counts whole."""
    config = paper_settings()
    config.update_from_flattened_dict({"data.name": "digits", "attack.eps": 0.1, "train.epochs": 3, "search.eta": 0.7})
    (StepFolder(str(tmp_path), "search", config, ("attack", "search")).begin() / "history.csv").write_text("epoch")
    for given, expected in (
        ([], ("digits", "0.1", "3", "0.7")),
        (["--epochs=2", "--config.attack.eps=0.2"], ("digits", "0.2", "2", "0.7")),
        (["--config=mnist"], ("mnist", "0.3", "100", "0.9")),
    ):
        printed = call("train", f"--workdir={tmp_path}", "--print_config", *given).stdout
        names = ("data.name", "attack.eps", "train.epochs", "search.eta")
        found = tuple(re.search(rf"--config\.{name}=(.*)", printed)[1] for name in names)  # type: ignore[index]
        assert found == expected


@pytest.mark.parametrize("program", ["search", "train", "evaluate", "sweep", "transfer", "export", "choose"])
def test_all_programs_begin_with_one_configuration_and_share_their_flags(call: Run, program: str) -> None:
    printed = call(program, "--dataset=mnist", "--data_dir=there", "--norm=l2", "--seed=3", "--print_config")
    assert printed.returncode == 0, printed.stderr
    config = paper_settings()
    config.update_from_flattened_dict({"data.name": "mnist", "data.data_dir": "there", "seed": 3})
    config.attack.update({"norm": "l2", "eps": 2.0, "step_size": 0.5})
    lines = dict(line.split("=", 1) for line in printed.stdout.splitlines())
    for section in ("data", "attack", "search", "train"):
        for name, value in config[section].items():
            assert lines[f"--config.{section}.{name}"] == str(value)


def test_settings_by_data_set_are_checked(call: Run, tmp_path: pathlib.Path) -> None:
    start = ["--config=reproduction:smoke", f"--workdir={tmp_path}/run"]
    assert_one_paragraph(
        call("reproduce", *start, "--config.digits.train.epochs=0"),
        "digits.train.epochs must be a positive integer. Received: digits.train.epochs=0.",
    )


def test_a_configuration_that_is_no_python_is_said(call: Run, tmp_path: pathlib.Path) -> None:
    (tmp_path / "mine.py").write_text("def get_config(:\n")
    result = call("search", f"--workdir={tmp_path}/run", f"--config={tmp_path}/mine.py")
    assert_one_paragraph(result, "mine.py' is not a configuration: line 1")


@pytest.mark.parametrize(
    "argument",
    [
        "--workdir=~nobody-at-all/run",
        f"--workdir={'x' * 300}",
        "--workdir=run\udcff",
        "--workdir=runs [1]",
        f"--config={'x' * 300}",
        "--config=~nobody-at-all/mine.py",
    ],
)
def test_what_cannot_be_a_path_is_one_paragraph(call: Run, argument: str) -> None:
    assert_one_paragraph(call("search", "--config=digits", "--workdir=run", argument), "")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_what_the_system_refuses_is_one_paragraph(
    number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: pathlib.Path
) -> None:
    """Of a run's folder that may not be read, or an export to a full disk, say."""

    def step(*_: object) -> None:
        raise OSError(number, os.strerror(number), str(tmp_path / "saved_model"))

    monkeypatch.setattr(sys, "argv", ["step", "--config=digits", f"--workdir={tmp_path}"])
    with pytest.raises(SystemExit) as ended:
        run_program(step, "")
    result = subprocess.CompletedProcess([], int(ended.value.code or 0), *capsys.readouterr())
    assert_one_paragraph(result, f"Cannot read or write '{tmp_path / 'saved_model'}': {os.strerror(number)}.")


def test_other_errors_of_the_system_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*_: object) -> None:
        raise OSError("a defect")

    monkeypatch.setattr(sys, "argv", ["step", "--config=digits", "--workdir=run"])
    with pytest.raises(OSError, match="a defect"):
        run_program(step, "")


@pytest.mark.parametrize(
    ("processor", "before", "expected"),
    [("x86_64", None, "1"), ("AMD64", None, "1"), ("x86_64", "0", "0"), ("aarch64", None, None)],
)
def test_programs_compute_by_onednn_on_every_x86_processor_unless_told_otherwise(
    processor: str, before: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    monkeypatch.setattr(sys, "argv", ["step", "--config=digits", "--workdir=run"])
    monkeypatch.setattr(platform, "machine", lambda: processor)
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    if before is not None:
        monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", before)
    run_program(lambda *_: found.append(os.environ.get("TF_ENABLE_ONEDNN_OPTS")), "")
    assert found == [expected]


_SWALLOWED = """
import signal, time, weakref
from racl_tf.interruption import INTERRUPTION

class Thing: pass

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with INTERRUPTION.handling():
        thing = Thing()
        reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
        del thing
        print("swallowed", flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    time.sleep(1.5)
    print("ended")
"""


def test_an_interrupt_that_python_drops_comes_again() -> None:
    result = subprocess.run(
        [sys.executable, "-c", _SWALLOWED], cwd=ROOT, capture_output=True, text=True, check=False, timeout=50
    )
    assert result.stdout.split() == ["swallowed", "ended"], result.stderr
    assert "Exception ignored" in result.stderr


@pytest.mark.parametrize(("module", "seconds"), [("ml_collections", 0.0), ("racl_tf.runs.arguments", 2.0)])
def test_an_interrupt_ends_in_one_sentence(module: str, seconds: float, tmp_path: pathlib.Path) -> None:
    """While the first libraries are imported, and some seconds after."""
    command = [str(ROOT / "bin/search.py"), "--config=digits", f"--workdir={tmp_path}"]
    default = "signal.signal(signal.SIGINT, signal.SIG_DFL)"  # as in a terminal, also where tests run in the background
    as_in_a_terminal = f"import os, signal, sys; {default}; os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    process = subprocess.Popen(
        [sys.executable, "-c", as_in_a_terminal, "-X", "importtime", *command], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert any(module in line for line in process.stderr)  # reads until it is imported
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    shown = [line for line in process.stderr.read().splitlines() if line and not line.startswith("import time:")]
    assert process.wait(timeout=60) == 130
    assert shown == ["Interrupted. The same command continues from what is finished."]


def assert_one_paragraph(result: subprocess.CompletedProcess[str], expected: str) -> None:
    """The error comes alone, after "Error:", without a traceback or a blank line."""
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ")
    assert expected in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert "\n\n" not in result.stderr
