"""How every program starts and ends: interrupts in one sentence, errors in one paragraph.

Importing this costs nothing, so that an interrupt finds the program ready from its first moment on.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import logging
import os
import platform
import shlex
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, NoReturn

from racl_tf.errors import UsageError, shortened
from racl_tf.interruption import INTERRUPTION, Interruption
from racl_tf.version import __version__

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from racl_tf.runs.arguments import SettingFlag

#: What can be wrong with a disk or a folder, rather than with this program.
_DISK = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EIO,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
)

DEFAULT_CONFIG = "cifar10"  # of the programs that make or attack one network


def run_program(
    step: Callable[[ConfigDict, str], None],
    description: str,
    *,
    config: str = DEFAULT_CONFIG,
    steps: tuple[str, ...] = (),
    dry_run: Callable[[ConfigDict, str], object] | None = None,
    setting_flags: Callable[[ModuleType], Mapping[str, SettingFlag]] = lambda _: {},
) -> None:
    """Reads the command line and runs a step; a mistake of the user's ends in one paragraph and status 1.

    Arguments:
        step: takes the configuration and the run's folder.
        description: what `--help` says first.
        config: the configuration used if none is given and the run's folder holds no settings.
        steps: the steps of a run whose settings are this one's too where none are given, the step itself last.
        dry_run: measures what the step will take, and returns what is printed, where `--dry_run` asks for it.
        setting_flags: returns the flags that change settings, by name, of the module `racl_tf.runs.flags`.
    """
    with _errors_in_one_paragraph(), INTERRUPTION.handling() as interruption:
        try:
            _use_onednn()
            from racl_tf.runs import flags
            from racl_tf.runs.arguments import in_flags, read_arguments

            given = read_arguments(
                sys.argv,
                description,
                config=config,
                steps=steps,
                setting_flags=setting_flags(flags),
                has_dry_run=dry_run is not None,
            )
            _show_our_messages_only(everything=given.verbose)
            try:
                if given.dry_run and dry_run:
                    print(dry_run(given.config, given.workdir), end="")
                else:
                    step(given.config, given.workdir)
                    if steps:
                        print(f"To look at it: racl-report {shlex.quote(given.workdir)}")
            except UsageError as error:
                raise UsageError(in_flags(str(error), given.typed)) from None
        except BaseException:  # whatever TensorFlow or an import made of the interrupt
            if not interruption.requested:
                raise
            _end_interrupted(interruption, "The same command continues from what is finished.")


def run_viewer(
    step: Callable[[argparse.Namespace], None], description: str, *, define: Callable[[argparse.ArgumentParser], None]
) -> None:
    """Reads the command line of a program that only looks at what is there, and runs it; ends as `run_program` does.

    Arguments:
        step: takes the arguments by name.
        description: what `--help` says first.
        define: adds the program's arguments to a parser, which has `--help` and `--version`.
    """
    with _errors_in_one_paragraph(), INTERRUPTION.handling() as interruption:
        try:
            parser = _Parser(description=description, allow_abbrev=False)
            parser.add_argument(
                "--version", action="version", version=f"racl_tf {__version__}", help="Prints the version, and ends."
            )
            define(parser)
            arguments = parser.parse_args()
            _show_our_messages_only(everything=False)
            step(arguments)
        except BaseException:
            if not interruption.requested:
                raise
            _end_interrupted(interruption, "What was written before is as it was.")


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints end as all others do."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}. U{' '.join(self.format_usage().split())[1:]}")


def _end_interrupted(interruption: Interruption, outcome: str) -> NoReturn:
    interruption.stop_raising()
    print(f"\nInterrupted. {outcome}", file=sys.stderr)
    sys.exit(interruption.status)


def wrote(workdir: str, step: str, *names: str) -> None:
    """Prints which of some files a step has written."""
    folder = os.path.join(os.path.expanduser(workdir), step)
    print(f"Written to {folder}: {', '.join(name for name in names if os.path.exists(os.path.join(folder, name)))}")


@contextlib.contextmanager
def _errors_in_one_paragraph() -> Iterator[None]:
    try:
        yield
        sys.stdout.flush()
    except UsageError as error:
        _end_with(str(error))
    except BrokenPipeError:  # of a reader that has seen enough, such as head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        reason = _of_the_disk(error)
        if reason is None:
            raise
        _end_with(
            f"{reason}. What was finished before is kept; once that is mended, the same command continues from there."
        )


def _end_with(message: str) -> NoReturn:
    print(textwrap.fill(f"Error: {message}", 100, break_long_words=False, break_on_hyphens=False), file=sys.stderr)
    sys.exit(1)


def _of_the_disk(error: Exception) -> str | None:
    """Returns what is wrong with a disk, a folder or its permissions, also where TensorFlow says so; else None."""
    if isinstance(error, OSError) and error.errno in _DISK:
        where = "" if error.filename is None else f" {str(error.filename)!r}"
        return f"Cannot read or write{where}: {error.strerror}"
    if type(error).__module__ == "tensorflow.python.framework.errors_impl":
        text = " ".join(str(error).split())
        return shortened(text, 400) if any(os.strerror(number) in text for number in _DISK) else None
    return None


class _BesideBars(logging.Handler):
    """Writes messages above a progress bar rather than into it."""

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        tqdm.write(self.format(record), file=sys.stderr)


def _use_onednn() -> None:
    """Has TensorFlow compute by oneDNN on every x86 processor, unless the environment says otherwise.

    By itself it does so only where it finds AVX512 with instructions for neural networks. With AVX2 a search step takes
    about half of the time by oneDNN, and results no longer depend on which kernels a processor is given.
    """
    if platform.machine().lower() in ("x86_64", "amd64"):
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _show_our_messages_only(*, everything: bool) -> None:
    """Shows this package's messages and, unless everything is to be shown, hides what TensorFlow says at start."""
    logger = logging.getLogger("racl_tf")
    logger.addHandler(_BesideBars())
    logger.setLevel(logging.INFO)
    logger.propagate = False
    warnings.formatwarning = lambda message, *_, **__: f"{message}\n"  # without a path and a line of source
    if everything:
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    shown = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        importlib.import_module("racl_tf.runs.search")
    finally:
        os.dup2(shown, 2)
        os.close(shown)
