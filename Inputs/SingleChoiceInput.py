"""An input for one of a few words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from Inputs.Input import LONGEST_NAME, Input
from tomaat.refusals import shown

MOST_SHOWN = 20  #: choices that a refusal repeats


class SingleChoiceInput(Input):
    """One of ``choices``, exactly as written there; ``perform`` gets it as a ``str``.

    >>> SingleChoiceInput("op", "Operation", choices=["add", "multiply"]).check("div")
    Traceback (most recent call last):
        ...
    Inputs.InputRefused.InputRefused: op: 'div' is none of add, multiply.
    """

    type = "singlechoice"

    def __init__(
        self,
        id: str,
        name: str,
        *,
        choices: Sequence[str],
        default: str | None = None,
        description: str = "",
        required: bool = True,
    ) -> None:
        super().__init__(id, name, description=description, required=required)
        if not isinstance(choices, (list, tuple)):
            raise TypeError(f"{self!r}: choices={shown(choices)}; write a list of texts.")
        self.choices = tuple(self._declared_text("a choice", choice, LONGEST_NAME) for choice in choices)
        if not self.choices or not all(self.choices) or len(set(self.choices)) < len(self.choices):
            raise ValueError(f"{self!r}: choices={shown(choices)}; write at least one, none empty and none twice.")
        self._set_default(default)

    def describe(self) -> dict[str, Any]:
        """Describe this input as JSON."""
        return super().describe() | {"choices": list(self.choices)}

    def check(self, value: object) -> str:
        """Check that a value is one of the choices."""
        if not isinstance(value, str) or value not in self.choices:
            more = f" and {len(self.choices) - MOST_SHOWN} more" if len(self.choices) > MOST_SHOWN else ""
            listed = ", ".join(self.choices[:MOST_SHOWN])
            raise self.refuse("not-a-choice", f"{self.shown(value)} is none of {listed}{more}.")
        return value
