"""What a command line says: the configuration, the settings changed, the run's folder."""

import difflib
import importlib.util
import pathlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import absl.logging
from absl import flags
from ml_collections import ConfigDict, config_flags

from racl_tf.errors import UsageError, shortened, unknown
from racl_tf.files import as_path, as_tensorflow_path
from racl_tf.runs.folder import take_over_settings
from racl_tf.settings import check_settings, paper_settings
from racl_tf.version import __version__

_PACKAGE = pathlib.Path(__file__).parents[1]
_PLACES = (_PACKAGE / "configs", _PACKAGE.parent / "configs")


class SettingFlag(NamedTuple):
    """A flag that changes a setting.

    Arguments:
        setting: its dotted name.
        parse: returns its value for the flag's text; `bool` makes a flag that needs no value.
        help: what `--help` says.
        change: changes the configuration by the value where that is more than setting it.
    """

    setting: str
    parse: Callable[[str], Any]
    help: str
    change: Callable[[ConfigDict, Any], None] | None = None

    def apply(self, config: ConfigDict, text: str) -> None:
        """Changes a configuration as the flag's text says."""
        value = self.parse(text)
        if self.change:
            self.change(config, value)
        else:
            config.update_from_flattened_dict({self.setting: value})


class Arguments(NamedTuple):
    """What a command line says.

    Arguments:
        config: every setting.
        workdir: the run's folder.
        typed: what was typed to change settings, by their names: "--images=9" by "data.test_size".
        verbose: whether TensorFlow's messages are to be shown.
        dry_run: whether it is only to be measured what the step will take.
    """

    config: ConfigDict
    workdir: str
    typed: Mapping[str, str]
    verbose: bool
    dry_run: bool


def read_arguments(
    arguments: Sequence[str],
    description: str,
    *,
    config: str,
    steps: tuple[str, ...],
    setting_flags: Mapping[str, SettingFlag],
    has_dry_run: bool = False,
) -> Arguments:
    """Returns what a command line says; `--help`, `--version` and `--print_config` end the program.

    Settings are, the later the stronger: those of the configuration, of the run in the folder unless a configuration
    is named, and those given one by one.

    Arguments:
        arguments: the program's name and its arguments.
        description: what `--help` says first.
        config: the configuration used if none is given.
        steps: the steps of the run whose settings are taken over, the later the stronger.
        setting_flags: flags that change settings, by name; they do so in this order.
        has_dry_run: whether there is a flag `--dry_run`.

    Raises:
        UsageError: a mistake in the command line, or a number out of its range.
    """
    name, rest = _taken("config", flags.FLAGS.read_flags_from_files(list(arguments), force_gnu=False))
    workdir, _ = _taken("workdir", rest)
    settings = _configuration(config if name is None else name)
    if workdir and name is None:
        take_over_settings(settings, workdir, steps)
    typed: dict[str, str] = {}
    for setting in filter(_may_be_none, _names_of_settings(settings)):
        text, others = _taken(f"config.{setting}", rest)
        if text == "None":  # as --print_config and the docs write it, which ml_collections reads as another type
            settings.update_from_flattened_dict({setting: None})
            typed[setting], rest = f"--config.{setting}=None", others
        elif text is not None:  # the last counts, also after a None
            rest = [others[0], f"--config.{setting}={text}", *others[1:]]
    default = f"the run's, {config}" if steps else config
    values = _define_flags(settings, rest, description, setting_flags, default=default, has_dry_run=has_dry_run)
    strays = _parse(values, rest, settings, setting_flags)[1:]
    if strays:
        raise UsageError(f"Received arguments that are not flags: {' '.join(strays)}. Write --NAME=VALUE.")
    changed: Mapping[str, Any] = values["config"].override_values  # type: ignore[attr-defined]
    typed |= {name: f"--config.{name}={value}" for name, value in changed.items()}
    for flag, setting_flag in setting_flags.items():
        if (text := values[flag].value) is not None:
            _change(settings, flag, setting_flag, text)
            typed[setting_flag.setting] = f"--{flag}={text}"
    try:
        check_settings(settings)
    except UsageError as error:
        raise UsageError(in_flags(str(error), typed)) from None
    if values.print_config:
        print("\n".join(_lines(settings)))
        sys.exit()
    if not workdir:
        received = "no --workdir, the run's folder" if workdir is None else "--workdir= without a folder"
        raise UsageError(f"Received {received}. Give one, such as --workdir=runs/mine.")
    as_tensorflow_path(workdir)
    flags.FLAGS.mark_as_parsed()  # with what the command line said of libraries' flags, for these
    verbose = values["verbosity"].present
    if not verbose:
        absl.logging.set_verbosity(absl.logging.WARNING)
    return Arguments(settings, workdir, typed, bool(verbose), has_dry_run and values.dry_run)


def in_flags(message: str, typed: Mapping[str, str]) -> str:
    """Returns a message with the flags that were typed in place of the settings that they changed.

    >>> in_flags("data.test_size must be positive. Received: data.test_size=0.", {"data.test_size": "--images=0"})
    '--images must be positive. Received: --images=0.'
    >>> in_flags("`eps` must be in (0, 1]. Received: eps=8.", {"attack.eps": "--eps=8"})
    '--eps must be in (0, 1]. Received: eps=8.'
    >>> in_flags("Unknown attack 'fgms'.", {"evaluate.attacks": "--attacks=pgd20,fgms"})
    "--attacks=pgd20,fgms: Unknown attack 'fgms'."
    """
    named = message
    for setting, flag in ((setting, text.partition("=")[0]) for setting, text in typed.items()):
        once = 1 if flag.startswith("--config.") else 0  # which but repeats the name
        named = re.sub(rf"(?<![\w.]){re.escape(setting)}(?!\w|\.\w)", flag, named, count=once)
        named = re.sub(rf"`{re.escape(setting.rpartition('.')[2])}`", flag, named)
    if named != message:
        return named
    for text in typed.values():
        if any(f"'{part.strip()}'" in message for part in text.partition("=")[2].split(",") if part):
            return f"{shortened(text, 100)}: {message}"
    return message


class _EndingFlag(flags.BooleanFlag):
    """A flag that prints a text and ends the program, which has then done what it was asked to."""

    def __init__(self, name: str, show: Callable[[], str], help_text: str, **options: Any) -> None:
        super().__init__(name, False, help_text, allow_override=True, **options)
        self._show = show

    def parse(self, argument: object) -> None:
        if argument and str(argument).lower() not in ("false", "0"):
            print(self._show())
            sys.exit()


def _define_flags(
    settings: ConfigDict,
    arguments: Sequence[str],
    description: str,
    setting_flags: Mapping[str, SettingFlag],
    *,
    default: str,
    has_dry_run: bool,
) -> flags.FlagValues:
    """Returns the flags of one command line, those of libraries among them."""
    own = flags.FlagValues()
    own.append_flag_values(flags.FLAGS)
    flags.DEFINE_string("workdir", None, "The run's folder; the same command continues what is there.", own)
    flags.DEFINE_boolean("print_config", False, "Prints every setting as it would be used, and ends.", own)
    if has_dry_run:
        text = "Measures on a few steps what time, memory and disk this will take, prints it, and ends."
        flags.DEFINE_boolean("dry_run", False, text, own)
    flags.DEFINE_flag(_EndingFlag("version", lambda: f"racl_tf {__version__}", "Prints the version, and ends."), own)
    for name, help_of in (("help", own.main_module_help), ("helpfull", own.get_help)):
        flags.DEFINE_flag(_EndingFlag(name, _help(description, help_of), "Lists the flags, and ends."), own)
    for name, setting_flag in setting_flags.items():
        define = flags.DEFINE_boolean if setting_flag.parse is bool else flags.DEFINE_string
        define(name, None, setting_flag.help, own)
    try:
        config_flags.DEFINE_config_dict(
            "config",
            settings,
            "A configuration: NAME or NAME:VARIANT (such as cifar10:cpu) or the path of a .py file; "
            "--config.SECTION.FIELD=VALUE changes a setting.",
            own,
            sys_argv=list(arguments),
        )
    except (AttributeError, KeyError) as error:
        raise UsageError(f"There is no such setting: {_reason(error)}") from None
    own["config"].default_as_str = f"'{default}'"
    more = ("dry_run",) if has_dry_run else ()
    for name in ("workdir", "config", *setting_flags, *more, "print_config", "version", "help"):  # which --help lists
        own.register_key_flag_for_module(sys.argv[0], own[name])
    return own


def _help(description: str, flags_help: Callable[[], str]) -> Callable[[], str]:
    return lambda: f"{description}\nflags:\n{flags_help()}"


def _parse(
    values: flags.FlagValues,
    arguments: Sequence[str],
    settings: ConfigDict,
    setting_flags: Mapping[str, SettingFlag],
) -> list[str]:
    """Parses flags and returns the program's name and what is not a flag."""
    try:
        return values(arguments)
    except flags.UnrecognizedFlagError as error:
        name = error.flagname.lstrip("-")
        short = [f"--{flag}" for flag in ("workdir", "config", *setting_flags, "print_config", "version", "help")]
        long = [line.partition("=")[0] for line in _lines(settings)]
        same = [flag for flag in long if flag.endswith(f".{name}")]  # a setting by its name alone
        if same:
            raise UsageError(f"Unknown flag --{name}. Did you mean {' or '.join(same)}?") from None
        begins = [flag for flag in short if f"--{name}".startswith(flag) or flag.startswith(f"--{name}")]
        near = begins or difflib.get_close_matches(f"--{name}", [*short, *long], n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"Unknown flag --{name}.{hint} Known: {', '.join(short)}, and --config.SECTION.FIELD for every line "
            "of --print_config."
        ) from None
    except flags.Error as error:
        raise UsageError(shortened(str(error).splitlines()[-1], 400)) from None


def _change(settings: ConfigDict, flag: str, setting_flag: SettingFlag, text: str) -> None:
    if text == "None" and _may_be_none(setting_flag.setting) and not setting_flag.change:
        settings.update_from_flattened_dict({setting_flag.setting: None})
        return
    try:
        setting_flag.apply(settings, text)
    except (ValueError, ZeroDivisionError, TypeError, OverflowError):
        raise UsageError(f"Received --{flag}={shortened(text, 100)}. Expected: {setting_flag.help}") from None


def _taken(name: str, arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Returns the last value of a flag, given as --NAME=VALUE or --NAME VALUE, and the other arguments."""
    value, rest, waiting = None, [], iter(arguments)
    for argument in waiting:
        flag, equals, text = argument.partition("=")
        if flag not in (f"--{name}", f"-{name}"):
            rest.append(argument)
        elif (value := text if equals else next(waiting, None)) is None:
            raise UsageError(f"Received --{name} without a value. Write --{name}=VALUE.")
    return value, rest


def _configuration(name: str) -> ConfigDict:
    """Returns the configuration NAME, NAME:VARIANT, PATH or PATH:VARIANT.

    Raises:
        UsageError: there is none, or it is not one.
    """
    base, colon, variant = name.partition(":")
    path = _path(base)
    spec = importlib.util.spec_from_file_location(f"{path.stem}_configuration", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config(variant) if colon else module.get_config()
    except UsageError:
        raise
    except SyntaxError as error:
        raise UsageError(f"{base!r} is not a configuration: line {error.lineno}: {error.msg}.") from None
    except Exception as error:  # of the user's own code
        raise UsageError(f"{base!r} is not a configuration: {type(error).__name__}: {error}.") from None
    if not isinstance(config, ConfigDict):
        raise UsageError(f"get_config of {base!r} must return a ConfigDict. Received: {type(config).__name__}.")
    return config


def _path(base: str) -> pathlib.Path:
    """Returns the path of a configuration's file, given by name or path."""
    if base.endswith(".py"):
        if not (path := as_path(base)).is_file():
            raise UsageError(
                f"There is no configuration file {base!r}. Give an existing path or a name: {', '.join(_names())}."
            )
        return path
    for place in _PLACES:
        if (path := as_path(place / f"{base}.py")).is_file():
            return path
    raise unknown("configuration", base, _names())


def _names() -> list[str]:
    return sorted({path.stem for place in _PLACES for path in place.glob("*.py") if path.stem != "__init__"})


_OPTIONAL = tuple(
    f"{section}.{field}"
    for section, fields in paper_settings().items()
    if isinstance(fields, ConfigDict)
    for field, value in fields.items()
    if value is None
)


def _may_be_none(setting: str) -> bool:
    """Returns whether a setting, of one run or by data set, has no value by default."""
    return setting.endswith(_OPTIONAL)


def _names_of_settings(config: ConfigDict) -> list[str]:
    return [line.partition("=")[0] for line in _lines(config, "")]


def _lines(config: ConfigDict, prefix: str = "--config.") -> Iterator[str]:
    """Yields a line for each setting, in the form that the command line takes."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from _lines(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}={value}"


def _reason(error: Exception) -> str:
    """Returns the message of a KeyError or AttributeError of ml_collections, which quotes messages in one another."""
    return " ".join(str(error.args[0]).replace("\\n", " ").replace("\\'", "'").split()).strip("'")
