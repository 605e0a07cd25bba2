"""Yes or no."""

from __future__ import annotations

from typing import Any

from Inputs.Input import NO_DEFAULT, Input


class BooleanInput(Input):
    """``true`` or ``false``, and nothing that looks like them."""

    type = "boolean"

    def __init__(
        self, id: str, name: str, *, description: str = "", required: bool = True, default: Any = NO_DEFAULT
    ) -> None:
        super().__init__(id, name, description=description, required=required, default=default)
        self._check_default()

    def check(self, value: object) -> bool:
        """Take JSON's ``true`` and ``false``."""
        if not isinstance(value, bool):
            raise self._refused("not-a-boolean", value, "is neither true nor false")
        return value
