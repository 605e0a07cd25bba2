"""One of a few words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from Inputs.Input import NO_DEFAULT, Input


class SingleChoiceInput(Input):
    """One of ``choices``, spelled exactly."""

    type = "singlechoice"

    def __init__(
        self,
        id: str,
        name: str,
        *,
        choices: Sequence[str],
        description: str = "",
        required: bool = True,
        default: Any = NO_DEFAULT,
    ) -> None:
        super().__init__(id, name, description=description, required=required, default=default)
        if not choices or isinstance(choices, str) or len(set(choices)) != len(choices):
            raise ValueError(f"{id}: choices must be a list of different words")
        if not all(isinstance(choice, str) and choice for choice in choices):
            raise TypeError(f"{id}: each choice must be a word")
        self.choices = list(choices)
        self._check_default()

    def check(self, value: object) -> str:
        """Take a JSON string that is one of the choices."""
        if not isinstance(value, str) or value not in self.choices:
            raise self._refused("not-a-choice", value, f"is none of {', '.join(self.choices)}")
        return value

    def rules(self) -> dict[str, Any]:
        """Tell the choices."""
        return {"choices": self.choices}
