"""What every input has in common: it describes itself, checks a value, and turns it into what ``perform`` wants."""

from __future__ import annotations

import keyword
from collections.abc import Callable
from typing import Any, ClassVar

from tomaat.refusals import Refusal, shown

LONGEST_ID = 64
NO_DEFAULT: Any = object()  #: "there is no default", where None would be one


class InputRefused(Refusal):
    """A client's value is none that the input takes."""


class Input:
    """One declared argument of a service.

    ``id`` is the argument of ``perform``, ``name`` what people read. An input with a default is not required. One that
    is neither required nor has a default reaches ``perform`` as ``None`` when it is absent.
    """

    type: ClassVar[str]
    store: ClassVar[str] = "mainjson"

    def __init__(
        self, id: str, name: str, *, description: str = "", required: bool = True, default: Any = NO_DEFAULT
    ) -> None:
        if not id.isidentifier() or keyword.iskeyword(id) or not id.isascii() or len(id) > LONGEST_ID:
            raise ValueError(f"{id!r}: an input's id is a Python name of at most {LONGEST_ID} ASCII letters")
        if not name:
            raise ValueError(f"{id}: an input needs a name that people read")
        self.id = id
        self.name = name
        self.description = description
        self.required = required and default is NO_DEFAULT
        self.default = default

    def check(self, value: object) -> Any:
        """Check a client's JSON value and return it in its plain form. Raises ``InputRefused``."""
        raise self._refused("not-a-file", value, f"stands in main.json; this input is the file file-{self.id}")

    def convert(self, value: Any) -> Any:
        """Turn a checked value into what ``perform`` gets."""
        return value

    def describe(self) -> dict[str, Any]:
        """Describe the input in JSON, for clients and to be made again by ``from_description``."""
        described = {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "type": self.type,
            "store": self.store,
            "required": self.required,
            "default": None if self.default is NO_DEFAULT else self.default,
        }
        return described | {name: value for name, value in self.rules().items() if value is not None}

    def rules(self) -> dict[str, Any]:
        """Name the constructor's further arguments, as JSON; ``None`` where there is no rule."""
        return {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Input) and self.describe() == other.describe()

    def __hash__(self) -> int:
        return hash((self.id, self.type))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def _check_default(self) -> None:
        """Let a wrong default fail where it is written; called by each constructor, last."""
        if self.default is not NO_DEFAULT and self.default is not None:
            try:
                self.default = self.check(self.default)
            except InputRefused as refusal:
                raise ValueError(f"default of {refusal.detail}") from None

    def _refused(self, code: str, value: object, rule: str) -> InputRefused:
        return InputRefused(code, f"{self.id}: {shown(value)} {rule}.")


def check_range(
    refuse: Callable[[str, object, str], InputRefused], value: float, least: float | None, most: float | None, unit: str
) -> None:
    """Demand that a number lies within a range whose ends count."""
    if (least is not None and value < least) or (most is not None and value > most):
        rule = (
            f"is below {least:g}"
            if most is None
            else f"is above {most:g}"
            if least is None
            else f"is outside {least:g} to {most:g}"
        )
        raise refuse("out-of-range", value, f"{rule} {unit}".rstrip())
