"""Find faults in how the service is set up, and name their remedies: ``python3 -m tomaat.doctor``.

It changes nothing. Exit status 1 where there is a problem; warnings are none.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tomaat.doctor.finding import OK, PROBLEM, WARNING, Finding, wrong
from tomaat.doctor.packages import look_at_packages, look_at_python
from tomaat.processes.private import keep_private

CODE = Path(__file__).resolve().parents[2]  # TOMAATSettings imports packages that may be missing
SAYS = "This program only looks: it changes nothing.\n"


def main(arguments: Sequence[str] | None = None, *, instead_of_database: Finding | None = None) -> int:
    """Look at everything, print the findings, and return the exit status.

    ``instead_of_database`` is printed where there is no database to look at.
    """
    parser = argparse.ArgumentParser(prog="python3 -m tomaat.doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="for programs: all findings as one JSON object")
    as_json = parser.parse_args(arguments).json
    findings = []
    if not as_json:
        print(SAYS)
    for finding in examine(instead_of_database):
        findings.append(finding)
        if not as_json:
            print(described(finding), flush=True)
    counts = {level: sum(finding.level == level for finding in findings) for level in (OK, WARNING, PROBLEM)}
    if as_json:
        print(json.dumps({"findings": [dataclasses.asdict(finding) for finding in findings], **counts}, indent=2))
    else:
        print(f"\nproblems: {counts[PROBLEM]}, warnings: {counts[WARNING]}, ok: {counts[OK]}")
    return 1 if counts[PROBLEM] else 0


def described(finding: Finding) -> str:
    """Write a finding for a person: a line, and the remedy below it."""
    line = f"{finding.level:8} {finding.about}: {finding.says}"
    return line if finding.mend is None else f"{line}\n{'':9}-> {finding.mend}"


def examine(instead_of_database: Finding | None) -> Iterator[Finding]:
    """Look at one thing after the other. A look that fails is told, and the others go on."""
    yield from look_at_python()
    yield from look_at_packages(CODE / "requirements.txt", needed=True)
    yield from look_at_packages(CODE / "requirements-networks.txt", needed=False)
    try:
        from tomaat.doctor import database, devices, kernel, port, settings, storage, tasks, workers  # noqa: PLC0415 (need
        from TOMAATSettings import look_at_settings  # noqa: PLC0415 (the packages that may be missing)
    except ImportError as error:
        yield wrong("packages", f"the rest cannot be looked at: {error}", "pip install -r requirements.txt")
        return
    yield from kernel.look_at_kernel()
    chosen, faults = look_at_settings()
    keep_private()  # the tasks are imported by processes of this user
    yield from settings.look_at_faults(faults)
    if chosen is None:
        return
    parts: list[tuple[str, Iterable[Finding]]] = [
        ("time-outs", settings.look_at_times(chosen)),
        ("storage", storage.look_at_storage(chosen.BASE_STORAGE_DIR, chosen.LARGEST_UNPACKED_BYTES)),
        ("database", [instead_of_database] if instead_of_database else database.look_at_database(chosen)),
        ("port", port.look_at_port(chosen.HOST, chosen.PORT)),
        ("tasks", tasks.look_at_tasks(chosen)),
        ("workers", workers.look_at_workers(chosen)),
        ("environments", workers.look_at_environments(chosen)),
        ("devices", devices.look_at_devices(chosen)),
    ]
    for about, part in parts:
        yield from _all_of(about, part)


def _all_of(about: str, part: Iterable[Finding]) -> Iterator[Finding]:
    """Pass findings on; a look that fails is a finding, too."""
    try:
        yield from part
    except Exception as error:  # noqa: BLE001 (whatever is broken here must not hide what is broken there)
        says = f"it could not be looked at ({type(error).__name__})"
        yield wrong(about, says, "run as the doors' user; if that is so, report it")


if __name__ == "__main__":
    sys.exit(main())
