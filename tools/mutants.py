"""Remove each guard in turn and run the tests that should notice: ``make mutants``.

A mutant is one change of the source. It lives when all of its tests still pass: then the guard is not tested. Works in
a copy of the repository; prints a table, and writes it to ``docs/mutants.md`` once all were tried.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
REPORT = REPOSITORY / "docs/mutants.md"
HEAD = """# Mutants

Each guard removed in turn, and the first test that failed: {noticed} of {all} were noticed. Written by `make mutants`.

"""
STORES = ("tests/integration/test_tickets_stores.py", "tests/integration/test_tickets_model.py")
ACCESS = ("tests/integration/test_tickets_access.py", "tests/unit/test_web_Access.py")
ARCHIVES = ("tests/unit/test_archives_unpack.py",)
VOLUMES = ("tests/integration/test_volumes_reader.py",)
INNER_EAR = ("tests/unit/test_CustomTasks_InnerEarSegmentation.py",)
WEB = ("tests/unit/test_web_Api.py",)
STORAGE = ("tests/unit/test_tickets_Storage.py",)


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """One guard removed: ``old`` becomes ``new``, once, in ``file``; ``tests`` should notice."""

    guard: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


def _m(guard: str, file: str, old: str, new: str, tests: tuple[str, ...]) -> Mutant:
    return Mutant(guard=guard, file=f"tomaat/{file}", old=old, new=new, tests=tests)


LANE, MANAGER, SOURCE, TICKET = (f"tickets/{name}Store.py" for name in ("Lane", "Manager", "Source", "Ticket"))
MUTANTS = (
    _m("an end names its claim", LANE, "'running' AND claim = :claim AND", "'running' AND", STORES),
    _m("only a running ticket ends", LANE, "id = :id AND state = 'running' AND", "id = :id AND", STORES),
    _m(
        "a claim repeats state and queue in its outer WHERE",
        LANE,
        "AND state = 'queued' AND source = :source\n                  AND EXISTS",
        "AND EXISTS",
        STORES,
    ),
    _m(
        "a claim needs an unexpired lease",
        LANE,
        "AND expires > clock_timestamp())\n                RETURNING",
        ")\n                RETURNING",
        STORES,
    ),
    _m(
        "a claim needs the present epoch",
        LANE,
        "holder = :holder AND epoch = :epoch\n                                AND expires",
        "holder = :holder\n                                AND expires",
        STORES,
    ),
    _m("a claim takes the oldest", LANE, "ORDER BY queue_order LIMIT 1)", "ORDER BY queue_order DESC LIMIT 1)", STORES),
    _m(
        "a claim takes its own interface only",
        LANE,
        "AND interface_hash = ANY(:hashes) ORDER",
        "AND (interface_hash = ANY(:hashes) OR true) ORDER",
        STORES,
    ),
    _m("the claim number grows", LANE, "claim = claim + 1", "claim = claim", STORES),
    _m(
        "a ticket put back keeps its claim number",
        LANE,
        'epoch = NULL, progress = NULL, stage = NULL""",\n            ticket,\n        )\n        self.hint(SUBMITTED_HINT)\n        return bool',
        'epoch = NULL, progress = NULL, stage = NULL, claim = 0""",\n            ticket,\n        )\n        self.hint(SUBMITTED_HINT)\n        return bool',
        STORES,
    ),
    _m("a dead worker spends an attempt", LANE, "SET attempts = attempts + 1", "SET attempts = attempts", STORES),
    _m(
        "a ticket given up is not run again",
        LANE,
        "state = CASE WHEN cancel_requested THEN 'cancelled'\n                              WHEN attempts",
        "state = CASE WHEN false THEN 'cancelled'\n                              WHEN attempts",
        STORES,
    ),
    _m(
        "a completion of unknown outcome may be repeated",
        LANE,
        'return bool(rows) or self._ended_as(ticket, "succeeded")',
        "return bool(rows)",
        STORES,
    ),
    _m(
        "nobody is dead while the manager is young",
        MANAGER,
        "l.epoch = t.epoch\n                   AND (l.expires > clock_timestamp() OR NOT :settled\n",
        "l.epoch = t.epoch\n                   AND (l.expires > clock_timestamp() OR false AND :settled\n",
        STORES,
    ),
    _m(
        "nobody is dead while PostgreSQL is young",
        MANAGER,
        "l.epoch = t.epoch\n                   AND (l.expires > clock_timestamp() OR NOT :settled\n                        OR clock_timestamp() < pg_postmaster_start_time() +",
        "l.epoch = t.epoch\n                   AND (l.expires > clock_timestamp() OR NOT :settled\n                        OR clock_timestamp() < pg_postmaster_start_time() - 2 *",
        STORES,
    ),
    _m(
        "a holder of another epoch lost its tickets",
        MANAGER,
        "l.name = t.source AND l.epoch = t.epoch",
        "l.name = t.source",
        STORES,
    ),
    _m(
        "attempts are bounded",
        MANAGER,
        "WHEN attempts + 1 >= :attempts THEN 'failed' ELSE 'submitted' END,\n                 source",
        "WHEN false AND :attempts > 0 THEN 'failed' ELSE 'submitted' END,\n                 source",
        STORES,
    ),
    _m(
        "only a running ticket is taken back",
        MANAGER,
        "WHERE t.state = 'running' AND NOT EXISTS",
        "WHERE t.epoch IS NULL AND t.state <> 'queued' AND NOT EXISTS",
        STORES,
    ),
    _m(
        "a move names the queue that it leaves",
        MANAGER,
        "t.state = 'queued' AND t.source = m.from_source",
        "t.state IN ('queued', 'cancelled')",
        STORES,
    ),
    _m(
        "only a submitted ticket is queued",
        MANAGER,
        "\"t.state = 'submitted'\", moves",
        "\"t.state <> 'queued'\", moves",
        STORES,
    ),
    _m(
        "only a succeeded ticket expires",
        MANAGER,
        "WHERE state = 'succeeded' AND finished IS NOT NULL AND NOT files_removed",
        "WHERE finished IS NOT NULL AND NOT files_removed",
        STORES,
    ),
    _m(
        "files of ended tickets only are noted as removed",
        MANAGER,
        "WHERE id = ANY(:ids) AND finished IS NOT NULL AND NOT files_removed",
        "WHERE id = ANY(:ids) AND finished IS NOT NULL",
        ACCESS,
    ),
    _m(
        "a running ticket is asked, not cancelled",
        TICKET,
        "state = CASE WHEN state IN ('submitted', 'queued') THEN 'cancelled'",
        "state = CASE WHEN state IN ('submitted', 'queued', 'running') THEN 'cancelled'",
        STORES,
    ),
    _m(
        "a lease is taken when it ran out",
        SOURCE,
        "WHERE leases.expires < clock_timestamp() OR",
        "WHERE true OR",
        STORES,
    ),
    _m("a taking grows the epoch", SOURCE, "epoch = leases.epoch + 1", "epoch = leases.epoch", STORES),
    _m(
        "a lease is renewed by its holder",
        SOURCE,
        "SET expires = clock_timestamp() + make_interval(secs => :seconds)\n               WHERE name = :name AND holder = :holder AND epoch = :epoch RETURNING",
        "SET expires = clock_timestamp() + make_interval(secs => :seconds)\n               WHERE name = :name OR holder = :holder AND epoch = :epoch RETURNING",
        STORES,
    ),
    _m(
        "offers are the holder's",
        SOURCE,
        "WHERE EXISTS ({HELD})\n               ), withdrawn",
        "\n               ), withdrawn",
        STORES,
    ),
    _m(
        "what a source is, is its holder's to say",
        SOURCE,
        ":memory_bytes, :problem WHERE EXISTS ({HELD})",
        ":memory_bytes, :problem WHERE true",
        STORES,
    ),
    _m(
        "which worker holds a device, is its holder's to say",
        SOURCE,
        "WHERE name = :name AND EXISTS ({HELD}) RETURNING name",
        "WHERE name = :name RETURNING name",
        STORES,
    ),
    _m(
        "a ticket with files is not forgotten",
        MANAGER,
        "DELETE FROM tickets WHERE files_removed AND id = ANY(ARRAY(\n                 SELECT id FROM tickets WHERE files_removed\n                   AND finished",
        "DELETE FROM tickets WHERE id = ANY(ARRAY(\n                 SELECT id FROM tickets WHERE finished",
        ("tests/integration/test_tickets_Manager.py",),
    ),
    _m(
        "what an error says goes with the files",
        MANAGER,
        "SET files_removed = true,\n                   error = CASE",
        "SET files_removed = true,\n                   stage = CASE",
        ("tests/integration/test_tickets_Manager.py",),
    ),
    _m(
        "a silent server is given up at one deadline",
        "database/connection.py",
        'getattr(_attempt, "began", time.monotonic()) + seconds',
        "time.monotonic() + seconds",
        ("tests/integration/test_database.py",),
    ),
    _m(
        "a volume written short is noticed",
        "volumes/write.py",
        "if plain.stat().st_size < voxel_bytes:",
        "if False:",
        VOLUMES,
    ),
    _m(
        "a result that finds the disk full spends no attempt",
        "compute/Lane.py",
        "        self._insist(lambda: self.store.put_back(ticket))\n\n    def _remove",
        "        self._give_up_attempt(ticket, result_not_stored())\n\n    def _remove",
        ("tests/acceptance/test_chaos.py::test_full_disks_are_told_before_a_ticket_is_and_waited_out_after",),
    ),
    _m("an upload is flushed before it moves", "tickets/Storage.py", "        flush_tree(folder.path)\n", "", STORAGE),
    _m("an upload's name is flushed", "tickets/Storage.py", "        flush(self.tickets)\n", "", STORAGE),
    _m(
        "a result is flushed before it has its name",
        "tickets/Storage.py",
        "            os.fsync(file.fileno())\n",
        "",
        STORAGE,
    ),
    _m(
        "a result's name is flushed",
        "tickets/Storage.py",
        "        for folder in (draft.parent, draft.parent.parent, draft.parent.parent.parent):\n            flush(folder)\n",
        "",
        STORAGE,
    ),
    _m("a token is compared", "web/tokens.py", "if ticket is None or not any(fits):", "if ticket is None:", WEB),
    _m("answers are stored nowhere", "web/app.py", '    "Cache-Control": "no-store",\n', "", WEB),
    _m(
        "the log has the route, not the path",
        "web/app.py",
        'request.url_rule.rule if request.url_rule else "(none)"',
        "request.path",
        WEB,
    ),
    _m(
        "a crash's text stays in the house",
        "web/app.py",
        'f"The server made a mistake; its log has it as {reference}."',
        'f"The server made a mistake; {error}; {reference}"',
        WEB,
    ),
    _m("a key is needed", "web/Access.py", "            if self.needed:\n", "            if False:\n", ACCESS),
    _m(
        "a revoked key is none",
        "tickets/KeyStore.py",
        "WHERE key_hash = :hash AND revoked IS NULL",
        "WHERE key_hash = :hash",
        ACCESS,
    ),
    _m(
        "a key is for its services",
        "web/Access.py",
        "if key is not None and not key.allows(service):",
        "if False:",
        ACCESS,
    ),
    _m(
        "an idempotency key is for one payload",
        "web/Submission.py",
        "if (ticket.service, ticket.payload_sha256) != (submission.service, submission.payload_sha256):",
        "if False:",
        ACCESS,
    ),
    _m("names do not leave their folder", "archives/names.py", '".."', '"..."', ARCHIVES),
    _m(
        "members are files and folders",
        "archives/unpack.py",
        'if kind not in (b"0", b"\\0", FOLDER_TYPE, b"x", b"L"):',
        "if False:",
        ARCHIVES,
    ),
    _m(
        "nothing follows the gzip member",
        "archives/inflate.py",
        "if member.eof and (member.unused_data or ended):",
        "if False:",
        ARCHIVES,
    ),
    _m(
        "what comes out is bounded",
        "archives/inflate.py",
        "if unpacked > limits.largest_unpacked_bytes:",
        "if False:",
        ARCHIVES,
    ),
    _m(
        "the ratio is bounded",
        "archives/inflate.py",
        "if unpacked > limits.ratio_free_bytes and",
        "if False and",
        ARCHIVES,
    ),
    _m(
        "two names are never one",
        "archives/unpack.py",
        'if spelled != "/".join(parts) or "file" in',
        'if False and "file" in',
        ARCHIVES,
    ),
    _m(
        "extended headers are bounded",
        "archives/unpack.py",
        "        if size > largest:\n",
        "        if False:\n",
        ARCHIVES,
    ),
    _m(
        "nothing follows the tar's end",
        "archives/unpack.py",
        "            if any(data):\n",
        "            if False:\n",
        ARCHIVES,
    ),
    _m(
        "voxels are as many as the header claims",
        "volumes/checks.py",
        'if header.compression == "none" and file_bytes',
        "if False and file_bytes",
        VOLUMES,
    ),
    _m(
        "compressed voxels are as many as the header claims",
        "volumes/inflate.py",
        "    if place != size:\n",
        "    if False:\n",
        VOLUMES,
    ),
    _m(
        "the voxels' checksum is verified",
        "volumes/inflate.py",
        '"gzip": 31, "zlib": 15',
        '"gzip": 31, "zlib": -15',
        VOLUMES,
    ),
    _m("headers name no other file (MHA)", "volumes/mha.py", '"LOCAL"', '"/etc/passwd"', VOLUMES),
    _m("headers name no other file (NRRD)", "volumes/nrrd.py", 'if "datafile" in fields:', "if False:", VOLUMES),
    _m(
        "more voxels than the limit are refused",
        "volumes/checks.py",
        "if header.voxel_bytes > largest_voxel_bytes:",
        "if False:",
        VOLUMES,
    ),
    _m("a link is not followed", "volumes/checks.py", "os.O_RDONLY | os.O_NOFOLLOW", "os.O_RDONLY", VOLUMES),
    Mutant(
        guard="a point outside of the volume is refused",
        file="CustomTasks/InnerEarSegmentationTask.py",
        old="        check_inside(cissvolume, center_mm)\n",
        new="",
        tests=INNER_EAR,
    ),
    Mutant(
        guard="a volume without room for an inner ear is refused",
        file="CustomTasks/InnerEarSegmentationTask.py",
        old="        check_size(cissvolume)\n",
        new="",
        tests=INNER_EAR,
    ),
)


def main() -> int:
    """Try each mutant whose guard holds the words of the command line; return 1 if one lives."""
    words = " ".join(sys.argv[1:])
    chosen = [mutant for mutant in MUTANTS if words in mutant.guard]
    lines = ["| guard removed | in | noticed by |", "| --- | --- | --- |"]
    print(*lines, sep="\n")
    living = 0
    with tempfile.TemporaryDirectory(prefix="tomaat-mutants-") as name:
        copy = Path(name) / "copy"
        listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
        for file in listed.stdout.splitlines():
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / file, copy / file)
        for mutant in chosen:
            noticed = try_out(mutant, copy)
            living += noticed is None
            told = noticed or "**nobody**"
            lines.append(f"| {mutant.guard} | `{mutant.file}` | {told} |")
            print(lines[-1], flush=True)
    print(f"\n{len(chosen) - living} of {len(chosen)} were noticed.")
    if chosen == list(MUTANTS):
        REPORT.write_text(HEAD.format(noticed=len(chosen) - living, all=len(chosen)) + "\n".join(lines) + "\n")
    return 1 if living else 0


def try_out(mutant: Mutant, copy: Path) -> str | None:
    """Apply a mutant, run its tests, take it back; return the test that noticed."""
    path = copy / mutant.file
    source = path.read_text(encoding="utf-8")
    if source.count(mutant.old) != 1:
        raise SystemExit(f"{mutant.guard}: {mutant.file} has its text {source.count(mutant.old)} times, not once")
    path.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", *mutant.tests],
            cwd=copy,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
    finally:
        path.write_text(source, encoding="utf-8")
    if run.returncode == 0:
        return None
    failed = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if run.returncode != 1 or not failed:
        raise SystemExit(f"{mutant.guard}: the tests did not run:\n{run.stdout[-2000:]}{run.stderr[-1000:]}")
    return "`" + failed[0].split("::")[-1].split(" - ")[0].split("[")[0] + "`"


if __name__ == "__main__":
    sys.exit(main())
