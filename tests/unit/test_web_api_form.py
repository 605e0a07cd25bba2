import io
import tracemalloc

import pytest

from tomaat.web.api.form import Form
from tomaat.web.http.problems import Problem

TYPE = "multipart/form-data; boundary=edge"


def part(name, data, *, filename=None, newline=b"\r\n"):
    disposition = f'Content-Disposition: form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    return b"--edge" + newline + disposition.encode() + newline * 2 + data + newline


def form(*parts, content_type=TYPE, end=b"--edge--\r\n"):
    return Form(io.BytesIO(b"".join(parts) + end), content_type, most_parts=20)


def faults(made):
    with pytest.raises(Problem) as caught:
        list(made.payload())
    assert caught.value.status == 400
    assert "curl -F service=" in caught.value.detail
    return [error["code"] for error in caught.value.errors]


SERVICE = part("service", b"Add")
PAYLOAD = part("payload", b"bytes \r\n--edg of a file", filename="payload.tar.gz")


@pytest.mark.parametrize("parts", [(SERVICE, PAYLOAD), (PAYLOAD, SERVICE)])
def test_the_two_fields_are_taken_in_either_order(parts):
    made = form(*parts)
    assert b"".join(made.payload()) == b"bytes \r\n--edg of a file"
    assert made.service == "Add"


def test_a_service_named_first_is_known_before_the_payload():
    made = form(SERVICE, PAYLOAD)
    next(made.payload())
    assert made.service == "Add"


def test_every_fault_of_a_form_is_told_at_once():
    made = form(SERVICE, SERVICE, part("payload", b"./payload.tar.gz"), PAYLOAD, part("f1", b"1"))
    assert faults(made) == ["doubled-field", "not-a-file", "doubled-field", "mixed-fields"]


def test_inputs_come_in_a_payload_or_as_fields_and_a_long_name_is_never_told_at_length():
    with pytest.raises(Problem) as caught:
        list(form(SERVICE, PAYLOAD, part("x" * 5000, b"")).payload())
    assert caught.value.errors[0]["code"] == "mixed-fields"
    assert "'xxx" in caught.value.errors[0]["detail"]
    assert len(caught.value.errors[0]["detail"]) < 150


def told(made):
    """The fields of a form with their content."""
    fields = []
    for event in made.fields():
        if event is None:
            fields[-1][2] = True
        elif isinstance(event, bytes):
            fields[-1][1] += event
        else:
            fields.append([event.name, b"", False])
    return fields


@pytest.mark.parametrize("service_at", [0, 1, 2])
def test_fields_are_told_in_their_order_wherever_the_service_stands(service_at):
    parts = [part("f1", b"1"), part("scan", b"voxels", filename="scan.nii")]
    parts.insert(service_at, SERVICE)
    made = form(*parts)
    assert made.begin() == ("Add" if service_at == 0 else None)
    assert not made.has_payload
    assert told(made) == [["f1", b"1", True], ["scan", b"voxels", True]]
    assert made.service == "Add"


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_label_is_kept_wherever_it_stands_and_a_file_of_that_name_is_a_field(place):
    parts = [SERVICE, part("f1", b"1"), part("label", b"voxels", filename="label.nii")]
    parts.insert(place, part("label", b"head 7"))
    made = form(*parts)
    assert made.begin() == ("Add" if place > 0 else None) or place == 0
    assert told(made) == [["f1", b"1", True], ["label", b"voxels", True]]
    assert made.own_text("label") == b"head 7"
    assert form(SERVICE, PAYLOAD).own_text("label") is None


def test_a_form_of_a_service_alone_has_no_fields():
    made = form(SERVICE)
    assert made.begin() == "Add"
    assert told(made) == []


def test_a_payload_behind_fields_is_not_told():
    made = form(SERVICE, part("f1", b"1"), PAYLOAD)
    made.begin()
    with pytest.raises(Problem) as caught:
        told(made)
    assert [error["code"] for error in caught.value.errors] == ["mixed-fields"]


def test_a_service_of_a_megabyte_is_refused():
    assert faults(form(part("service", b"x" * 1_000_000), PAYLOAD)) == ["too-long"]


@pytest.mark.parametrize("content_type", ["", "application/gzip", "multipart/form-data", "multipart/mixed; boundary=x"])
def test_another_content_type_is_refused_with_the_right_one(content_type):
    with pytest.raises(Problem) as caught:
        form(content_type=content_type)
    assert caught.value.status == 415
    assert "multipart/form-data" in caught.value.detail


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no form at all",
        SERVICE,
        SERVICE + PAYLOAD,
        SERVICE + PAYLOAD[:-20],
        b"--edge\r\nContent-Type: text/plain\r\n\r\nx\r\n--edge--",
        b"--edge\r\nContent-Disposition: form-data; name=\xff\xfe\r\n\r\nx\r\n--edge--",
        b"".join(part(str(number), b"") for number in range(50)) + b"--edge--",
    ],
)
def test_a_broken_form_is_a_problem_and_no_crash(data):
    with pytest.raises(Problem) as caught:
        list(form(data, end=b"").payload())
    assert caught.value.status == 400


def test_a_file_name_in_another_encoding_is_told_as_such():
    named = PAYLOAD.replace(b"payload.tar.gz", b"M\xfcller.tar.gz")
    with pytest.raises(Problem, match="file is not UTF-8; give the file another name") as caught:
        list(form(SERVICE, named).payload())
    assert caught.value.status == 400


class Endless(io.RawIOBase):
    """A body that never ends."""

    def __init__(self, start, filler):
        self.start = start
        self.filler = filler
        self.left = 64 * 1024**2

    def read(self, size=-1):
        data, self.start = self.start[:size], self.start[size:]
        filled = data or self.filler * (size // len(self.filler))
        self.left -= len(filled)
        return filled if self.left > 0 else b""


@pytest.mark.parametrize(
    ("start", "filler"),
    [
        (b"", b"before any part"),
        (b"--edge\r\n", b"Header: x\r\n"),
        (PAYLOAD + b"--edge--", b"after the last part"),
        (b'--edge\r\nContent-Disposition: form-data; name="service"\r\n\r\n', b"y" * 999),
        (b'--edge\r\nContent-Disposition: form-data; name="other"\r\n\r\n', b"y\r\n--edg"),
    ],
)
def test_an_endless_part_costs_no_memory(start, filler):
    tracemalloc.start()
    with pytest.raises(Problem):
        list(Form(Endless(start, filler), TYPE, most_parts=20).payload())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 1024**2
