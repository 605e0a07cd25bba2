"""What every log line keeps to."""

import ast
import errno
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import structlog

from tomaat.processes.log import configure_logging

REPOSITORY = Path(__file__).resolve().parents[2]
LEVELS = {"debug", "info", "warning", "error"}


def log_calls():
    """Each call of a logger with the place where it stands, the events that it may log, and its facts."""
    for path in sorted((REPOSITORY / "tomaat").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in LEVELS
                and ast.unparse(node.func.value) in {"log", "self.log"}
            ):
                events = {each.value for each in ast.walk(node.args[0]) if isinstance(each, ast.Constant)}
                place = f"{path.relative_to(REPOSITORY)}:{node.lineno}"
                yield place, events, {keyword.arg for keyword in node.keywords}


def test_each_line_about_a_ticket_names_it():
    about_tickets = [call for call in log_calls() if any(str(event).startswith("ticket.") for event in call[1])]
    assert len(about_tickets) > 15
    for place, events, facts in about_tickets:
        assert "ticket" in facts, f"{place}: {events}"


def test_no_line_speaks_of_many_tickets_at_once():
    for place, events, facts in log_calls():
        assert "tickets" not in facts, f"{place}: {events}"


@pytest.fixture
def written():
    """Log one crash of a task in a format, and give what was written."""

    def write(log_format, **options):
        stream = io.StringIO()
        configure_logging("worker", log_format, stream=stream, **options)
        frames = ['  File "Task.py", line 3, in perform', "    raise OSError(name)", "OSError"]
        structlog.get_logger().error("task.crashed", frames=frames, task_text="OSError: MILLER\nANNA")
        return stream.getvalue()

    yield write
    structlog.reset_defaults()


def test_frames_are_lines_of_their_own(written):
    first, *others = written("text").splitlines()
    assert "task.crashed" in first
    assert others == ['  File "Task.py", line 3, in perform', "    raise OSError(name)", "OSError"]
    assert len(json.loads(written("json"))["frames"]) == 3


def test_a_line_has_the_number_of_a_process_where_there_are_several(written):
    assert json.loads(written("json", process=2))["process"] == 2
    assert "process" not in json.loads(written("json"))


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_tasks_text_is_written_only_where_the_operator_wants_it(written, log_format):
    assert "MILLER" not in written(log_format)
    assert "MILLER" in written(log_format, task_texts=True)


LEVELS_OF = """
import structlog
from tomaat.processes.log import configure_logging
configure_logging("here", "json", {level!r})
for level in ("debug", "info", "warning", "error"):
    getattr(structlog.get_logger(), level)("event.seen", number=1)
"""


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_a_line_below_the_level_is_not_written(level):
    program = [sys.executable, "-c", LEVELS_OF.format(level=level)]
    written = subprocess.run(program, cwd=REPOSITORY, capture_output=True, text=True, check=True).stderr
    seen = [json.loads(line)["level"] for line in written.splitlines()]
    ordered = ["debug", "info", "warning", "error"]
    assert seen == ordered[ordered.index(level) :]


class FullAtTimes(io.StringIO):
    """A stream on a disk that is full for a while; what it did not take is lost."""

    full = False

    def write(self, text):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)

    def flush(self):
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_line_that_cannot_be_written_is_lost_whole_and_the_next_ones_are_written():
    stream = FullAtTimes()
    configure_logging("here", "json", stream=stream)
    try:
        for number, stream.full in enumerate((False, True, True, False)):
            structlog.get_logger().info("event.seen", number=number)
    finally:
        structlog.reset_defaults()
    assert [json.loads(line)["number"] for line in stream.getvalue().splitlines()] == [0, 3]


THREAD_THAT_LOGS = """
import sys, threading
import structlog
from tomaat.processes.log import configure_logging

def work():
    for number in range(2000):
        structlog.get_logger().info("event.seen", number=number)
    print("worked")

configure_logging("here", {log_format!r})
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_full_disk_under_the_log_ends_no_thread(log_format):
    program = [sys.executable, "-c", THREAD_THAT_LOGS.format(log_format=log_format)]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(program, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=full, text=True, check=False)
    assert ended.stdout == "worked\n"
