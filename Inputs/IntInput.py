"""A whole number."""

from __future__ import annotations

from typing import Any

from Inputs.Input import NO_DEFAULT, Input, check_range

LARGEST = 2**53 - 1  #: beyond it JSON's readers no longer agree on whole numbers


class IntInput(Input):
    """A whole number within a range whose ends count; 3.0 is taken for 3, as JSON Schema does."""

    type = "int"

    def __init__(
        self,
        id: str,
        name: str,
        *,
        description: str = "",
        required: bool = True,
        default: Any = NO_DEFAULT,
        minimum: int | None = None,
        maximum: int | None = None,
        unit: str = "",
    ) -> None:
        super().__init__(id, name, description=description, required=required, default=default)
        self.minimum = minimum
        self.maximum = maximum
        self.unit = unit
        self._check_default()

    def check(self, value: object) -> int:
        """Take a JSON number without a fraction, within ±(2**53 - 1) and the range; no bool, no string."""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._refused("not-an-integer", value, "is not a whole number")
        if abs(value) > LARGEST:
            raise self._refused("out-of-range", value, f"is beyond {LARGEST}, the largest exact number in JSON")
        check_range(self._refused, value, self.minimum, self.maximum, self.unit)
        return value

    def rules(self) -> dict[str, Any]:
        """Tell range and unit."""
        return {"minimum": self.minimum, "maximum": self.maximum, "unit": self.unit or None}
