"""A text."""

from __future__ import annotations

from typing import Any

from Inputs.Input import NO_DEFAULT, Input, InputRefused

LONGEST = 10_000


class StringInput(Input):
    """A text of at most ``longest`` characters, without NUL and without halves of characters."""

    type = "str"

    def __init__(
        self,
        id: str,
        name: str,
        *,
        description: str = "",
        required: bool = True,
        default: Any = NO_DEFAULT,
        longest: int = LONGEST,
    ) -> None:
        super().__init__(id, name, description=description, required=required, default=default)
        self.longest = longest
        self._check_default()

    def check(self, value: object) -> str:
        """Take a JSON string."""
        if not isinstance(value, str):
            raise self._refused("not-a-string", value, "is not a string")
        if len(value) > self.longest:
            detail = f"{self.id}: {len(value)} characters are more than {self.longest}."
            raise InputRefused("too-long", detail)
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise self._refused("not-text", value, "holds a NUL or half a character")
        return value

    def rules(self) -> dict[str, Any]:
        """Tell the longest text."""
        return {"longest": self.longest}
