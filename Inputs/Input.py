"""The base of all inputs: how one is declared, described, compared, and how its value is refused."""

from __future__ import annotations

import json
import keyword
import re
from typing import Any, ClassVar

from Inputs.InputRefused import InputRefused
from tomaat.refusals import shown

LONGEST_ID = 64  #: characters
LONGEST_NAME = 200  #: characters
LONGEST_DESCRIPTION = 2000  #: characters
MOST_SHOWN = 4  #: values of a list that a refusal repeats
ID = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
JSON_WORDS = {"True": "true", "False": "false", "None": "null", "nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class Input:
    """One declared argument of a service.

    An input describes itself as JSON (``describe``), checks a client's value (``check``), and converts the checked
    value for ``perform`` (``convert``). An input with a default is not required; one that is neither required nor has a
    default gives ``perform`` a ``None`` when the client leaves it out. ``null`` is no value: a client leaves an input
    out by not naming it.

    A wrong declaration raises ``TypeError`` or ``ValueError`` with a sentence for the author of the task.
    """

    type: ClassVar[str]  #: the protocol's word, such as ``float``
    store: ClassVar[str] = (
        "mainjson"  #: ``mainjson``: a value in ``main.json``; ``file``: a ``file-<id>.<ext>`` beside it
    )
    only_described: ClassVar[frozenset[str]] = frozenset({"type", "store"})  #: keys that the constructor does not take

    def __init__(self, id: str, name: str, *, description: str = "", required: bool = True) -> None:
        if not isinstance(id, str):
            raise TypeError(f"{type(self).__name__}: the id is {shown(id)}; write a text such as 'sigma'.")
        if not ID.fullmatch(id) or keyword.iskeyword(id) or id == "self" or len(id) > LONGEST_ID:
            raise ValueError(
                f"{type(self).__name__}: {shown(id)} cannot be an id, since perform() takes it by that name; write a "
                f"letter, then letters, digits and _, at most {LONGEST_ID}, and none of Python's own words."
            )
        self.id = id
        self.name = self._declared_text("name", name, LONGEST_NAME)
        if not self.name.strip():
            raise ValueError(f"{self!r}: the name is empty; write the meaning of the input for its user.")
        self.description = self._declared_text("description", description, LONGEST_DESCRIPTION)
        if not isinstance(required, bool):
            raise TypeError(f"{self!r}: required={shown(required)}; write True or False.")
        self.required = required
        self.default: Any = None

    def describe(self) -> dict[str, Any]:
        """Describe this input as JSON, for ``/supportedservices`` and for ``from_description``."""
        return {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "type": self.type,
            "store": self.store,
            "required": self.required,
            "default": self.default,
        }

    def check(self, value: object) -> Any:
        """Check a JSON value and give it in its canonical form; raises ``InputRefused``."""
        raise NotImplementedError

    def convert(self, value: Any) -> Any:
        """Turn a checked value into the one for ``perform``."""
        return value

    def refuse(self, code: str, rule: str) -> InputRefused:
        """Make the refusal of this input's value, its sentence beginning with the input's id."""
        return InputRefused(code, f"{self.id}: {rule}")

    def shown(self, value: object) -> str:
        """Show a client's value as it stands in JSON, bounded and printable."""
        if isinstance(value, list) and (
            len(value) > MOST_SHOWN or any(isinstance(part, (list, dict)) for part in value)
        ):
            return f"a list of {len(value)} values"
        text = shown(value)
        return JSON_WORDS.get(text, text)

    def _set_default(self, default: object) -> None:
        """Check the declared default as if a client had sent it. ``None`` is none."""
        if default is None:
            return
        try:
            self.default = self.check(default)
        except InputRefused as refusal:
            raise ValueError(f"{self!r}: its own default is refused: {refusal.detail}") from None
        self.required = False

    def _declared_text(self, what: str, text: object, longest: int) -> str:
        if not isinstance(text, str):
            raise TypeError(f"{self!r}: {what}={shown(text)}; write a text.")
        if len(text) > longest:
            raise ValueError(f"{self!r}: {what} has {len(text)} characters; at most {longest} are shown.")
        if not text.replace("\n", "").isprintable():
            raise ValueError(f"{self!r}: {what}={shown(text)} holds characters that cannot be printed.")
        return text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Input) and self.describe() == other.describe()

    def __hash__(self) -> int:
        return hash(json.dumps(self.describe(), sort_keys=True))
