"""Refusals: the sentences that reach a client verbatim."""

from __future__ import annotations

LONGEST_SHOWN = 60  #: characters of a value that a refusal repeats


class Refusal(Exception):
    """A refusal whose sentence reaches the client verbatim.

    ``code`` is a short word for programs (``not-a-number``), ``detail`` a sentence for people that
    names the thing, the value and the rule.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def shown(value: object) -> str:
    """Show a stranger's value in a sentence: printable, and never longer than 60 characters.

    >>> shown("abc")
    "'abc'"
    >>> len(shown("x" * 10_000_000))
    60
    """
    if isinstance(value, (str, bytes, list, tuple)):
        value = value[:LONGEST_SHOWN]
    elif isinstance(value, dict):
        return f"an object of {len(value)} entries"
    elif isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 200:  # noqa: PLR2004 (60 digits)
        return f"an integer of {value.bit_length()} bits"
    text = ascii(value)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."
