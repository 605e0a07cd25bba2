"""What the log hears of a task's error."""

from pathlib import Path

from tomaat.refusals import WrongValue
from tomaat.worker import errors
from tomaat.worker.errors import facts_of

PATIENT = "MILLER ANNA"
HERE = f'  File "{__file__}"'


def raised(act):
    try:
        act()
    except BaseException as error:  # noqa: BLE001 (tests raise anything)
        return error
    raise AssertionError


def name_patient(depth=0):
    """As a task does."""
    if depth:
        name_patient(depth - 1)
    raise OSError(PATIENT)


def test_frames_are_lines_and_hold_no_text():
    facts = facts_of(raised(name_patient))
    assert facts["error"] == "OSError"
    assert [line for line in facts["frames"] if line.startswith("  File")][-1].endswith("in name_patient")
    assert facts["frames"][-2:] == ["    raise OSError(PATIENT)", "OSError"]
    assert not any("\n" in line for line in facts["frames"])
    assert PATIENT not in "".join(facts["frames"])
    assert facts["task_text"] == f"OSError: {PATIENT}"
    assert "told" not in facts


def test_frames_of_the_worker_before_the_tasks_are_left_out(monkeypatch):
    def call_the_task():
        exec(compile("act()", f"{errors.OURS}/worker/made_up.py", "exec"), {"act": name_patient})  # noqa: S102

    error = raised(call_the_task)
    assert any("made_up" in line for line in facts_of(error)["frames"])
    monkeypatch.setattr(errors, "OURS", Path(__file__).parent)
    assert any("made_up" in line for line in facts_of(error)["frames"]), "it was not the first of other code"
    error = error.with_traceback(error.__traceback__.tb_next.tb_next)
    monkeypatch.undo()
    assert facts_of(error)["frames"][0].startswith(HERE)


def test_where_all_frames_are_our_own_they_stay():
    from tomaat.services.outputs import write_outputs  # noqa: PLC0415 (one test's)

    error = raised(lambda: write_outputs(None, Path()))
    error = error.with_traceback(error.__traceback__.tb_next.tb_next)
    assert "outputs.py" in facts_of(error)["frames"][0]


def test_of_many_frames_the_first_and_the_last_are_told():
    frames = facts_of(raised(lambda: name_patient(500)))["frames"]
    assert len(frames) < 70
    assert any("more frames" in line for line in frames)
    assert frames[-1] == "OSError"


def test_a_cause_comes_first_and_a_long_or_broken_text_is_cut_and_cleaned():
    def wrap():
        try:
            name_patient()
        except OSError as error:
            raise RuntimeError("x" * 9000 + "\0") from error

    facts = facts_of(raised(wrap))
    assert [line for line in facts["frames"] if not line.startswith(" ")] == ["OSError", "RuntimeError"]
    assert facts["task_text"].startswith(f"OSError: {PATIENT}\nRuntimeError: xxx")
    assert len(facts["task_text"]) == errors.LONGEST_TEXT
    assert facts_of(ValueError("a\0b\nc"))["task_text"] == "ValueError: a\ufffdb\nc"


def test_causes_that_never_end_do():
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    assert facts_of(one)["frames"] == ["ValueError", "ValueError"]


def test_an_error_without_a_text_is_told():
    class Mute(Exception):
        def __str__(self):
            raise KeyError

    assert facts_of(Mute())["task_text"] == "Mute: its text cannot be made"


def test_our_own_sentence_is_told_without_the_tasks_values():
    facts = facts_of(WrongValue("the output name {!r} is none", PATIENT))
    assert facts["told"] == "the output name … is none"
    assert facts["task_text"] == f"WrongValue: the output name {PATIENT!r} is none"
