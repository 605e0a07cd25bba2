"""Which networks are warm, and what happens when memory runs out."""

import hashlib

import pytest

from tomaat.compute.Networks import Networks, OutOfMemory
from tomaat.services import Task


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


class _Hungry(Task):
    """Fits once the others are gone; never with x of 100 and more."""

    others_warm = True

    def perform(self, x):
        if _Hungry.others_warm or x >= 100:
            _Hungry.others_warm = False
            raise OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return {"x": x}


class _Counted(Task):
    loads = 0

    def load(self, device):
        _Counted.loads += 1
        self.device = device

    def perform(self, x):
        self.progress(0.5, "counting")
        return {"x": x}


class _Weighed(Task):
    def __init__(self):
        self.weights = self.file

    def perform(self, x):
        return {"x": x}


@pytest.fixture
def networks(reports):
    _Counted.loads = 0
    _Hungry.others_warm = True
    return Networks("cpu", lambda fraction, stage: reports.append((fraction, stage)))


@pytest.fixture
def reports():
    return []


def test_a_network_is_loaded_once_and_its_task_reports(networks, reports):
    networks.load("Counted", _Counted())
    assert [networks.perform("Counted", {"x": x}) for x in (1, 2)] == [{"x": 1}, {"x": 2}]
    assert _Counted.loads == 1
    assert networks.tasks["Counted"].device == "cpu"
    assert reports == [(0.5, "counting")] * 2


def test_the_weights_are_hashed_at_the_start(networks, tmp_path):
    _Weighed.file = tmp_path / "weights.pt2"
    _Weighed.file.write_bytes(b"weights")
    networks.load("Weighed", _Weighed())
    networks.load("Counted", _Counted())
    assert networks.weights_sha256 == {"Weighed": hashlib.sha256(b"weights").hexdigest(), "Counted": None}


def test_a_task_without_its_weights_is_not_there(networks, tmp_path):
    _Weighed.file = tmp_path / "gone.pt2"
    with pytest.raises(FileNotFoundError):
        networks.load("Weighed", _Weighed())
    assert not networks.tasks


def test_out_of_memory_lets_the_other_networks_go_and_tries_once_more(networks, reports):
    networks.load("Hungry", _Hungry())
    networks.load("Counted", _Counted())
    kept = networks.tasks["Counted"]
    assert networks.perform("Hungry", {"x": 2}) == {"x": 2}
    assert networks.tasks["Counted"] is not kept
    assert networks.perform("Counted", {"x": 3}) == {"x": 3}
    assert _Counted.loads == 2, "it is loaded again when it is asked for"
    assert reports == [(0.0, "loading"), (0.5, "counting")]


def test_what_does_not_fit_at_all_is_told_and_the_next_ticket_runs(networks):
    networks.load("Hungry", _Hungry())
    networks.load("Counted", _Counted())
    with pytest.raises(OutOfMemory):
        networks.perform("Hungry", {"x": 100})
    assert networks.perform("Counted", {"x": 3}) == {"x": 3}
