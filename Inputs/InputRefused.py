"""The refusal of a value that was sent for an input."""

from __future__ import annotations

from tomaat.refusals import Refusal


class InputRefused(Refusal):
    """A value, or a file, breaks the rule of its input; the message begins with the input's id."""
