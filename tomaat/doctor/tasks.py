"""Look at the tasks, as a worker would find them."""

from __future__ import annotations

import os
from collections.abc import Iterator

from tomaat.doctor.finding import Finding, ok, wrong
from tomaat.doctor.programs import NoAnswer, ask
from tomaat.scheduling.local_engine import scrubbed
from TOMAATSettings import Settings

ABOUT = "tasks"


def look_at_tasks(settings: Settings) -> Iterator[Finding]:
    """Tell which services the tasks offer, and why a file offers none."""
    folder = settings.CUSTOM_TASKS_DIR
    if not folder.is_dir():
        yield wrong(ABOUT, f"{folder} is no folder", "set TOMAAT_CUSTOM_TASKS_DIR to the one with the tasks")
        return
    try:
        found = ask("tomaat.doctor.look_into_tasks", str(folder), environment=scrubbed(os.environ))
    except NoAnswer as error:
        yield wrong(
            ABOUT, f"the program that imports them {error}", "try them one by one: python3 -m tomaat.services try"
        )
        return
    for trouble in found["problems"]:
        yield wrong(ABOUT, trouble, "mend the file, or take it out of the folder; the others serve without it")
    if found["services"]:
        yield ok(ABOUT, ", ".join(found["services"]))
    for source, services in (settings.COMPUTE_SOURCES or {}).items():
        for missing in sorted(set(services or ()) - set(found["services"])):
            says = f"TOMAAT_COMPUTE_SOURCES names {missing} for {source}, and no task has this identifier"
            yield wrong(ABOUT, says, f"the identifiers are {', '.join(found['services']) or 'none'}")
