"""How a ticket ends by what its worker told, and by its worker's death."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from tomaat.messages import Outgrown, TaskCrashed, TaskStopped, TicketRefused
from tomaat.scheduling.ends import Cancel, Fail, Outgrow, PutBack, SpendAttempt
from tomaat.scheduling.running_tickets import RunningTicket, Stage
from tomaat.scheduling.verdicts import end_of_worker, end_told
from tomaat.tickets.problems import worker_died

TICKET = SimpleNamespace(id=42, claim=1, service="Liver", attempts=1)
SOURCE = SimpleNamespace(name="here/GPU-1", memory_bytes=24 * 10**9)
KEY = "42/1"


def test_a_clients_sentences_are_those_that_clients_have_always_read():
    assert end_told(TicketRefused(key=KEY, detail="scan: no liver was found."), TICKET, SOURCE) == Fail(
        problem={
            "type": "/problems/refused",
            "title": "The inputs were refused",
            "status": 409,
            "detail": "scan: no liver was found.",
        },
        reason="refused",
    )
    fault = {"input": "scan", "code": "size", "detail": "scan: too large."}
    refusal = end_told(TicketRefused(key=KEY, detail=fault["detail"], errors=(fault,)), TICKET, SOURCE)
    assert refusal.problem["errors"] == [fault]
    crash = end_told(TaskCrashed(key=KEY, error="OSError", reference="0a1b2c3d"), TICKET, SOURCE)
    assert crash == Fail(
        problem={
            "type": "/problems/task-crashed",
            "title": "The task crashed",
            "status": 409,
            "detail": "The task stopped with an error of its own (OSError); the server's log has it as 0a1b2c3d.",
        },
        reason="crashed",
    )


@pytest.mark.parametrize(
    ("needed", "now", "sentence"),
    [
        (
            None,
            False,
            "Liver: this ticket needs more memory than here/GPU-1 has (8.0 GB), also with nothing else in it.",
        ),
        (9 * 10**9, False, "Liver: a ticket needs 9.0 GB of memory; here/GPU-1 has (8.0 GB)."),
        (9 * 10**9, True, "Liver: a ticket needs 9.0 GB of memory; 8.0 GB are free of here/GPU-1's."),
    ],
)
def test_a_ticket_that_outgrew_its_source_waits_for_more_than_the_source_has(needed, now, sentence):
    end = end_told(Outgrown(key=KEY, needed_bytes=needed, total_bytes=8 * 10**9, now=now), TICKET, SOURCE)
    assert isinstance(end, Outgrow)
    assert (end.memory_bytes, end.problem["detail"]) == (24 * 10**9, sentence)


def test_a_ticket_that_was_given_up_is_cancelled():
    assert end_told(TaskStopped(key=KEY), TICKET, SOURCE) == Cancel()


def test_one_alone_in_a_worker_that_died_spends_an_attempt_and_two_do_not():
    assert end_of_worker("was killed", TICKET, blamed=True) == SpendAttempt(problem=worker_died("was killed", 2))
    assert end_of_worker("was killed", TICKET, blamed=False) == PutBack()


def test_a_tickets_stage_tells_who_has_it():
    run = RunningTicket(TICKET, Path("/out/1"))
    seen = []
    for stage in Stage:
        run.stage = stage
        seen.append((stage.name, run.holds_device, run.in_worker))
    assert seen == [
        ("READING", True, True),
        ("PERFORMING", True, True),
        ("PACKING", False, True),
        ("SEALING", False, False),
        ("ENDING", False, False),
    ]
