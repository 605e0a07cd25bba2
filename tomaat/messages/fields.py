"""The rules for a message's fields. Each rule returns the value to keep, or raises ``MessageRefused``.

A rule's words name the rule and never the value: a value may be a patient's name. Two kinds of text are told apart:

- a **sentence** is for people. It always arrives: ``cleaned`` replaces characters that a database or a page cannot
  take, and cuts the end of a long one.
- a **word** is for programs (a service, a hash, a claim). It is as it was sent, or the message is refused.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Rule = Callable[[object], Any]

REPLACEMENT = "\ufffd"
BREAKS = {"\n", "\r", "\t", "\v", "\f", "\x85", "\u2028", "\u2029"}
BROKEN = {"Cc", "Cs"}  #: Unicode's categories of control characters, NUL among them, and of half characters
LONGEST_WORD = 200  #: characters
LONGEST_SENTENCE = 2000
MOST_BYTES = 2**62  #: of a size; the database's integers hold it
MOST_SECONDS = 1e9
MOST_FAULT_BYTES = 64 * 1024  #: of the faults of one payload, as JSON
DEEPEST = 20  #: levels of a JSON value


class MessageRefused(ValueError):
    """A message that is none; the words hold nothing of its content."""


def cleaned(text: str, longest: int, *, lines: bool = False) -> str:
    r"""Make a sentence of any text, at most ``longest`` characters long.

    NUL, other control characters and half characters become U+FFFD. A line break or a tab becomes a space, and stays
    where ``lines`` are allowed.

    >>> cleaned("series 1.2.3\0 is\ntoo short.", 100)
    'series 1.2.3� is too short.'
    >>> cleaned("far too long", 8)
    'far too…'
    """
    kept = text if len(text) <= longest else text[: longest - 1] + "…"
    return kept if kept.isprintable() else "".join(_unbroken(character, lines=lines) for character in kept)


def _unbroken(character: str, *, lines: bool) -> str:
    if character in BREAKS:
        return character if lines and character in "\n\t" else " "
    return REPLACEMENT if unicodedata.category(character) in BROKEN else character


def sentence(longest: int = LONGEST_SENTENCE, *, lines: bool = False) -> Rule:
    """Take any text, cleaned."""

    def check(value: object) -> str:
        if not isinstance(value, str):
            raise MessageRefused("is no text")
        return cleaned(value, longest, lines=lines)

    return check


def word(value: object) -> str:
    """Take a text of 1 to 200 printable characters."""
    if not isinstance(value, str) or not 1 <= len(value) <= LONGEST_WORD or not value.isprintable():
        raise MessageRefused(f"is no text of 1 to {LONGEST_WORD} printable characters")
    return value


def claim_key(value: object) -> str:
    """Take the name of one claim of one ticket, such as ``42/1``."""
    ticket, slash, claim = value.partition("/") if isinstance(value, str) else ("", "", "")
    if not (slash and _is_count(ticket) and _is_count(claim)):
        raise MessageRefused("is not <ticket>/<claim>")
    return f"{ticket}/{claim}"


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_BYTES)) and int(text) <= MOST_BYTES


def path(value: object) -> Path:
    """Take the path of a file or folder, from the root."""
    text = str(value) if isinstance(value, (str, Path)) else ""
    if not text.startswith("/") or "\0" in text:
        raise MessageRefused("is no path from the root")
    return Path(text)


def number(least: float, most: float) -> Rule:
    """Take a finite number from ``least`` to ``most``."""

    def check(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= most:
            raise MessageRefused(f"is no number from {least:g} to {most:g}")
        return float(value)

    return check


fraction = number(0, 1)
seconds = number(0, MOST_SECONDS)


def count(value: object) -> int:
    """Take a whole number from 0 on: a number of bytes, a place, an id."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_BYTES:
        raise MessageRefused(f"is no whole number from 0 to {MOST_BYTES}")
    return value


def flag(value: object) -> bool:
    """Take true or false."""
    if not isinstance(value, bool):
        raise MessageRefused("is neither true nor false")
    return value


def optional(rule: Rule) -> Rule:
    """Take ``None`` too."""
    return lambda value: None if value is None else rule(value)


def each(rule: Rule) -> Rule:
    """Take a list in which each value is one that ``rule`` takes, as a tuple."""

    def check(value: object) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise MessageRefused("is no list")
        return tuple(rule(item) for item in value)

    return check


def by_id(rule: Rule) -> Rule:
    """Take an object of values that ``rule`` takes, by whole numbers, which JSON writes as text."""

    def check(value: object) -> dict[int, Any]:
        if not isinstance(value, dict) or not all(_is_count(str(id)) for id in value):
            raise MessageRefused("is no object by whole numbers")
        return {int(id): rule(item) for id, item in value.items()}

    return check


def facts(rules: Mapping[str, Rule]) -> Rule:
    """Take an object of exactly these fields."""

    def check(value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise MessageRefused("is no object")
        return checked(value, rules)

    return check


def checked(values: Mapping[str, object], rules: Mapping[str, Rule]) -> dict[str, Any]:
    """Take exactly the fields that have a rule, each by its own."""
    if values.keys() != rules.keys():
        raise MessageRefused(f"has other fields than {', '.join(rules) or 'none'}")
    kept = {}
    for name, rule in rules.items():
        try:
            kept[name] = rule(values[name])
        except MessageRefused as error:
            raise MessageRefused(f"{name} {error}") from None
    return kept


def json_value(value: object, depth: int = DEEPEST) -> Any:
    """Take any JSON value without broken characters or numbers that are not finite, at most 20 levels deep."""
    if depth == 0:
        raise MessageRefused(f"is more than {DEEPEST} levels deep")
    if isinstance(value, Mapping):
        return {_unbroken_text(key): json_value(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(item, depth - 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise MessageRefused("holds a number that is not finite")
    if isinstance(value, str):
        return _unbroken_text(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    raise MessageRefused("holds a value that JSON has not")


def _unbroken_text(value: object) -> str:
    if not isinstance(value, str) or cleaned(value, len(value), lines=True) != value:
        raise MessageRefused("holds a text with characters that cannot be stored")
    return value


_fault = facts({"input": optional(sentence(LONGEST_WORD)), "code": sentence(LONGEST_WORD), "detail": sentence()})


def faults(value: object) -> tuple[dict[str, Any], ...]:
    """Take a payload's faults (``input``, ``code``, ``detail``), as many of the first as 64 KiB hold."""
    if not isinstance(value, (list, tuple)):
        raise MessageRefused("is no list")
    kept: list[dict[str, Any]] = []
    left = MOST_FAULT_BYTES
    for item in value:
        fault = _fault(item)
        left -= len(json.dumps(fault))
        if left < 0:
            break
        kept.append(fault)
    return tuple(kept)
