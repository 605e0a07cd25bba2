"""Sentences of our own: refusals, which reach a client verbatim, and the faults of a task's author."""

from __future__ import annotations

LONGEST_SHOWN = 60  #: characters of a value that a refusal repeats
WITHHELD = "…"


class Refusal(Exception):
    """A refusal whose sentence reaches the client verbatim.

    ``code`` is a short word for programs (``not-a-number``), ``detail`` a sentence for people that
    names the thing, the value and the rule.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class TaskFault(Exception):
    """A fault of a task's author, in our own words.

    ``{}`` in the sentence stands for a value that the task made: it may name a patient. The error's text has the
    values, for the author. ``told`` has none; it reaches the log and the client.

    >>> fault = TaskFault("the output {!r} is an array of objects; give it numbers", "MILLER_ANNA")
    >>> fault.told
    'the output … is an array of objects; give it numbers'
    """

    def __init__(self, sentence: str, *values: object) -> None:
        super().__init__(sentence.format(*values) if values else sentence)
        self.told = sentence.format(*[_Withheld()] * len(values)) if values else sentence


class WrongType(TaskFault, TypeError):
    """A value of a type that it must not have."""


class WrongValue(TaskFault, ValueError):
    """A value that breaks a rule."""


class _Withheld:
    def __repr__(self) -> str:
        return WITHHELD


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
