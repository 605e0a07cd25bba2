"""The code of a label that carries a name of DICOM's own list of anatomical structures."""

from __future__ import annotations

import re

from tomaat.volumes import Code


def known_code(name: str) -> Code | None:
    """Give the code that a structure of this very name has in DICOM's context group 7192, mostly of SNOMED CT.

    Case, blanks, ``-`` and ``_`` do not count. A name that the group lacks has none: nothing is guessed.

    >>> known_code("small_intestine")
    Code(value='30315005', scheme='SCT', meaning='Small intestine', category=None)
    >>> known_code("left liver") is None
    True
    """
    from pydicom.sr.codedict import codes  # noqa: PLC0415 (only for a folder's labels)

    keyword = "".join(word[:1].upper() + word[1:] for word in re.split(r"[\s_-]+", name))
    found = getattr(codes.cid7192, keyword, None) if keyword.isidentifier() else None
    return None if found is None else Code(found.value, found.scheme_designator, found.meaning)
