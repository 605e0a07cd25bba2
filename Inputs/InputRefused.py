"""Why a value sent for an input is not taken."""

from __future__ import annotations

from tomaat.refusals import Refusal


class InputRefused(Refusal):
    """A value, or a file, that breaks the rule of its input; the sentence begins with the input's id."""
