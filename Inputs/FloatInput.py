"""An input for a real number."""

from __future__ import annotations

from typing import Any

from Inputs.InputRefused import InputRefused
from Inputs.NumberInput import NumberInput
from Inputs.numbers import finite


class FloatInput(NumberInput):
    """A finite number of 64 bits; ``perform`` gets a ``float``. A whole number in JSON (``3``) is taken too.

    >>> FloatInput("sigma", "Width", minimum=0.1, maximum=10, unit="mm").check(30)
    Traceback (most recent call last):
        ...
    Inputs.InputRefused.InputRefused: sigma: 30 is outside 0.1 to 10 mm.
    """

    type = "float"

    def number(self, value: object) -> Any:
        """Give a JSON number as a float: no boolean, no text, not NaN, and finite."""
        try:
            return finite(value, self.shown(value))
        except InputRefused as refusal:
            raise self.refuse(refusal.code, refusal.detail) from None
