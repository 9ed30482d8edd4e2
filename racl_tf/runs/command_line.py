"""What all programs share: flags, configurations by name, errors in one paragraph."""

import contextlib
import importlib
import logging
import os
import pathlib
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, NoReturn

import absl.logging
from absl import app, flags
from ml_collections import ConfigDict, config_flags

from racl_tf.errors import UsageError, unknown
from racl_tf.settings import check_settings
from racl_tf.version import __version__

_PACKAGE = pathlib.Path(__file__).parents[1]
_PLACES = (_PACKAGE / "configs", _PACKAGE.parent / "configs")


class SettingFlag(NamedTuple):
    """A flag that changes settings: how it does that with a configuration and the flag's text, and its help."""

    apply: Callable[[ConfigDict, str], None]
    help: str


def run_program(
    step: Callable[[ConfigDict, str], None],
    description: str,
    *,
    config: str,
    setting_flags: Mapping[str, SettingFlag] = MappingProxyType({}),
) -> None:
    """Parses the command line and runs a step; a mistake of the user's ends in one paragraph and status 1.

    Arguments:
        step: takes the configuration and the run's folder.
        description: what `--help` says first.
        config: the configuration used if none is given.
        setting_flags: flags that change settings, by name.
    """
    flags.DEFINE_string("workdir", None, "The run's folder; the same command continues what is there.")
    flags.DEFINE_flag(_VersionFlag())
    flags.DEFINE_boolean("print_config", False, "Prints every setting as it would be used, and ends.")
    for name, setting_flag in setting_flags.items():
        flags.DEFINE_string(name, None, setting_flag.help)
    sys.modules["__main__"].__doc__ = description

    def parse(arguments: Sequence[str]) -> list[str]:
        try:
            config_flags.DEFINE_config_file(
                "config",
                _config_path(config),
                "A configuration: NAME or NAME:VARIANT (such as cifar10:cpu) or the path of a .py file; "
                "--config.SECTION.FIELD=VALUE changes a setting.",
            )
            for name in ("workdir", "config", *setting_flags, "print_config", "version"):  # so that --help lists them
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
            rest = flags.FLAGS(_with_config_paths(arguments))
            for name, setting_flag in setting_flags.items():
                if (text := flags.FLAGS[name].value) is not None:
                    _apply(name, setting_flag, text)
            check_settings(flags.FLAGS.config)
            if flags.FLAGS.print_config:
                print("\n".join(_lines(flags.FLAGS.config)))
                sys.exit()
            if flags.FLAGS.workdir is None:
                raise UsageError("Received no --workdir, the run's folder. Give one, such as --workdir=runs/mine.")
            if not flags.FLAGS.workdir:
                raise UsageError("Received --workdir= without a folder. Give one, such as --workdir=runs/mine.")
            return rest
        except SystemExit:  # of --help, which absl ends with status 1
            sys.exit()
        except UsageError as error:
            return _exit(str(error))
        except (AttributeError, KeyError) as error:
            return _exit(f"There is no such setting: {_reason(error)}")
        except SyntaxError as error:
            return _exit(f"{error.filename!r} is not a configuration: line {error.lineno}: {error.msg}.")
        except flags.Error as error:  # with the traceback of a configuration that raised, such as for a variant
            return _exit(str(error).splitlines()[-1].removeprefix("racl_tf.errors.UsageError: ").strip())

    def main(arguments: Sequence[str]) -> None:
        if len(arguments) > 1:
            _exit(f"Received arguments that are not flags: {' '.join(arguments[1:])}. Write --NAME=VALUE.")
        _show_our_messages_only()
        try:
            with interruptible():
                step(flags.FLAGS.config, flags.FLAGS.workdir)
        except UsageError as error:
            _exit(str(error))
        except KeyboardInterrupt:
            print("\nInterrupted. The same command continues from what is finished.", file=sys.stderr)
            sys.exit(130)

    app.run(main, flags_parser=parse)


class _VersionFlag(flags.BooleanFlag):
    """--version, which prints the version and ends the program."""

    def __init__(self) -> None:
        super().__init__("version", False, "Prints the version, and ends.")

    def parse(self, argument: object) -> None:
        if argument and str(argument).lower() != "false":
            print(f"racl_tf {__version__}")
            sys.exit()


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Makes Ctrl-C end what runs inside: raised once a second until it gets through.

    Python drops an exception that is raised in a destructor or in the callback of a weak reference, and Keras and
    TensorFlow run many of those.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN  # as in a shell's background
    if ignored or not hasattr(signal, "setitimer"):  # which Windows has not
        yield
        return

    def interrupt(*_: object) -> NoReturn:
        signal.setitimer(signal.ITIMER_REAL, 1.0)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGALRM)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _reason(error: Exception) -> str:
    """Returns the message of a KeyError or AttributeError of ml_collections, which quotes messages in one another."""
    return " ".join(str(error.args[0]).replace("\\n", " ").replace("\\'", "'").split()).strip("'")


def _apply(name: str, setting_flag: SettingFlag, text: str) -> None:
    try:
        setting_flag.apply(flags.FLAGS.config, text)
    except (ValueError, ZeroDivisionError, TypeError):
        raise UsageError(f"Received --{name}={text}. Expected: {setting_flag.help}") from None


def _show_our_messages_only() -> None:
    """Shows this package's messages and hides what TensorFlow says at start (unless --verbosity is given)."""
    logger = logging.getLogger("racl_tf")
    logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if flags.FLAGS["verbosity"].present:
        return
    absl.logging.set_verbosity(absl.logging.WARNING)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    shown = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        importlib.import_module("racl_tf.runs.search")
    finally:
        os.dup2(shown, 2)
        os.close(shown)


def _lines(config: ConfigDict, prefix: str = "--config.") -> Iterator[str]:
    """Yields a line for each setting, in the form that the command line takes."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _lines(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}={value}"


def _exit(message: str) -> NoReturn:
    print(textwrap.fill(f"Error: {message}", 100, break_long_words=False, break_on_hyphens=False), file=sys.stderr)
    sys.exit(1)


def _with_config_paths(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with the name in --config=NAME or --config NAME replaced by a path."""
    resolved = list(arguments)
    for index, argument in enumerate(resolved):
        flag, equals, value = argument.partition("=")
        if flag in ("--config", "-config"):
            if equals:
                resolved[index] = f"{flag}={_config_path(value)}"
            elif index + 1 < len(resolved):
                resolved[index + 1] = _config_path(resolved[index + 1])
    return resolved


def _config_path(name: str) -> str:
    """Returns PATH or PATH:VARIANT of a configuration given by name or path."""
    base, colon, variant = name.partition(":")
    if base.endswith(".py"):
        if not pathlib.Path(base).is_file():
            raise UsageError(
                f"There is no configuration file {base!r}. Give an existing path or a name: {', '.join(_names())}."
            )
        return name
    for place in _PLACES:
        if (path := place / f"{base}.py").is_file():
            return f"{path}{colon}{variant}"
    raise unknown("configuration", base, _names())


def _names() -> list[str]:
    return sorted({path.stem for place in _PLACES for path in place.glob("*.py") if path.stem != "__init__"})
