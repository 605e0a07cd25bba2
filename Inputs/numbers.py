"""Check that a JSON value is a number."""

from __future__ import annotations

import math

from Inputs.InputRefused import InputRefused


def finite(value: object, as_shown: str) -> float:
    """Return a JSON number as a finite float: no boolean, no text, not NaN; refusals show it as ``as_shown``.

    >>> finite(3, "3")
    3.0
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputRefused("not-a-number", f"{as_shown} is not a number.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isnan(number):
        raise InputRefused("not-finite", "NaN is not a finite number.")
    if math.isinf(number):
        raise InputRefused("not-finite", "the number is infinite or too large for 64 bits.")
    return number
