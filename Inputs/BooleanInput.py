"""An input for yes or no."""

from __future__ import annotations

from Inputs.Input import Input


class BooleanInput(Input):
    """JSON's ``true`` or ``false``, and nothing that only resembles them; ``perform`` gets a ``bool``."""

    type = "boolean"

    def __init__(
        self, id: str, name: str, *, default: bool | None = None, description: str = "", required: bool = True
    ) -> None:
        super().__init__(id, name, description=description, required=required)
        self._set_default(default)

    def check(self, value: object) -> bool:
        """Check that a value is a boolean."""
        if not isinstance(value, bool):
            raise self.refuse("not-a-boolean", f"{self.shown(value)} is neither true nor false.")
        return value
