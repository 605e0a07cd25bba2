"""An input for a whole number."""

from __future__ import annotations

from typing import Any

from Inputs.InputRefused import InputRefused
from Inputs.NumberInput import NumberInput
from Inputs.numbers import finite

LARGEST = 2**53 - 1  #: beyond it JSON readers that hold numbers as 64-bit floats lose digits (RFC 8259, section 6)


class IntInput(NumberInput):
    """A whole number of at most 53 bits; ``perform`` gets an ``int``.

    ``3.0`` counts as ``3``: JSON has one kind of number, JSON Schema calls both integers, and a client in JavaScript
    cannot tell them apart. ``3.5`` is refused.

    >>> IntInput("n", "Steps").check(3.0)
    3
    """

    type = "int"

    def number(self, value: object) -> Any:
        """Give a JSON number as an integer: no boolean, no text, no fraction."""
        try:
            number = finite(value, self.shown(value))
        except InputRefused as refusal:
            raise self.refuse(refusal.code, refusal.detail) from None
        if not number.is_integer():
            raise self.refuse("not-an-integer", f"{self.shown(value)} is not a whole number.")
        if abs(number) > LARGEST:
            raise self.refuse("out-of-range", f"{self.shown(value)} is outside {-LARGEST} to {LARGEST}.")
        return int(number)
