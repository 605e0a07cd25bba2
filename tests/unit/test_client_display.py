import io

import pytest

from tomaat.client import Step
from tomaat.client.display import Display

UPLOADING = [Step("uploading", part / 10, f"{part} of 10 MB") for part in range(11)]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Each look at the clock finds it a second later."""
    seconds = iter(range(1000))
    monkeypatch.setattr("tomaat.client.display.time.monotonic", lambda: next(seconds))


@pytest.mark.usefixtures("clock")
def test_a_terminal_shows_one_line_that_is_drawn_again():
    stream = Terminal()
    display = Display(stream)
    for step in UPLOADING:
        display.show("", step)
    display.clear()
    drawn = stream.getvalue().split("\r\x1b[K")
    assert drawn[1] == "uploading [------------------------]   0 %  0 of 10 MB"
    assert drawn[6] == "uploading [############------------]  50 %  5 of 10 MB"
    assert drawn[-1] == ""
    assert "\n" not in stream.getvalue()


def test_a_terminal_is_not_drawn_more_often_than_eyes_see():
    stream = Terminal()
    display = Display(stream)
    for _ in range(1000):
        display.show("", UPLOADING[3])
    assert stream.getvalue().count("\r") < 100


def test_a_line_fits_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    stream = Terminal()
    Display(stream).show("case: ", UPLOADING[5])
    assert stream.getvalue() == "\r\x1b[Kcase: uploading [##"


@pytest.mark.usefixtures("clock")
def test_elsewhere_a_line_is_written_now_and_then():
    stream = io.StringIO()
    display = Display(stream)
    for step in [*UPLOADING, Step("waiting", None, "next")]:
        display.show("", step)
    assert [line.split()[0] for line in stream.getvalue().splitlines()] == ["uploading", "uploading", "waiting"]
    assert "\x1b" not in stream.getvalue()


def test_a_note_stays_above_the_line():
    stream = Terminal()
    display = Display(stream)
    display.show("", UPLOADING[0])
    display.note("The server is busy.")
    assert stream.getvalue().endswith("\r\x1b[KThe server is busy.\n")


def test_quiet_means_nothing():
    stream = Terminal()
    display = Display(stream, quiet=True)
    display.show("", UPLOADING[0])
    display.note("The server is busy.")
    display.clear()
    assert stream.getvalue() == ""


def test_what_others_wrote_does_not_steer_the_terminal():
    stream = Terminal()
    Display(stream).show("", Step("running", None, "net\x1b]0;work\x07"))
    assert stream.getvalue().count("\x1b") == 1
