"""Why a payload is not taken: all its faults at once."""

from __future__ import annotations

from typing import Any

from tomaat.refusals import Refusal


class PayloadRefused(Refusal):
    """A payload with one fault or more.

    Each of ``errors`` has ``input`` (an id of the service's, or ``None`` for a fault of the whole payload), ``code``
    and ``detail``. ``inputs`` is the number of inputs that the service has.
    """

    def __init__(self, errors: list[dict[str, Any]], *, inputs: int) -> None:
        refused = len({error["input"] for error in errors} - {None})
        detail = f"{refused} of {inputs} inputs were refused." if refused else "The payload was refused."
        super().__init__("invalid-inputs", detail)
        self.errors = errors
        self.inputs = inputs
