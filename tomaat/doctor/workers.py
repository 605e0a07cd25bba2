"""Look at the account of the workers, and at the environments that run them."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterator

from tomaat.contents.network_folder import is_network_folder
from tomaat.doctor.finding import Finding, ok, wrong
from tomaat.scheduling.local_engine import scrubbed
from tomaat.scheduling.worker_user import faults_of_account
from TOMAATSettings import HOME, Settings

ABOUT = "workers"
ENVIRONMENTS = "environments"
START = "import tomaat.worker.__main__, torch, SimpleITK; print(torch.__version__)"  #: all that a worker begins with
START_SECONDS = 120.0


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


def look_at_environments(settings: Settings) -> Iterator[Finding]:
    """Tell whether a worker could start in each virtual environment that services of network folders name."""
    for name in settings.ENVIRONMENTS:
        if not is_network_folder(settings.CUSTOM_TASKS_DIR / name):
            says = f"TOMAAT_ENVIRONMENTS names {name}, which is no network folder in {settings.CUSTOM_TASKS_DIR}"
            yield wrong(ENVIRONMENTS, says, "name folders that are there; a written task has no environment of its own")
    for python in dict.fromkeys(settings.ENVIRONMENTS.values()):
        command = [python, "-B", "-c", START]
        try:
            tried = subprocess.run(
                command, cwd=HOME, env=scrubbed(os.environ), capture_output=True, timeout=START_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            says = f"{python} cannot be run: {error}"
            yield wrong(ENVIRONMENTS, says, "set TOMAAT_ENVIRONMENTS to the bin/python of a virtual environment")
            continue
        if tried.returncode == 0:
            yield ok(ENVIRONMENTS, f"{python}, with torch {tried.stdout.decode().strip()}")
            continue
        last = (tried.stderr.decode(errors="replace").strip().splitlines() or [f"status {tried.returncode}"])[-1]
        mend = f"{python} -m pip install -r requirements.txt, and the server itself where it was installed by pip"
        yield wrong(ENVIRONMENTS, f"{python}: {last}", mend)
