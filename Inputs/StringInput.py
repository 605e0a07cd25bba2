"""An input for a text."""

from __future__ import annotations

from typing import Any

from Inputs.Input import Input
from tomaat.refusals import shown

LONGEST = 10_000  #: characters, where a task declares nothing else


class StringInput(Input):
    """A text of at most ``longest`` characters; ``perform`` gets a ``str``. It may be empty and may span lines."""

    type = "str"

    def __init__(
        self,
        id: str,
        name: str,
        *,
        longest: int = LONGEST,
        default: str | None = None,
        description: str = "",
        required: bool = True,
    ) -> None:
        super().__init__(id, name, description=description, required=required)
        if isinstance(longest, bool) or not isinstance(longest, int):
            raise TypeError(f"{self!r}: longest={shown(longest)}; write a whole number of characters.")
        if longest < 1:
            raise ValueError(f"{self!r}: longest={longest}; write at least 1 character.")
        self.longest = longest
        self._set_default(default)

    def describe(self) -> dict[str, Any]:
        """Describe this input as JSON."""
        return super().describe() | {"longest": self.longest}

    def check(self, value: object) -> str:
        """Check that a value is a text that can be stored as UTF-8 and holds no NUL."""
        if not isinstance(value, str):
            raise self.refuse("not-a-text", f"{self.shown(value)} is not a text.")
        if len(value) > self.longest:
            raise self.refuse("too-long", f"{len(value)} characters are more than {self.longest}.")
        if "\0" in value:
            raise self.refuse("not-a-text", "the text holds a NUL character.")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise self.refuse("not-a-text", "the text holds half a character (a lone surrogate).")
        return value
