"""The programs as a user starts them: help, and mistakes that end in one paragraph and status 1."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PROGRAMS = ("search", "train", "evaluate", "sweep", "transfer", "export", "quickstart", "reproduce", "study", "choose")


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bin" / f"{program}.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_lists_the_flags(program: str) -> None:
    result = run(program, "--help")
    assert "--config:" in result.stdout
    assert "--workdir:" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--config=digitz"], "Did you mean 'digits'?"),
        (["--config=digits:smoked"], "Did you mean 'smoke'?"),
        (["--config=missing.py"], "no configuration file 'missing.py'"),
        (["--config=digits", "--config.serach.epochs=2"], 'Did you mean "search"'),
        (["--config=digits", "--config.search.epochs=two"], "invalid literal for int()"),
        (["--config=digits", "--workdri=somewhere"], "Did you mean: workdir"),
        (["stray"], "not flags: stray"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_paragraph(
    arguments: list[str], expected: str, tmp_path: pathlib.Path
) -> None:
    result = run("search", f"--workdir={tmp_path}/run", *arguments)
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
def test_a_mistake_in_a_setting_is_one_paragraph(arguments: list[str], expected: str, tmp_path: pathlib.Path) -> None:
    assert_one_paragraph(run("search", "--config=digits:smoke", f"--workdir={tmp_path}/run", *arguments), expected)
    assert not (tmp_path / "run").exists()


def assert_one_paragraph(result: subprocess.CompletedProcess[str], expected: str) -> None:
    """The error comes alone, after "Error:", without a traceback or a blank line."""
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ")
    assert expected in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert "\n\n" not in result.stderr
