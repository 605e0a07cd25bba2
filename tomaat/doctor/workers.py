"""Look at the account of the workers."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator

from tomaat.doctor.finding import Finding, ok, wrong
from tomaat.scheduling.worker_user import faults_of_account
from TOMAATSettings import Settings

ABOUT = "workers"


def look_at_workers(settings: Settings) -> Iterator[Finding]:
    """Tell as which user tasks run, and what they can see so."""
    name = settings.WORKER_USER
    if name is None:
        user = pwd.getpwuid(os.geteuid()).pw_name
        yield ok(
            ABOUT,
            f"tasks run as {user}, like the doors: they can read every ticket and the database's password; "
            "TOMAAT_WORKER_USER gives them an account of their own",
        )
        return
    faults = faults_of_account(name)
    for fault in faults:
        says, _, mend = fault.rpartition(": ")
        yield wrong(ABOUT, f"TOMAAT_WORKER_USER: {says}", mend)
    if not faults:
        yield ok(ABOUT, f"tasks run as {name}, an account of their own, and see the tickets that they get, no others")
