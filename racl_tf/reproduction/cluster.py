"""Shares of a reproduction or a study as jobs of a cluster, by the library submitit."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from racl_tf import file_names
from racl_tf.errors import UsageError, reason_of
from racl_tf.files import as_path
from racl_tf.optional import require

if TYPE_CHECKING:
    from ml_collections import ConfigDict

_LOGGER = logging.getLogger(__name__)
_SHOWN = 3  # failures that a message names
_MINUTES = 24 * 60  # of a job, if not given


def in_jobs(
    run: Callable[[ConfigDict, str], object],
    configs: Sequence[ConfigDict],
    workdir: str,
    *,
    options: Sequence[str] = (),
    cluster: str = "slurm",
) -> None:
    """Runs a step of several configurations, each as a job of a cluster, and waits for all of them.

    A job that the cluster interrupts is put into its queue again and goes on with the state that was saved last. When
    this waiting is interrupted, the jobs are cancelled.

    Arguments:
        run: the step, a function of a module.
        configs: one a job.
        workdir: the folder that they share, which all machines of the cluster have; it holds their logs.
        options: of the jobs, NAME=VALUE as submitit's `AutoExecutor.update_parameters` has them, such as
            slurm_partition=gpu, gpus_per_node=1 and timeout_min=600; a day if not given.
        cluster: "slurm", or "local" for processes of this machine.

    Raises:
        UsageError: submitit is not installed, there is no such cluster, it refuses the jobs or an option, or one fails.
    """
    submitit = require("submitit", "submitit", f"--launcher={cluster}")
    logs = as_path(workdir) / file_names.JOB_LOGS
    try:
        executor = submitit.AutoExecutor(folder=logs, cluster=cluster)
        executor.update_parameters(**{"name": "racl", "timeout_min": _MINUTES, **_parsed(options)})
        jobs = [executor.submit(_Share(), run, config, str(as_path(workdir).resolve())) for config in configs]
    except UsageError:
        raise
    except Exception as error:  # what submitit raises of a cluster that is not there or refuses is of several kinds
        raise UsageError(
            f"No jobs can be submitted to {cluster}: {reason_of(error)} Submit from a machine of the cluster, or leave "
            "--launcher out."
        ) from None
    _LOGGER.info("%d jobs are submitted: %s. Logs are in %s.", len(jobs), ", ".join(job.job_id for job in jobs), logs)
    try:
        failures = [f"job {job.job_id}: {reason}" for job in jobs if (reason := _failure(job))]
    except BaseException:
        for job in jobs:
            job.cancel(check=False)
        raise
    if failures:
        more = f"; and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
        raise UsageError(
            f"{len(failures)} of {len(jobs)} jobs failed, {'; '.join(failures[:_SHOWN])}{more}. Logs are in "
            f"{str(logs)!r}. The same command continues."
        )


class _Share:
    """Runs a step and returns what a user can mend of it as text, empty if nothing; is put into the queue again."""

    def __call__(self, run: Callable[[ConfigDict, str], object], config: ConfigDict, workdir: str) -> str:
        logger = logging.getLogger("racl_tf")
        logger.addHandler(logging.StreamHandler())
        logger.setLevel(logging.INFO)
        try:
            run(config, workdir)
        except UsageError as error:
            return str(error)
        return ""

    def checkpoint(self, *args: Any) -> Any:
        """Returns what submitit is to run when the cluster has interrupted this: the same, which goes on."""
        submitit = require("submitit", "submitit", "A job")
        return submitit.helpers.DelayedSubmission(self, *args)


def _failure(job: Any) -> str:
    """Waits for a job and returns why it failed; empty if it did not."""
    error = job.exception()
    if error is None:
        return reason_of(UsageError(job.result()), 200)
    trace = re.search(r"^Traceback.*?^(\w[^\n]*)\n*-{5}", str(error), re.MULTILINE | re.DOTALL)
    return reason_of(UsageError(trace[1] if trace else error), 200)


def _parsed(options: Sequence[str]) -> dict[str, int | str]:
    parsed: dict[str, int | str] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not (name and equals and value):
            raise UsageError(f"Options of jobs are NAME=VALUE, such as timeout_min=600. Received: {option!r}.")
        parsed[name] = int(value) if value.isdecimal() else value
    return parsed
