"""The checker: it reads the clients' journal, the workers' journal, the transition log, the files and the logs."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.Client import CANARY
from tests.chaos.Stage import Stage
from tests.service import ENDED

CLEAN = dict.fromkeys(("lost", "accepted_twice", "stale_accepted", "wrong", "leaked", "orphan_files", "stuck"), 0)
STRAYS_SECONDS = 60.0  #: within which a trial's manager has put away what has no row


@dataclass
class Verdict:
    """What went wrong, counted, with the evidence."""

    tickets: int = 0
    lost: int = 0
    accepted_twice: int = 0
    stale_accepted: int = 0
    wrong: int = 0
    leaked: int = 0
    orphan_files: int = 0
    stuck: int = 0
    evidence: list[str] = field(default_factory=list)

    @property
    def faults(self) -> dict[str, int]:
        """The counters that must be 0."""
        return {name: value for name, value in asdict(self).items() if name not in {"tickets", "evidence"}}

    def count(self, name: str, evidence: str) -> None:
        """Count one fault."""
        setattr(self, name, getattr(self, name) + 1)
        self.evidence.append(f"{name}: {evidence}")


def journal(path: Path) -> list[dict[str, Any]]:
    """Read a journal."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def check(stage: Stage, expected: dict[str, str] | None = None) -> Verdict:
    """Check all that happened on a stage whose clients have come to an end.

    ``expected`` names the state in which a ticket of this nonce has to end; else that is ``succeeded``.
    """
    verdict = Verdict()
    events: dict[str, list[dict[str, Any]]] = {}
    for event in journal(stage.control.folder / "clients"):
        events.setdefault(event["nonce"], []).append(event)
    ran = {line["run"]: line for line in journal(stage.control.folder / "workers")}
    rows = {row.id: row for row in stage.rows("SELECT id, state, claim, folder, files_removed FROM tickets")}
    ends = Counter[int]()
    completed: dict[int, int] = {}
    for move in stage.rows("SELECT ticket, before, after, claim FROM transitions ORDER BY n"):
        if move.after in ENDED and move.before not in ENDED:
            ends[move.ticket] += 1
            completed[move.ticket] = move.claim
    verdict.tickets = len(rows)
    for nonce, own in events.items():
        _check_client(verdict, own, rows, ran, completed, (expected or {}).get(nonce, "succeeded"))
    for ticket, times in ends.items():
        if times > 1:
            verdict.count("accepted_twice", f"ticket {ticket} ended {times} times")
    for row in rows.values():
        if row.state not in ENDED:
            verdict.count("stuck", f"ticket {row.id} is {row.state}")
    _check_files(verdict, stage)
    _check_leaks(verdict, stage, [event["token"] for own in events.values() for event in own if "token" in event])
    return verdict


def assert_clean(stage: Stage, expected: dict[str, str] | None = None) -> None:
    """Fail with the evidence if anything went wrong on a stage."""
    verdict = check(stage, expected)
    assert verdict.faults == CLEAN, "\n".join(verdict.evidence[:20])


def _check_client(  # noqa: PLR0917 (all that there is to compare)
    verdict: Verdict,
    events: list[dict[str, Any]],
    rows: dict[int, Any],
    ran: dict[str, dict[str, Any]],
    completed: dict[int, int],
    expected: str,
) -> None:
    by_name = {event["event"]: event for event in events}
    who = f"{events[0]['nonce'][-16:]}: {[(event['event'], round(event['at'], 1)) for event in events]}"
    if "odd answer" in by_name:
        verdict.count("wrong", f"{who}: {by_name['odd answer']}")
    if len({event["id"] for event in events if event["id"] is not None}) > 1:
        verdict.count("accepted_twice", f"{who}: one request, two tickets")
    if "accepted" not in by_name:
        verdict.count("stuck", f"{who}: never accepted")
        return
    ticket = by_name["accepted"]["id"]
    if ticket not in rows or "ended" not in by_name:
        verdict.count("lost", f"{who}: ticket {ticket}, {rows.get(ticket)}")
        return
    if by_name["ended"]["state"] != expected:
        verdict.count("lost", f"{who}: ended {by_name['ended']}")
        return
    if expected != "succeeded":
        return
    if "fetched" not in by_name or "gave up" in by_name:
        verdict.count("lost", f"{who}: {by_name.get('gave up')}")
        return
    fetched = by_name["fetched"]
    run = ran.get(fetched["got"]["run"])
    if fetched["got"]["nonce"] != events[0]["nonce"] or not fetched["etag_fits"] or run is None:
        verdict.count("wrong", f"{who}: {fetched}")
    elif run["key"] != f"{ticket}/{completed.get(ticket)}":
        verdict.count("stale_accepted", f"{who}: the result is of run {run}, the row of claim {completed.get(ticket)}")


def _check_files(verdict: Verdict, stage: Stage) -> None:
    """Find files that no row knows, after the time in which the manager has put strays away."""
    give_up = time.monotonic() + STRAYS_SECONDS
    while (strays := _strays(stage)) and time.monotonic() < give_up:
        time.sleep(0.5)
    for stray in strays:
        verdict.count("orphan_files", stray)


def _strays(stage: Stage) -> list[str]:
    rows = {
        row.folder: row
        for row in stage.rows("SELECT id, folder, claim, claim_folder, state, files_removed FROM tickets")
    }
    strays = [str(path) for name in ("incoming", "tmp") for path in (stage.storage / name).iterdir()]
    for folder in (stage.storage / "tickets").iterdir():
        row = rows.get(folder.name)
        if row is None or row.files_removed:
            strays.append(str(folder))
        elif row.state == "succeeded" and [path.name for path in (folder / "out").iterdir()] != [row.claim_folder]:
            strays.append(f"{folder}: {row}, {[path.name for path in (folder / 'out').iterdir()]}")
    kept = {folder.name for folder in (stage.storage / "tickets").iterdir()}
    strays += [f"{row.id}: no folder" for row in rows.values() if not row.files_removed and row.folder not in kept]
    return strays


def _check_leaks(verdict: Verdict, stage: Stage, tokens: list[str]) -> None:
    """Look for the patients' name and for tokens where neither may be: in logs and in the database."""
    logs = {path.name: path.read_text(errors="replace") for path in stage.folder.glob("*.log")}
    logs["postgres.log"] = stage.postgres.log_file.read_text(errors="replace")
    for table in ("tickets", "audit", "offers", "compute_sources", "api_keys"):
        logs[table] = "\n".join(row[0] for row in stage.rows(f"SELECT t::text FROM {table} t"))  # noqa: S608
    for name, text in logs.items():
        if CANARY in text:
            verdict.count("leaked", f"the patient's name is in {name}")
        for token in tokens:
            if token in text:
                verdict.count("leaked", f"a token is in {name}")
