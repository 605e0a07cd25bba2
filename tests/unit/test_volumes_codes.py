"""Codes of labels, and the public list that the bundled ones are held against."""

import pytest
from pydicom.sr._concepts_dict import concepts  # what pydicom knows of DICOM PS3.16

from CustomTasks.BrainExtractionTask import BRAIN
from CustomTasks.InnerEarSegmentationTask import INNER_EAR
from tomaat.refusals import WrongType, WrongValue
from tomaat.volumes import Code
from tomaat.volumes.codes import ANATOMICAL_STRUCTURE, TISSUE

CATEGORIES, ANATOMY = 7150, 7151  #: context groups of DICOM: kinds of segments, and things that may be segmented


@pytest.mark.parametrize(
    ("code", "group"),
    [(ANATOMICAL_STRUCTURE, CATEGORIES), (TISSUE, CATEGORIES), (BRAIN, ANATOMY), (INNER_EAR, ANATOMY)],
    ids=lambda value: getattr(value, "meaning", value),
)
def test_a_code_of_ours_has_the_meaning_that_dicom_gives_it(code, group):
    known = [entry[code.value] for entry in concepts[code.scheme].values() if code.value in entry]
    assert [meaning for meaning, groups in known if group in groups] == [code.meaning]


def test_a_code_is_described_with_its_category():
    lesion = Code("52988006", "SCT", "Lesion", category=Code("49755003", "SCT", "Morphologically Abnormal Structure"))
    assert lesion.described() == {
        "value": "52988006",
        "scheme": "SCT",
        "meaning": "Lesion",
        "category": {"value": "49755003", "scheme": "SCT", "meaning": "Morphologically Abnormal Structure"},
    }
    assert Code("10200004", "SCT", "Liver").kind == ANATOMICAL_STRUCTURE


@pytest.mark.parametrize(
    ("words", "error", "told"),
    [
        ((10200004, "SCT", "Liver"), WrongType, "Code: value is …; write a text"),
        (("1" * 17, "SCT", "Liver"), WrongValue, "Code: value is …; write 1 to 16 printable characters, none of them"),
        (("", "SCT", "Liver"), WrongValue, "Code: value is …"),
        (("1", "S" * 17, "Liver"), WrongValue, "Code: scheme is …"),
        (("1", "SCT", "x" * 65), WrongValue, "Code: meaning is …; write 1 to 64 printable characters"),
        (("1", "SCT", "left\\right"), WrongValue, "Code: meaning is …"),
        (("1", "SCT", "a^b"), WrongValue, "Code: meaning is …"),
        (("1", "SCT", "two\nlines"), WrongValue, "Code: meaning is …"),
        (("1", "SCT", " Liver"), WrongValue, "Code: meaning is …"),
        (("1", "SCT", "Liver", "Organ"), WrongType, "Code: category is …; write a Code"),
    ],
)
def test_a_code_that_dicom_cannot_hold_is_refused_with_the_rule(words, error, told):
    with pytest.raises(error) as raised:
        Code(*words)
    assert raised.value.told.startswith(told)
