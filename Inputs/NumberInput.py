"""The base of the inputs for numbers: a range with a unit, and the refusals of numbers outside."""

from __future__ import annotations

from typing import Any

from Inputs.Input import Input
from Inputs.InputRefused import InputRefused
from tomaat.refusals import shown

LONGEST_UNIT = 20  #: characters


class NumberInput(Input):
    """A number within ``minimum`` and ``maximum``, both included, each of which may be absent."""

    def __init__(
        self,
        id: str,
        name: str,
        *,
        minimum: float | None = None,
        maximum: float | None = None,
        unit: str = "",
        default: float | None = None,
        description: str = "",
        required: bool = True,
    ) -> None:
        super().__init__(id, name, description=description, required=required)
        self.unit = self._declared_text("unit", unit, LONGEST_UNIT)
        self.minimum = self._bound("minimum", minimum)
        self.maximum = self._bound("maximum", maximum)
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"{self!r}: minimum={written(self.minimum)} is above maximum={written(self.maximum)}.")
        self._set_default(default)

    def describe(self) -> dict[str, Any]:
        """Describe this input as JSON; an absent bound is ``null``."""
        return super().describe() | {"minimum": self.minimum, "maximum": self.maximum, "unit": self.unit}

    def number(self, value: object) -> Any:
        """Give a JSON value as this input's kind of number; raises ``InputRefused``."""
        raise NotImplementedError

    def check(self, value: object) -> Any:
        """Check kind and range of a number."""
        number = self.number(value)
        below = self.minimum is not None and number < self.minimum
        above = self.maximum is not None and number > self.maximum
        if below or above:
            if self.minimum is None:
                rule = f"above {written(self.maximum)}"
            elif self.maximum is None:
                rule = f"below {written(self.minimum)}"
            else:
                rule = f"outside {written(self.minimum)} to {written(self.maximum)}"
            raise self.refuse("out-of-range", f"{written(number)} is {' '.join(filter(None, [rule, self.unit]))}.")
        return number

    def _bound(self, what: str, bound: object) -> Any:
        if bound is None:
            return None
        try:
            return self.number(bound)
        except InputRefused as refusal:
            raise ValueError(f"{self!r}: {what}={shown(bound)} is no bound: {refusal.detail}") from None


def written(number: Any) -> str:
    """Write a number as short as it can be read back.

    >>> written(30.0), written(0.1), written(10.000000001)
    ('30', '0.1', '10.000000001')
    """
    return shown(number).removesuffix(".0")
