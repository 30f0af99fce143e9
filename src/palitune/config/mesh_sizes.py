"""The sizes of a mesh of devices as the value of a setting."""

import dataclasses

from palitune.config.value_kinds import Choice, Kind, Whole, words


@dataclasses.dataclass(frozen=True)
class MeshSizes(Kind[tuple[tuple[str, int], ...]]):
    """The sizes of a mesh of devices: `data=N,fsdp=N`, of which one may be left out."""

    names: tuple[str, ...] = ("data", "fsdp")

    def describe(self) -> str:
        return "`data=N,fsdp=N`"

    def parse(self, text: str) -> tuple[tuple[str, int], ...]:
        parts = [part.partition("=") for part in text.split(",")]
        if not all(sign for _, sign, _ in parts):
            raise ValueError(f"{text!r} is not data=N,fsdp=N")
        return self.check([(name.strip(), Whole().parse(size)) for name, _, size in parts])

    def check(self, value: object) -> tuple[tuple[str, int], ...]:
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise ValueError(f"{value!r} is not a list of names with sizes")
        found: dict[str, int] = {}
        for one in value:
            if not isinstance(one, (list, tuple)) or len(one) != 2:
                raise ValueError(f"{one!r} is not a name with a size")
            name = Choice(self.names).check(one[0])
            if name in found:
                raise ValueError(f"{name} is there twice")
            found[name] = Whole().check(one[1])
        return tuple(found.items())

    def typed(self, option: str, value: tuple[tuple[str, int], ...]) -> list[str]:
        return words(option, ",".join(f"{name}={size}" for name, size in value))
