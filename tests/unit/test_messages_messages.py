"""What is written is read again, and nothing else is."""

import json
import math
import unicodedata
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomaat.messages import (
    FROM_LANE,
    FROM_WORKER,
    Begin,
    DeviceBroken,
    DeviceUnusable,
    DeviceUsable,
    DiskFull,
    Estimate,
    Estimated,
    Expected,
    Forget,
    GiveUp,
    KnownOffer,
    Loaded,
    Loading,
    MakeRoom,
    Measured,
    MessageRefused,
    NotOffered,
    Offered,
    Outgrown,
    Packed,
    Perform,
    Performed,
    Performing,
    Progress,
    ReadAhead,
    Reload,
    Reloaded,
    RoomMade,
    TakePlace,
    TaskCrashed,
    TaskStopped,
    TicketRefused,
    ToEstimate,
    WorkerReady,
    read,
    write,
)
from tomaat.messages.fields import MOST_FAULT_BYTES

KINDS = FROM_LANE | FROM_WORKER
OFFER = {
    "service": "Add",
    "description": "adds",
    "version": "1",
    "interface": {"a": {"choices": ["é", "1"]}},
    "deadline_seconds": 3600.0,
    "estimates": False,
    "example": {"a": [1, 2.5, None, True]},
    "file": "AddTask.py",
    "trial": False,
    "intended_use": "For sums.",
    "licence": "",
    "reference": "",
    "contact": "",
    "kind": "nnU-Net",
    "weights_sha256": None,
}
KNOWN = KnownOffer(
    service="Add",
    file="AddTask.py",
    interface_hash="a1",
    version="1",
    network_bytes=1,
    peak_bytes=None,
    load_seconds=0.5,
)
FAULT = {"input": None, "code": "more-faults", "detail": "3 more."}
EXAMPLES = [
    TakePlace(
        device="cuda:0", visible_devices="GPU-1", kept=Path("/copies/1"), services=("Add",), memory_bytes=9, shared=True
    ),
    MakeRoom(),
    RoomMade(),
    KNOWN,
    Begin(without=("AddTask.py", "Liver")),
    Perform(key="42/1", service="Add", inputs=Path("/in"), out=Path("/out/é\udce9"), source="here/cpu-0"),
    ReadAhead(service="Add", inputs=Path("/in")),
    Reload(copy=Path("/copies/1"), files=("AddTask.py",)),
    Reloaded(services=("Add",), refused=("Liver.py",)),
    Forget(),
    GiveUp(key="42/1"),
    Estimate(tickets=(ToEstimate(ticket=1, service="Add", inputs=Path("/in")),)),
    Offered(offer=OFFER, interface_hash="a1", network_bytes=1, peak_bytes=None, load_seconds=0.5, warm=1),
    NotOffered(reason="Liver.py: SyntaxError:\n  line 3"),
    WorkerReady(),
    DeviceUsable(),
    DeviceUnusable(reason="torch cannot use cuda:0"),
    DeviceBroken(reason="CUDA error: device-side assert triggered"),
    Loading(name="Liver", deadline_seconds=60.0),
    Loaded(),
    Measured(service="Add", network_bytes=0, peak_bytes=7, load_seconds=3.0, warm=("Add",), loading_seconds=0.0),
    Expected(service="Add", peak_bytes=7),
    Estimated(seconds={1: 2.5, 7: None}),
    Progress(key="42/1", fraction=0.5, stage="slice 1 of 7"),
    Performing(key="42/1"),
    Performed(key="42/1"),
    Packed(key="42/1"),
    TicketRefused(key="42/1", detail="x: 'abc' is not a number.", errors=(FAULT,), now=True),
    TaskCrashed(key="42/1", error="OSError", reference="abcd1234"),
    Outgrown(key="42/1", needed_bytes=None, total_bytes=10**12),
    TaskStopped(key="42/1"),
    DiskFull(key="42/1"),
]
TEXTS = {
    NotOffered: "reason",
    DeviceUnusable: "reason",
    DeviceBroken: "reason",
    Loading: "name",
    Progress: "stage",
    TicketRefused: "detail",
    TaskCrashed: "error",
}  #: the sentences, which always arrive


def test_there_is_an_example_of_each_kind():
    assert {type(message).__name__ for message in EXAMPLES} == set(KINDS)


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_what_is_written_is_read_again(message):
    assert read(write(message), KINDS) == message


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_no_kind_takes_another_field_or_one_less(message):
    said = json.loads(write(message))
    with pytest.raises(MessageRefused, match="other fields than"):
        read(json.dumps({**said, "more": 1}).encode(), KINDS)
    for field in fields(message):
        with pytest.raises(MessageRefused, match="other fields than"):
            read(json.dumps({name: value for name, value in said.items() if name != field.name}).encode(), KINDS)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
VALUES = ANYTHING | st.sampled_from([-1, 2**63, 1e308, math.inf, math.nan, "a\0", "\udce9", "x" * 5000, {}, [[]]])


@given(st.data())
def test_a_message_with_any_value_is_read_as_one_that_can_be_written_or_refused(data):
    message = data.draw(st.sampled_from([each for each in EXAMPLES if fields(each)]))
    said = json.loads(write(message))
    changed = data.draw(st.sampled_from(sorted(said.keys() - {"is"})))
    said[changed] = data.draw(VALUES)
    try:
        got = read(json.dumps(said).encode(), KINDS)
    except MessageRefused:
        return
    assert read(write(got), KINDS) == got
    for text in texts_of([getattr(got, field.name) for field in fields(got) if field.type != "Annotated[Path, path]"]):
        assert "\0" not in text
        text.encode()


def texts_of(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from texts_of([*value, *value.values()])
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from texts_of(each)


@given(st.binary(max_size=50) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_whatever_else_arrives_is_refused(data):
    with pytest.raises(MessageRefused):
        read(data, KINDS)


@pytest.mark.parametrize("kind", TEXTS, ids=lambda kind: kind.__name__)
@given(text=st.text(st.characters(), max_size=50) | st.just("y" * 200_000))
def test_a_sentence_always_arrives_cleaned_and_cut(kind, text):
    (message,) = (each for each in EXAMPLES if type(each) is kind)
    said = {**json.loads(write(message)), TEXTS[kind]: text}
    got = getattr(read(json.dumps(said).encode(), KINDS), TEXTS[kind])
    assert len(got) <= 4000
    assert {unicodedata.category(character) for character in got if character not in "\n\t"}.isdisjoint({"Cc", "Cs"})
    assert kind is NotOffered or not {"\n", "\t"} & set(got)
    if text.isprintable() and len(text) <= 200:
        assert got == text


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (Progress, "fraction", 1.01),
        (Progress, "fraction", -0.01),
        (Progress, "fraction", True),
        (Progress, "key", "1/1/1"),
        (Progress, "key", "１/1"),
        (Measured, "network_bytes", -1),
        (Measured, "network_bytes", 1.5),
        (Measured, "network_bytes", 2**63),
        (Measured, "load_seconds", 1.1e9),
        (Measured, "service", "Add\0"),
        (Measured, "service", "x" * 201),
        (Outgrown, "needed_bytes", "1"),
        (Offered, "offer", {**OFFER, "deadline_seconds": 1.8e308}),
        (Offered, "offer", {**OFFER, "interface": {"a": "\udce9"}}),
        (Offered, "offer", {**OFFER, "interface": {"a\0": 1}}),
        (Estimated, "seconds", {"1 ": 1}),
        (Perform, "inputs", "relative/in"),
    ],
)
def test_a_value_that_programs_rely_on_is_refused_where_it_breaks_its_rule(kind, field, value):
    (message,) = (each for each in EXAMPLES if type(each) is kind)
    said = {**json.loads(write(message)), field: value}
    with pytest.raises(MessageRefused, match=f"^{kind.__name__}: {field} "):
        read(json.dumps(said).encode(), KINDS)


def test_a_refusals_words_hold_nothing_of_what_was_sent():
    said = {"is": "Progress", "key": "MILLER", "fraction": "MILLER", "stage": "MILLER"}
    with pytest.raises(MessageRefused) as refused:
        read(json.dumps(said).encode(), KINDS)
    assert "MILLER" not in str(refused.value)


def test_more_faults_than_fit_are_cut_behind_the_first():
    faults = tuple({"input": f"x{number}", "code": "no", "detail": "x" * 1900} for number in range(1000))
    got = read(write(TicketRefused(key="1/1", detail="x", errors=faults)), KINDS)
    assert got.errors == faults[: len(got.errors)]
    assert 20 < len(got.errors) < MOST_FAULT_BYTES / 1900


def test_a_value_that_the_other_side_would_refuse_is_not_written():
    with pytest.raises(MessageRefused, match="Progress: fraction is no number from 0 to 1"):
        write(Progress(key="1/1", fraction=math.nan, stage="x"))
