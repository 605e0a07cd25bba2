"""Tell the log what went wrong in a task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tomaat.messages.fields import cleaned
from tomaat.processes.log import errors_of, frames_of, text_of
from tomaat.refusals import TaskFault

OURS = Path(__file__).resolve().parents[1]  #: the worker's own code, which called the task's
LONGEST_TEXT = 4000  #: characters of the texts of an error and its causes


def facts_of(error: BaseException) -> dict[str, Any]:
    """Give a log line the error's type, the task's frames, and our own sentence, if it is one of ours.

    ``task_text`` has the error's text, which may name a patient: the log drops it unless the operator wants it.
    """
    texts = "\n".join(f"{type(each).__name__}: {text_of(each)}" for each in errors_of(error))
    own = {"told": error.told} if isinstance(error, TaskFault) else {}
    return {
        "error": type(error).__name__,
        **own,
        "frames": frames_of(error, of_callers=OURS),
        "task_text": cleaned(texts, LONGEST_TEXT, lines=True),
    }
