"""A number."""

from __future__ import annotations

import math
from typing import Any

from Inputs.Input import NO_DEFAULT, Input, check_range


class FloatInput(Input):
    """A finite number, within a range whose ends count; ``perform`` gets a ``float``.

    >>> FloatInput("sigma", "Width", minimum=0.1, maximum=10, unit="mm").check(30)
    Traceback (most recent call last):
    Inputs.Input.InputRefused: sigma: 30.0 is outside 0.1 to 10 mm.
    """

    type = "float"

    def __init__(
        self,
        id: str,
        name: str,
        *,
        description: str = "",
        required: bool = True,
        default: Any = NO_DEFAULT,
        minimum: float | None = None,
        maximum: float | None = None,
        unit: str = "",
    ) -> None:
        super().__init__(id, name, description=description, required=required, default=default)
        self.minimum = minimum
        self.maximum = maximum
        self.unit = unit
        self._check_default()

    def check(self, value: object) -> float:
        """Take a JSON number that is finite and within the range; no bool, no string."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self._refused("not-a-number", value, "is not a number")
        try:
            number = float(value)
        except OverflowError:
            raise self._refused("not-finite", value, "is too large for a number") from None
        if not math.isfinite(number):
            raise self._refused("not-finite", value, "is not finite")
        check_range(self._refused, number, self.minimum, self.maximum, self.unit)
        return number

    def rules(self) -> dict[str, Any]:
        """Tell range and unit."""
        return {"minimum": self.minimum, "maximum": self.maximum, "unit": self.unit or None}
