"""Where a service cannot fit, and that no single figure makes a source unusable."""

import pytest

from tomaat.devices.need import Need
from tomaat.manager.fitting import fitting, misfits, needed_bytes, unfit
from tomaat.tickets.queue import Misfit, Queue

A = ("A", "A-1")


def queue(name, memory, peak=None, *, network=1, offers=(A,), on_cpu=False, measured=True):
    needs = {"A": Need(network_bytes=network, peak_bytes=peak, load_seconds=1.0)} if measured else {}
    return Queue(
        source=name,
        offers=frozenset(offers),
        waiting=(),
        durations={},
        needs=needs,
        memory_bytes=memory,
        on_cpu=on_cpu,
    )


def offering(queues):
    return [each.source for each in fitting(queues) if A in each.offers]


def test_a_source_that_is_smaller_than_what_was_measured_on_it_is_left_out():
    assert offering([queue("small", 10, 12), queue("exact", 12, 12), queue("large", 20, 12)]) == ["exact", "large"]


def test_what_others_have_measured_counts_where_nothing_was_measured_yet():
    made = [queue("small", 10), queue("new", 15, measured=False), queue("a", 20, 12), queue("b", 20, 16)]
    assert needed_bytes(A, made[0], made) == 12, "the least of them"
    assert offering(made) == ["new", "a", "b"]


def test_what_was_measured_there_counts_more_than_elsewhere():
    assert offering([queue("small", 10, 9), queue("large", 20, 18)]) == ["small", "large"]
    assert offering([queue("made smaller", 10, 12), queue("other", 20, 9)]) == ["other"]


@pytest.mark.parametrize(
    "other",
    [
        queue("other", 20, 12, on_cpu=True),
        queue("other", 20, 12, offers=(("A", "A-2"),)),
        queue("other", 20, None, network=12),
        queue("other", 20, measured=False),
    ],
    ids=["another kind", "another interface", "no ticket yet", "nothing"],
)
def test_figures_of_something_else_count_for_nothing(other):
    assert "small" in offering([queue("small", 10), other])


def test_memory_that_nobody_knows_fits_all():
    assert offering([queue("cpu", None, 10**15, on_cpu=True)]) == ["cpu"]


def test_what_is_too_small_for_what_is_named_and_what_fits_nowhere():
    made = [queue("a", 10, 12), queue("b", 11, 13), queue("c", 5, measured=False, offers=(("B", "B-1"),))]
    assert unfit(made) == [("a", "A-1"), ("b", "A-1")]
    assert misfits(made) == [Misfit(service="A", interface_hash="A-1", needed_bytes=12, largest_bytes=11)]
    assert misfits([*made, queue("d", 20, 12)]) == []
