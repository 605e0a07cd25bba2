import json

import pytest

from Inputs import FloatInput, InputRefused, IntInput, VolumeInput
from tomaat.services import Offer, Task


class _Two(Task):
    task_identifier = "Two"
    description = "Takes two."
    inputs = (FloatInput("x", "X"), IntInput("n", "N", default=3))
    example = {"n": 4.0}  # noqa: RUF012
    deadline_seconds = 60

    def perform(self, x, n):
        return {"sum": x + n}


def changed(**facts):
    return Offer.of(type("_Changed", (_Two,), facts)())


def test_an_offer_travels_as_json():
    offer = Offer.of(_Two())
    assert Offer.from_json(json.loads(json.dumps(offer.to_json()))) == offer
    assert list(offer.interface) == ["x", "n"]
    assert json.dumps(offer.example) == '{"n": 4}', "as a client would have to write it"


def test_an_example_of_a_volume_names_a_file_and_says_what_it_shows():
    scan = (VolumeInput("x", "Scan"),)
    example = {"x": {"file": "phantom_head.nii.gz", "about": "A phantom."}}
    assert changed(inputs=scan, example=example).example == example
    for wrong in (
        {"file": "head.nii.gz"},
        {"file": "../head.nii.gz", "about": "A head."},
        {"file": "head.dcm", "about": "A head."},
        {"file": "head.nii.gz", "about": " "},
        {"series": "1.2"},
    ):
        with pytest.raises(InputRefused, match="an example of a volume is"):
            changed(inputs=scan, example={"x": wrong})


def test_the_hash_is_the_names_and_the_interfaces_and_nothing_elses():
    same = Offer.of(_Two()).interface_hash
    assert changed(description="Other words.", version="2", deadline_seconds=5).interface_hash == same
    assert changed(inputs=_Two.inputs[::-1]).interface_hash == same
    assert changed(task_identifier="Three").interface_hash != same
    assert changed(inputs=(FloatInput("x", "X", minimum=0), _Two.inputs[1])).interface_hash != same


def test_an_offer_has_the_texts_that_its_task_has():
    plain = Offer.of(_Two())
    assert (plain.trial, plain.intended_use, plain.licence, plain.reference, plain.contact) == (False, "", "", "", "")
    told = changed(trial=True, intended_use="For sums.", licence="MIT", reference="A book", contact="somebody@lab.org")
    assert (told.trial, told.intended_use, told.licence) == (True, "For sums.", "MIT")
    assert (told.reference, told.contact) == ("A book", "somebody@lab.org")
    assert told.interface_hash == plain.interface_hash


def test_only_a_task_that_foretells_is_asked_for_an_estimate():
    assert not Offer.of(_Two()).estimates
    assert changed(expected_seconds=lambda _self, _inputs: 1.0).estimates
