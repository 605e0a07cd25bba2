"""What of a task's prints reaches the log."""

import errno
import os
import sys
from threading import Event
from unittest.mock import Mock

import pytest
import structlog

from tomaat.scheduling.worker_output import MOST_BYTES, WorkerOutput


@pytest.fixture
def passed(capsys):
    """Let tasks print, each for a ticket; give what reached the log, and what was logged."""

    def run(*steps):
        output = WorkerOutput()
        output.give_up()
        with structlog.testing.capture_logs() as lines:
            for ticket, printed in steps:
                if ticket is not None:
                    output.begin(ticket)
                for start in range(0, len(printed), 1000):
                    output.take(printed[start : start + 1000])
        return capsys.readouterr().err, [(line["event"], line["ticket"]) for line in lines]

    return run


def test_the_pipe_is_emptied_until_nobody_holds_it_any_more(capsys):
    output = WorkerOutput()
    end = os.dup(output.pipe_in)
    output.start()
    with os.fdopen(end, "wb") as pipe:
        pipe.write(b"a" * 10 * MOST_BYTES)
    output.thread.join(60)
    assert not output.thread.is_alive()
    assert capsys.readouterr().err.count("a") == MOST_BYTES


def test_a_ticket_that_is_told_twice_to_begin_may_print_no_more(passed):
    printed, _ = passed((7, b"a" * MOST_BYTES), (7, b"b"), (8, b"c"))
    assert (printed.count("a"), printed.count("b"), printed.count("c")) == (MOST_BYTES, 0, 1)


def test_a_log_without_room_costs_no_task_its_prints(monkeypatch):
    def write(text):
        written.append(text)
        if len(written) == 1:
            refused.set()
            raise OSError(errno.ENOSPC, "No space left on device")

    written, refused = [], Event()
    monkeypatch.setattr(sys, "stderr", Mock(write=write))
    output = WorkerOutput()
    with os.fdopen(os.dup(output.pipe_in), "wb", buffering=0) as pipe:
        output.start()
        pipe.write(b"lost")
        assert refused.wait(60)
        pipe.write(b"there is room")
    output.thread.join(60)
    assert not output.thread.is_alive()
    assert written == ["lost", "there is room"]


def test_what_is_printed_arrives_also_before_the_first_ticket(passed):
    assert passed((None, b"loaded\n"), (1, "für 1\n".encode())) == ("loaded\nfür 1\n", [])


def test_each_ticket_has_its_bytes_and_a_line_says_that_more_was_printed(passed):
    text, events = passed((1, b"a" * 3 * MOST_BYTES), (2, b"b" * 10), (3, b"c" * (MOST_BYTES + 1)))
    assert [text.count(letter) for letter in "abc"] == [MOST_BYTES, 10, MOST_BYTES]
    assert events == [("worker.output_cut", 1), ("worker.output_cut", 3)]


def test_exactly_as_much_as_is_allowed_is_not_cut(passed):
    text, events = passed((1, b"a" * MOST_BYTES))
    assert (len(text), events) == (MOST_BYTES, [])


def test_characters_that_a_terminal_would_obey_are_replaced(passed):
    assert passed((1, b"\x1b[2Jgone\x00\xff\n"))[0] == "\ufffd[2Jgone\ufffd\ufffd\n"


def test_a_worker_that_was_not_started_leaves_no_pipe():
    output = WorkerOutput()
    output.give_up()
    for end in (output.pipe_in, output.pipe_out):
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(end)
