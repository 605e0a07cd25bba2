"""The label of a ticket: the client's own name for it, and perhaps a patient's."""

from __future__ import annotations

import re

from tomaat.web.http.problems import Problem, invalid
from tomaat.web.http.shapes import Json

LONGEST_LABEL = 100  #: characters
#: Characters that break a line, or let a text be shown in another order. As a class for Python and for JSON schemas.
FORBIDDEN = "\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069"
BROKEN = re.compile(f"[{FORBIDDEN}]")
LABEL_SCHEMA: Json = {
    "type": "string",
    "maxLength": LONGEST_LABEL,
    "pattern": f"^[^{FORBIDDEN}]*$",
    "description": "The client's own name for the ticket: its status tells it, and nothing else does.",
}


def read_label(sent: bytes | None) -> str | None:
    """Check a label, if one was sent, and take the blanks around it off; an empty one is none. Raises ``Problem``."""
    if sent is None:
        return None
    try:
        label = sent.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refused("not-utf-8", f"it is not UTF-8 (byte {error.start + 1}).") from None
    if BROKEN.search(label):
        raise _refused("control-character", "it has a control character; write it in one line.")
    label = label.strip()
    if len(label) > LONGEST_LABEL:
        raise _refused("too-long", f"it has more than {LONGEST_LABEL} characters.")
    return label or None


def _refused(code: str, rule: str) -> Problem:
    """Make the refusal; it does not repeat the label."""
    detail = f"label: {rule}"
    return invalid(detail, [{"input": None, "code": code, "detail": detail}])
