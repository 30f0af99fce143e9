"""Settings: each is defined once, as a field of a frozen dataclass, with everything that is made from it.

The options of the command line, `config.json`, the names and values of a sweep and the tables in the documentation all
come from these definitions (`config`).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, TypeVar

from palitune.config.value_kinds import Flag, Kind, suggestion
from palitune.errors import UsageError

T = TypeVar("T")
G = TypeVar("G", bound="Settings")
KEY = "setting"  # of a field's metadata


class Details(NamedTuple):
    """What a field's name, type and default do not say of a setting."""

    kind: Kind[Any]
    help: str
    short: tuple[str, ...]  # "-b"
    long: str | None  # where it is not the field's name
    metavar: str | None
    default: str | None  # in words, where the field's default says too little
    methods: tuple[str, ...]  # the only methods that it is for; all if there are none
    memory: bool  # whether it changes how much memory learning takes
    recorded: bool  # whether config.json has it


class Setting(NamedTuple):
    """One setting of a group."""

    name: str
    default: Any
    details: Details

    @property
    def option(self) -> str:
        """The option as it is typed: "--batch-size"."""
        return f"--{self.details.long or self.name.replace('_', '-')}"

    @property
    def is_flag(self) -> bool:
        """Whether the option takes no value."""
        return isinstance(self.details.kind, Flag)

    @property
    def default_text(self) -> str:
        """The default as help and documentation show it; empty where there is nothing to show."""
        if self.details.default is not None:
            return self.details.default
        return "" if self.default is None or isinstance(self.default, (bool, tuple)) else str(self.default)

    def check(self, value: object) -> Any:
        """The value as the field has it. The default is always allowed. Raises ValueError."""
        if value == self.default and type(value) is type(self.default):
            return value
        return self.details.kind.check(value)


def setting(
    default: T,
    kind: Kind[Any],
    help: str,
    *short: str,
    option: str | None = None,
    metavar: str | None = None,
    shown: str | None = None,
    methods: tuple[str, ...] = (),
    memory: bool = True,
    recorded: bool = True,
) -> T:
    """A field of a group of settings.

    Args:
      default: what counts where nothing is said; None where that depends on something else.
      kind: which values there are.
      help: one line without the default, which is added.
      short: short options.
      option: the long option's name, where it is not that of the field.
      shown: the default in words.
      methods: the only methods that the setting is for; all if there are none.
      memory: whether it changes how much memory learning takes.
      recorded: whether a run's config.json has it.
    """
    details = Details(kind, help, short, option, metavar, shown, methods, memory, recorded)
    field: T = dataclasses.field(default=default, metadata={KEY: details})
    return field


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """A group of settings, or several. A value is checked whoever gives it.

    Attributes:
      given: the names of the settings that somebody has asked for, even if by their default; the others may still
        depend on the method, the model or the data.

    Raises:
      UsageError: a setting has no such value.
    """

    TITLE: ClassVar[str | None] = None  # of the group in a command's help

    given: frozenset[str] = dataclasses.field(default=frozenset(), repr=False, compare=False)

    def __post_init__(self) -> None:
        given = set(self.given)
        for one in settings_of(type(self)):
            value = getattr(self, one.name)
            try:
                checked = one.check(value)
            except ValueError as error:
                raise UsageError(f"{one.name}: {error}") from None
            if checked != one.default:
                given.add(one.name)
            object.__setattr__(self, one.name, checked)
        object.__setattr__(self, "given", frozenset(given))

    @classmethod
    def of(cls: "type[G]", options: Mapping[str, object]) -> "G":
        """The group with these settings, by name, all of which somebody has asked for. Raises UsageError."""
        values: dict[str, Any] = dict(options)
        return cls(**values, given=frozenset(values))

    def options(self) -> dict[str, object]:
        """The settings that were given, by name."""
        return {one.name: getattr(self, one.name) for one in settings_of(type(self)) if one.name in self.given}


def settings_of(group: type[Settings]) -> list[Setting]:
    """The settings of a group, in order of definition."""
    fields = dataclasses.fields(group)
    return [Setting(one.name, one.default, one.metadata[KEY]) for one in fields if KEY in one.metadata]


def groups_of(whole: type[Settings]) -> list[type[Settings]]:
    """The groups that a dataclass of settings is made of, in the order in which it names them."""
    return [base for base in whole.__bases__ if issubclass(base, Settings)]


def checked(known: Mapping[str, Setting], options: Mapping[str, object], of: str) -> dict[str, object]:
    """Values from a file or a recipe, as the settings of these names have them.

    Args:
      of: whose settings they are, for messages.

    Raises:
      ValueError: there is no such setting, or it has no such value.
    """
    values = {}
    for name, value in options.items():
        if name not in known:
            raise ValueError(f"the option {name} is none of {of}{suggestion(name, list(known))}")
        try:
            values[name] = known[name].check(value)
        except ValueError as error:
            raise ValueError(f"the option {name} cannot be {value!r:.60}: {error}") from None
    return values
