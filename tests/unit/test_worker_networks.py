"""Which networks are warm, what is let go for another, and what is learned; on a device of a few numbers."""

import hashlib
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from Inputs import FloatInput
from tomaat.devices.need import Need
from tomaat.messages import Expected, Measured
from tomaat.services import ExpectedMemory, Offer, Task, TaskRefused
from tomaat.services.expected_memory import NoRoom
from tomaat.worker import networks as networks_module
from tomaat.worker.networks import NOTICED_BYTES, Networks, OutOfMemory, to_let_go

GIB = 1024**3


class OutOfMemoryError(RuntimeError):
    """As torch names it."""


@dataclass
class Device:
    """A device with memory: what a live task holds is in use, whatever refers to it."""

    total_bytes: int | None
    held: dict[int, int] = field(default_factory=dict)
    peak: int = 0
    given_back: int = 0

    def take(self, holder, size):
        if self.total_bytes is not None and self.in_use_bytes() + size > self.total_bytes:
            raise OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size} bytes")
        self.held[holder] = self.held.get(holder, 0) + size
        self.peak = max(self.peak, self.in_use_bytes())

    def in_use_bytes(self):
        return sum(self.held.values())

    def free_bytes(self):
        return (100 * GIB if self.total_bytes is None else self.total_bytes) - self.in_use_bytes()

    def start_peak(self):
        self.peak = self.in_use_bytes()

    def peak_bytes(self):
        return self.peak

    def give_back(self):
        self.given_back += 1


class _Network(Task):
    """Takes ``holds`` GiB at its loading and ``works`` GiB more while it performs; ``x`` GiB on top."""

    description = "A network."
    inputs = (FloatInput("x", "X", default=0),)
    holds = works = 0.0
    loads = 0

    def load(self, device):
        self.device = device
        type(self).loads += 1
        device.take(id(self), int(self.holds * GIB))

    def perform(self, x=0):
        self.progress(0.5, "network")
        before = self.device.held[id(self)]
        self.device.take(id(self), int((self.works + x) * GIB))
        self.device.held[id(self)] = before
        return {"x": x}

    def __del__(self):
        if hasattr(self, "device"):
            self.device.held.pop(id(self), None)


def network(name, holds, works=0.0, **more):
    return type(name, (_Network,), {"task_identifier": name, "holds": holds, "works": works, "loads": 0, **more})


@pytest.fixture
def messages():
    return []


@pytest.fixture
def reports():
    return []


@pytest.fixture
def loadings():
    return []


@pytest.fixture
def make(reports, messages, loadings, monkeypatch):
    monkeypatch.setattr(networks_module, "machine_memory_bytes", {"MemAvailable": 100 * GIB}.get)

    def made(total, *classes, known=None):
        device = Device(total and int(total * GIB))
        networks = Networks(
            device,
            lambda fraction, stage: reports.append((fraction, stage)),
            memory=device,
            known=known or {},
            tell=lambda message: (messages if isinstance(message, Measured) else loadings).append(message),
        )
        for each in classes:
            networks.load(each.__name__, each())
        return networks

    return made


def known(cls, network_gib, peak_gib, *, version=None):
    offer = Offer.of(cls())
    need = Need(network_bytes=int(network_gib * GIB), peak_bytes=int(peak_gib * GIB), load_seconds=2.0)
    return {(offer.interface_hash, version or offer.version): need}


A, B, C = "A", "B", "C"


def foretelling(name, holds, works=0.0, **told):
    """A network whose task foretells ``told``, in GiB, of which ``machine`` is all that a CPU takes."""

    def expected_memory(self, inputs, *, gpu_bytes):
        told_bytes = {f"{each}_bytes": int(gib * GIB) for each, gib in told.items()}
        self.asked.append((dict(inputs), gpu_bytes))
        return ExpectedMemory(**{"machine_bytes": 0, **told_bytes})

    return network(name, holds, works, expected_memory=expected_memory, asked=[])


# Warm


def test_a_network_is_loaded_once_and_its_task_reports(make, reports):
    cls = network(A, 1)
    networks = make(8, cls)
    assert [networks.perform(A, {"x": x}) for x in (1, 2)] == [{"x": 1}, {"x": 2}]
    assert cls.loads == 1
    assert reports == [(0.5, "network")] * 2


def test_the_weights_are_hashed_also_of_a_network_that_stays_cold(make, tmp_path):
    weights = tmp_path / "weights.pt2"
    weights.write_bytes(b"weights")
    cold = network(B, 7, weights=weights)
    networks = make(8, network(A, 4), cold, known=known(cold, 7, 7))
    assert [networks.weights_sha256(name) for name in (A, B)] == [None, hashlib.sha256(b"weights").hexdigest()]
    assert list(networks.loaded) == [A]


def test_weights_that_a_task_names_in_its_loading_are_hashed_then_and_once(make, tmp_path, monkeypatch):
    def load(self, device):
        _Network.load(self, device)
        self.weights = weights

    weights = tmp_path / "weights.pt2"
    weights.write_bytes(b"weights")
    hashed = []
    hash_it = networks_module.sha256_of_weights
    monkeypatch.setattr(networks_module, "sha256_of_weights", lambda path: hashed.append(path) or hash_it(path))
    cold = network(B, 7, load=load)
    networks = make(8, network(A, 7, load=load), cold, known=known(cold, 7, 7))
    digest = hashlib.sha256(b"weights").hexdigest()
    assert [networks.weights_sha256(name) for name in (A, B)] == [digest, None]
    for service in (B, A, B):
        networks.perform(service, {})
    assert [networks.weights_sha256(name) for name in (A, B)] == [digest, digest]
    assert hashed == [weights, weights], "once for each service"


def test_weights_that_are_not_there_after_the_loading_leave_no_network_behind(make, tmp_path):
    def load(self, device):
        _Network.load(self, device)
        self.weights = tmp_path / "gone.pt2"

    networks = make(8)
    with pytest.raises(FileNotFoundError):
        networks.load(A, network(A, 3, load=load)())
    assert not networks.tasks
    assert networks.memory.in_use_bytes() == 0


def test_a_task_without_its_weights_is_not_there(make, tmp_path):
    networks = make(8)
    with pytest.raises(FileNotFoundError):
        networks.load(A, network(A, 1, weights=tmp_path / "gone.pt2")())
    assert not networks.tasks


def test_a_network_that_does_not_fit_alone_is_not_there_and_leaves_nothing_behind(make):
    networks = make(8, network(A, 4))
    with pytest.raises(OutOfMemoryError):
        networks.load(B, network(B, 9)())
    assert list(networks.tasks) == [A]
    assert networks.memory.in_use_bytes() == 0, "A was let go for it, and is loaded again when it is asked for"
    assert networks.perform(A, {})


def test_where_not_all_fit_at_the_start_the_later_ones_are_loaded_and_all_are_there(make):
    networks = make(8, network(A, 4), network(B, 3), network(C, 3))
    assert set(networks.tasks) == {A, B, C}
    assert list(networks.loaded) == [C]
    for service in (A, B, C):
        assert networks.perform(service, {})


def test_what_is_known_not_to_fit_beside_the_earlier_ones_stays_cold(make):
    c = network(C, 3, works=2)
    networks = make(8, network(A, 4), c, known=known(c, 3, 5))
    assert list(networks.loaded) == [A]
    assert c.loads == 0


def test_weights_larger_than_what_is_free_are_not_tried_at_the_start(make, tmp_path, monkeypatch):
    weights = tmp_path / "large.pt2"
    with weights.open("wb") as file:
        file.truncate(5 * GIB)  # a hole, not 5 GiB
    a, b = network(A, 4), network(B, 5)
    networks = make(8, a)
    b.weights = weights
    monkeypatch.setattr(networks_module, "sha256_of_weights", lambda _path: "not of 5 GiB")
    networks.load(B, b())
    assert (list(networks.loaded), b.loads) == ([A], 0)
    assert networks.perform(B, {})
    assert list(networks.loaded) == [B]


def test_a_new_version_that_runs_out_of_memory_leaves_no_half_of_itself_beside_the_next_try(make):
    def load(self, device):
        self.device = device
        device.take(id(self), int(2.5 * GIB))
        device.take(id(self), int(2.5 * GIB))

    networks = make(8, network(A, 2), network(B, 2))
    fresh = networks.load_beside(network(B, 5, load=load), "B.py")
    assert networks.memory.in_use_bytes() == 7 * GIB, "the former version's, which still serves, and the new one's"
    networks.take_fresh(fresh)
    assert networks.memory.in_use_bytes() == 5 * GIB
    assert networks.perform(B, {})
    assert networks.perform(A, {})


# Letting go


def test_the_least_recently_used_network_goes_first(make):
    networks = make(8, network(A, 3), network(B, 3))
    networks.perform(A, {})
    c = network(C, 3)
    networks.known = known(c, 3, 3)
    networks.load(C, c())
    networks.perform(C, {})
    assert list(networks.loaded) == [A, C], "A was used after B"
    assert networks.memory.in_use_bytes() == 6 * GIB, "B's task is gone, and a new one without a network is there"
    assert networks.perform(B, {})


def test_room_is_made_for_the_ticket_and_not_only_for_the_network(make):
    a, b = network(A, 3), network(B, 2, works=4)
    networks = make(8, a, b, known=known(b, 2, 6))
    assert b.loads == 0
    networks.perform(B, {})
    assert list(networks.loaded) == [B]
    networks.perform(A, {})
    assert list(networks.loaded) == [B, A], "both networks fit while B does not work"
    networks.perform(B, {})
    assert list(networks.loaded) == [B]
    assert a.loads == 2


def test_nothing_is_let_go_where_all_fit(make):
    networks = make(8, network(A, 2, works=1), network(B, 2, works=1))
    for service in (A, B, A, B):
        networks.perform(service, {})
    assert networks.memory.given_back == 0
    assert networks.tasks[A].loads == networks.tasks[B].loads == 1


def test_a_small_network_stays_where_a_larger_one_suffices_and_it_does_not():
    sizes = {"small": 1, "large": 9, "new": 9}
    assert to_let_go(sizes, 8) == ["large"]
    assert to_let_go(sizes, 10) == ["small", "large"]
    assert to_let_go(sizes, 1) == ["small"]
    assert to_let_go({"nothing": 0, "some": 2}, 5) == ["some"]


@given(st.lists(st.integers(0, 20), max_size=8), st.integers(1, 60))
def test_what_is_let_go_suffices_if_anything_does_and_none_of_it_for_nothing(sizes, short):
    named = {str(number): size for number, size in enumerate(sizes)}
    chosen = to_let_go(named, short)
    freed = sum(named[name] for name in chosen)
    assert freed >= min(short, sum(sizes))
    if freed >= short:
        assert all(freed - named[name] < short for name in chosen)
    assert all(named[name] for name in chosen)


def test_memory_that_does_not_come_back_makes_further_networks_go(make):
    d = network("D", 4)
    networks = make(8, network(A, 2), network(B, 2), network(C, 2), known=known(d, 4, 4))
    leaked = networks.tasks[A]
    networks.load("D", d())
    networks.perform("D", {})
    assert leaked.device.held[id(leaked)] == 2 * GIB
    assert list(networks.loaded) == [C, "D"], "A would have sufficed"


# Out of memory all the same


def test_out_of_memory_asks_others_to_make_way_before_the_ticket_is_tried_again(make):
    networks = make(8, network(A, 3), network(B, 3, works=2))
    asked = []
    networks.make_way = lambda: asked.append(list(networks.loaded))
    networks.perform(A, {})
    assert asked == []
    networks.perform(B, {"x": 1})
    assert asked == [[A, B]]


def test_out_of_memory_lets_the_other_networks_go_and_tries_once_more(make, reports):
    a, b = network(A, 3), network(B, 3, works=2)
    networks = make(8, a, b)
    networks.perform(B, {"x": 1})
    assert networks.perform(B, {"x": 2}) == {"x": 2}
    assert list(networks.loaded) == [B]
    reports.clear()
    assert networks.perform(A, {})
    assert a.loads == 2, "it is loaded again when it is asked for"
    assert reports == [(0.0, "loading"), (0.5, "network")]


def test_a_network_that_is_loaded_for_a_ticket_may_need_the_whole_device(make):
    a, b = network(A, 3), network(B, 7)
    networks = make(8, a, b)
    networks.perform(A, {})
    networks.needs.pop(B)
    assert networks.perform(B, {})
    assert list(networks.loaded) == [B]


def test_what_does_not_fit_at_all_is_told_and_the_next_ticket_runs(make):
    networks = make(8, network(A, 3), network(B, 3))
    with pytest.raises(OutOfMemory) as told:
        networks.perform(A, {"x": 100})
    assert (told.value.needed_bytes, told.value.total_bytes) == (None, 8 * GIB)
    assert networks.perform(B, {"x": 3}) == {"x": 3}


def test_a_ticket_that_is_known_not_to_fit_is_not_started(make):
    b = network(B, 3)
    networks = make(8, network(A, 3), b, known=known(b, 3, 9))
    with pytest.raises(OutOfMemory) as told:
        networks.perform(B, {})
    assert (told.value.needed_bytes, told.value.total_bytes) == (9 * GIB, 8 * GIB)
    assert b.loads == 0
    assert list(networks.loaded) == [A], "nothing is let go for it"


def test_room_is_made_for_what_a_task_foretells_before_its_first_ticket(make, loadings):
    cls = foretelling(B, 1, 4, machine=3, layers=1)
    networks = make(8, network(A, 4), cls)
    networks.perform(B, {"x": 0})
    assert list(networks.loaded) == [B]
    assert cls.asked == [({"x": 0}, None)], "it is asked once; the ticket never ran out of memory"
    assert [each for each in loadings if isinstance(each, Expected)] == [Expected(service=B, peak_bytes=5 * GIB)]


def test_nothing_is_let_go_for_a_ticket_that_is_foretold_to_fit(make):
    networks = make(8, network(A, 4), foretelling(B, 1, 3, machine=2, layers=1))
    networks.perform(B, {"x": 0})
    assert list(networks.loaded) == [A, B]


@pytest.mark.parametrize(("gpu", "sure"), [(False, {"machine": 8}), (True, {"gpu": 8})])
def test_a_ticket_that_is_foretold_not_to_fit_is_refused_with_the_number_before_its_work_starts(make, gpu, sure):
    networks = make(8, foretelling(B, 1, **sure))
    networks.device.type = "cuda" if gpu else "cpu"
    networks.tasks[B].perform = None
    with pytest.raises(OutOfMemory) as refused:
        networks.perform(B, {"x": 0})
    assert (refused.value.needed_bytes, refused.value.total_bytes, refused.value.now) == (9 * GIB, 8 * GIB, False)
    assert networks.tasks[B].asked == [({"x": 0}, 8 * GIB if gpu else None)]


def test_a_guess_refuses_nothing(make):
    networks = make(8, foretelling(B, 1, 2, layers=100))
    assert networks.perform(B, {"x": 0}) == {"x": 0}


def test_a_guess_counts_later_as_far_as_it_came_true(make, loadings):
    a = network(A, 4)
    networks = make(8, a, foretelling(B, 1, 3, machine=2, layers=4))
    networks.perform(B, {"x": 0})
    assert list(networks.loaded) == [B], "room was made for all that was guessed"
    for service in (A, B):
        networks.perform(service, {"x": 0})
    assert list(networks.loaded) == [A, B], "of the 4 GiB 1 was taken, and that fits"
    assert [each.peak_bytes / GIB for each in loadings if isinstance(each, Expected)] == [7, 4]
    networks.perform(B, {"x": 1})
    assert networks.shares == {B: 0.5}, "a larger part counts at once"
    networks.perform(B, {"x": 0})
    assert networks.shares[B] == pytest.approx(0.475), "a smaller one slowly"
    networks.take_fresh(networks.load_beside(network(B, 1), "B.py"))
    assert networks.shares == {}, "a new version may take another part"


def test_what_does_not_fit_now_on_a_shared_gpu_is_told_before_it_starts_and_alone_it_is_tried(make):
    networks = make(8, foretelling(B, 1, gpu=4, layers=2))
    networks.device.type = "cuda"
    networks.device.take("another worker", 5 * GIB)
    assert networks.perform(B, {"x": 0}) == {"x": 0}
    networks.shared = True
    with pytest.raises(OutOfMemory) as refused:
        networks.perform(B, {"x": 0})
    assert (refused.value.needed_bytes, refused.value.total_bytes, refused.value.now) == (5 * GIB, 3 * GIB, True)


@pytest.mark.parametrize("gpu", [False, True])
def test_a_ticket_without_room_in_the_machines_memory_is_refused_with_the_number(make, monkeypatch, gpu):
    networks = make(None, foretelling(B, 1, machine=3))
    networks.device.type = "cuda" if gpu else "cpu"
    networks.tasks[B].perform = None
    monkeypatch.setattr(networks_module, "machine_memory_bytes", {"MemAvailable": 2 * GIB}.get)
    with pytest.raises(
        NoRoom, match=r"^The ticket needs about 3 GiB of the machine's memory, and 2 GiB are free; send"
    ):
        networks.perform(B, {"x": 0})


def test_a_ticket_without_room_in_the_machines_memory_is_tried_again_once_others_have_made_way(make, monkeypatch):
    networks = make(8, network(A, 1), foretelling(B, 1, machine=3))
    free = {"MemAvailable": 2 * GIB}
    monkeypatch.setattr(networks_module, "machine_memory_bytes", lambda name: free[name])
    networks.make_way = lambda: free.update(MemAvailable=4 * GIB)
    assert networks.perform(B, {"x": 0}) == {"x": 0}
    assert list(networks.loaded) == [A, B], "which need not go for it"


def test_the_lane_is_told_what_is_expected_only_where_enough_is_known(make, loadings):
    networks = make(8, foretelling(B, 1, 2, machine=4))
    networks.perform(B, {"x": 0})
    assert not any(isinstance(each, Expected) for each in loadings), "nobody knows what its layers take"
    networks.perform(B, {"x": 0})
    assert loadings[-1] == Expected(service=B, peak_bytes=5 * GIB), "one was measured by now"


@pytest.mark.parametrize("foretell", [lambda: 1 / 0, lambda: 7, lambda: ExpectedMemory(machine_bytes=1.5)])
def test_a_task_that_cannot_foretell_performs_all_the_same(make, foretell):
    networks = make(8, network(B, 1, expected_memory=lambda *_, **__: foretell()))
    assert networks.perform(B, {"x": 0}) == {"x": 0}


def test_half_a_network_does_not_stay(make):
    def load(self, device):
        _Network.load(self, device)
        raise OutOfMemoryError("CUDA out of memory, for the other half")

    a, b = network(A, 3), network(B, 3, load=load)
    networks = make(8, a)
    networks.tasks[B] = b()
    with pytest.raises(OutOfMemory):
        networks.perform(B, {})
    assert networks.memory.in_use_bytes() == 0
    assert networks.perform(A, {})


# Learning


def test_a_ticket_teaches_what_its_service_needs(make, messages):
    networks = make(8, network(A, 2, works=1.5))
    networks.perform(A, {"x": 1})
    need = networks.needs[A]
    assert (need.network_bytes, need.peak_bytes) == (2 * GIB, int(4.5 * GIB))
    assert messages == [
        Measured(
            service=A,
            network_bytes=2 * GIB,
            peak_bytes=int(4.5 * GIB),
            load_seconds=need.load_seconds,
            loading_seconds=0.0,
            warm=(A,),
        )
    ]


def test_a_large_ticket_counts_at_once_and_is_forgotten_slowly(make):
    networks = make(None, network(A, 2))
    peaks = []
    for x in (1, 5, 1, 1):
        networks.perform(A, {"x": x})
        peaks.append(networks.needs[A].peak_bytes / GIB)
    assert peaks == pytest.approx([3, 7, 6.6, 6.24])


def test_a_ticket_that_ended_well_fits_whatever_was_measured(make):
    networks = make(8, network(A, 2))
    networks.memory.peak_bytes = lambda: 20 * GIB
    networks.perform(A, {})
    assert networks.needs[A].peak_bytes == 8 * GIB
    assert networks.perform(A, {})


def test_a_ticket_that_was_refused_teaches_nothing(make, messages):
    def refuse(_self, x=0):
        raise TaskRefused(f"x: {x} shows no head.")

    networks = make(8, network(A, 2, perform=refuse))
    with pytest.raises(TaskRefused):
        networks.perform(A, {})
    assert networks.needs[A].peak_bytes is None
    assert not messages


def test_only_news_are_told(make, messages):
    networks = make(None, network(A, 2), network(B, 1))
    for x in (1, 1, 1 + NOTICED_BYTES / GIB / 2):
        networks.perform(A, {"x": x})
    assert len(messages) == 1
    networks.perform(A, {"x": 2})
    assert messages[-1].peak_bytes == 4 * GIB
    networks.perform(B, {})
    assert [message.service for message in messages] == [A, A, B]


def test_a_loading_is_told_with_its_seconds_and_what_is_warm_then(make, messages):
    a, b = network(A, 5), network(B, 5)
    networks = make(8, a, b)
    networks.perform(A, {})
    loading, performed = messages
    assert loading.loading_seconds > 0
    assert (loading.service, loading.warm) == (A, (A,))
    assert (performed.loading_seconds, performed.peak_bytes) == (0.0, 5 * GIB)


def test_what_was_known_counts_for_the_same_version_only(make):
    a = network(A, 2)
    assert make(8, a, known=known(a, 2, 6)).needs[A].peak_bytes == 6 * GIB
    assert make(8, a, known=known(a, 2, 6, version="0")).needs[A].peak_bytes is None


def test_the_facts_of_an_offer_name_the_place_among_the_warm(make):
    b = network(B, 5)
    networks = make(8, network(A, 5), b, network(C, 1), known=known(b, 5, 5))
    assert [networks.facts(service)["warm"] for service in (A, B, C)] == [1, None, 2]
    assert networks.facts(B)["peak_bytes"] == 5 * GIB
    assert networks.facts(A)["peak_bytes"] is None


# Warmed up


def test_a_network_is_warmed_up_before_its_first_ticket_and_not_for_one(make, loadings):
    """As part of the loading, by whose deadline it is bounded; one that was let go is warmed up by its ticket."""
    seen = []
    cls = network(A, 6, 1, warm_up=lambda task: seen.append((task.device.in_use_bytes(), list(loadings))))
    networks = make(8, cls, network(B, 6))
    ((in_use, before),) = seen
    assert in_use == 6 * GIB
    assert [type(message).__name__ for message in before] == ["Loading"]
    networks.perform(A, {})
    networks.perform(B, {})
    networks.perform(A, {})
    assert len(seen) == 1
    assert cls.loads == 3


def test_a_new_version_is_warmed_up_too(make):
    warmed_up = []
    networks = make(8, network(A, 1))
    fresh = networks.load_beside(network(A, 1, warm_up=lambda task: warmed_up.append(task.device)), "tasks.py")
    assert warmed_up == [fresh.task.device]


@pytest.mark.parametrize("error", [OutOfMemoryError("CUDA out of memory"), SystemExit(3), ValueError("no such shape")])
def test_a_network_that_cannot_be_warmed_up_serves_all_the_same(make, error):
    def fail(_task):
        raise error

    cls = network(A, 1, 1, warm_up=fail)
    networks = make(8, cls)
    assert networks.perform(A, {"x": 1}) == {"x": 1}
    assert cls.loads == 1


def test_what_warming_up_took_is_neither_the_networks_nor_the_tickets(make):
    """It is given back first: memory that a process keeps would count as the network's, and not again as a ticket's."""

    class Kept(Device):
        def give_back(self):
            self.held.pop("kept", None)

    cls = network(A, 1, 3, warm_up=lambda task: task.device.take("kept", 2 * GIB))
    networks = make(8)
    networks.device.__class__ = Kept
    networks.load(A, cls())
    assert networks.needs[A].network_bytes == GIB
    networks.perform(A, {})
    assert networks.needs[A].peak_bytes == 4 * GIB


def test_a_task_that_does_not_say_how_is_not_waited_for(make):
    networks = make(8, network(A, 1))
    assert networks.memory.given_back == 0
