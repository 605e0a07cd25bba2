"""Codes that say what a label shows in words that other programs know, such as those of SNOMED CT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tomaat.refusals import WrongType, WrongValue

LONGEST_VALUE = 16  #: characters of a code and of its scheme: DICOM's SH
LONGEST_MEANING = 64  #: likewise: DICOM's LO
PARTING = set("\\^~|")  #: characters that part a text in two, in DICOM and in 3D Slicer's tags


@dataclass(frozen=True)
class Code:
    """A word of a coding scheme, as DICOM codes it; ``SCT`` is SNOMED CT.

    ``category`` says of what kind the thing is: a code of DICOM's CID 7150; without one, an anatomical structure.
    Raises ``WrongType`` or ``WrongValue`` with a sentence for the author of the task. Nobody looks up whether the code
    has this meaning.

    >>> Code("10200004", "SCT", "Liver").described()["category"]["meaning"]
    'Anatomical Structure'
    """

    value: str
    scheme: str
    meaning: str
    category: Code | None = None

    def __post_init__(self) -> None:
        for name, longest in (("value", LONGEST_VALUE), ("scheme", LONGEST_VALUE), ("meaning", LONGEST_MEANING)):
            text: Any = getattr(self, name)
            if not isinstance(text, str):
                raise WrongType(f"Code: {name} is {{!r}}; write a text", text)
            if not 1 <= len(text) <= longest or not text.isprintable() or text != text.strip() or PARTING & set(text):
                rule = f"write 1 to {longest} printable characters, none of them \\, ^, ~ or |"
                raise WrongValue(f"Code: {name} is {{!r}}; {rule}", text)
        if self.category is not None and not isinstance(self.category, Code):
            raise WrongType("Code: category is {!r}; write a Code", self.category)

    @property
    def kind(self) -> Code:
        """The category, also where none was given."""
        return self.category or ANATOMICAL_STRUCTURE

    def described(self) -> dict[str, Any]:
        """Describe the code and its category as JSON."""
        told, kind = (
            {"value": code.value, "scheme": code.scheme, "meaning": code.meaning} for code in (self, self.kind)
        )
        return {**told, "category": kind}


ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")  #: as DICOM's CID 7150 has it
TISSUE = Code("85756007", "SCT", "Tissue")  #: likewise; the kind that 3D Slicer gives a new segment
