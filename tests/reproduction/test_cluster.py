"""Shares as jobs of a cluster, here of submitit's local one: each is made once, and failures are one paragraph."""

import pathlib
import sys
from collections.abc import Callable

import pytest
from ml_collections import ConfigDict

from racl_tf.errors import UsageError
from racl_tf.reproduction.cluster import in_jobs
from racl_tf.reproduction.runs import run_reproduction, run_study, shards

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def submitit(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def make_note() -> Callable[[ConfigDict, str], None]:
    """Returns what a job of the tests does; a function inside of one is sent to the job as it is."""

    def note(config: ConfigDict, workdir: str) -> None:
        from racl_tf.errors import UsageError

        if config.shard == config.mistake:
            raise UsageError("this one is the user's to mend. Choose another.")
        if config.shard == config.defect:
            raise ZeroDivisionError("a defect")
        (pathlib.Path(workdir) / config.shard.replace("/", "_")).write_text("made")

    return note


def configs(**fails: str) -> list[ConfigDict]:
    return shards(ConfigDict({"shard": "", "mistake": "", "defect": "", **fails}), 3)


def test_each_job_makes_its_share(submitit: None, tmp_path: pathlib.Path) -> None:
    in_jobs(make_note(), configs(), str(tmp_path), cluster="local", options=("timeout_min=5",))
    assert {path.name for path in tmp_path.iterdir()} == {"1_3", "2_3", "3_3", "job_logs"}
    assert len(list((tmp_path / "job_logs").glob("*.out"))) == 3


def test_failures_are_one_paragraph(submitit: None, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="2 of 3 jobs failed") as caught:
        in_jobs(make_note(), configs(mistake="2/3", defect="3/3"), str(tmp_path), cluster="local")
    message = str(caught.value)
    assert "this one is the user's to mend. Choose another." in message
    assert "ZeroDivisionError: a defect" in message
    assert f"Logs are in '{tmp_path}/job_logs'. The same command continues." in message
    assert "\n" not in message
    assert (tmp_path / "1_3").exists()


@pytest.mark.parametrize("option", ["timeout_min", "=3", "timeout_min="])
def test_options_are_names_with_values(submitit: None, tmp_path: pathlib.Path, option: str) -> None:
    with pytest.raises(UsageError, match=rf"NAME=VALUE, such as timeout_min=600\. Received: '{option}'"):
        in_jobs(make_note(), configs(), str(tmp_path), cluster="local", options=(option,))


def test_a_machine_of_no_cluster_is_said(
    submitit: None, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"No jobs can be submitted to slurm: .*leave --launcher out"):
        in_jobs(make_note(), configs(), str(tmp_path))


def test_an_unknown_option_is_said(submitit: None, tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match=r"No jobs can be submitted to local: .*partitoin"):
        in_jobs(make_note(), configs(), str(tmp_path), cluster="local", options=("partitoin=gpu",))


def test_submitit_is_asked_for(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UsageError, match=r"--launcher=slurm needs submitit: .* Run: pip install submitit"):
        in_jobs(make_note(), configs(), str(tmp_path))


def test_the_launcher_is_known(configuration, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr("racl_tf.reproduction.runs.in_jobs", lambda *args, options: called.append((args, options)))

    def begun(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr("racl_tf.reproduction.runs.run_systems", begun)
    study, reproduction = configuration("study", "smoke"), configuration("reproduction", "smoke")
    study.study.launcher = reproduction.launcher = "slrum"
    for run, config in ((run_study, study), (run_reproduction, reproduction)):
        with pytest.raises(UsageError, match=r"Unknown launcher 'slrum'\. Did you mean 'slurm'\?"):
            run(config, str(tmp_path))
    study.study.update({"launcher": "slurm", "jobs": 3, "launcher_options": ("timeout_min=9",)})
    with pytest.raises(InterruptedError):
        run_study(study, str(tmp_path))
    ((_, shares, workdir), options) = called[0]
    assert ([share.study.shard for share in shares], workdir) == (["1/3", "2/3", "3/3"], str(tmp_path))
    assert options == ("timeout_min=9",)
