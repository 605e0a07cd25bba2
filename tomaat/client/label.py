"""The label of a request: its user's own name for it, by default the name of its file or folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

LONGEST_LABEL = 100  #: characters, as the server wants it
LAST_CHARACTERS = 39  #: of a longer one that are kept: they often tell files apart
#: As in tomaat/web/api/label.py, and halves of characters, with which Python writes names that are not UTF-8.
BROKEN = re.compile(
    "[\\u0000-\\u001f\\u007f-\\u009f\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)


def label_of(name: str) -> str:
    """Make a label of any name: one line, of a bounded length.

    >>> label_of(" head 7 "), label_of("a" * 90 + "-of-patient-7-t1.nii.gz")[-30:]
    ('head 7', 'aaaaaaa-of-patient-7-t1.nii.gz')
    """
    label = BROKEN.sub("\ufffd", name).strip()
    if len(label) > LONGEST_LABEL:
        label = f"{label[: LONGEST_LABEL - LAST_CHARACTERS - 1]}…{label[-LAST_CHARACTERS:]}"
    return label


def name_of_path(path: str | os.PathLike[str]) -> str:
    """Name a file or a folder, also one that is written as ``.`` or with a ``/`` behind it."""
    return Path(os.path.abspath(path)).name  # noqa: PTH100 (a path may be a link, whose own name is meant)
