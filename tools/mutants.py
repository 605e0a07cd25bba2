"""Remove each guard in turn and run the tests that should notice: ``make mutants``.

A mutant is one change of the source. It lives when all of its tests still pass: then the guard is not tested. Works in
copies of the repository; prints a table, and writes it to ``docs/mutants.md`` once all were tried.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

REPOSITORY = Path(__file__).resolve().parents[1]
AT_ONCE = 2  #: mutants tried side by side, each in a copy of its own
REPORT = REPOSITORY / "docs/mutants.md"
HEAD = """# Mutants

Each guard removed in turn, and the first test that failed: {noticed} of {all} were noticed.
`make mutants` tries them all and writes this page.

"""
STORES = ("tests/integration/test_tickets_stores.py", "tests/integration/test_tickets_model.py")
ACCESS = ("tests/integration/test_access.py", "tests/unit/test_web_http_access.py")
ARCHIVES = ("tests/unit/test_archives_unpack.py",)
VOLUMES = ("tests/integration/test_reader_volume_reader.py",)
DATABASE = ("tests/integration/test_database.py",)
MOVES = ("tests/integration/test_manager_manager.py",)
WALLS = ("tests/integration/test_reader_walls.py",)
DICOM = ("tests/integration/test_dicom.py",)
SERIES = ("tests/unit/test_reader_series.py",)
PAYLOADS = ("tests/unit/test_services_payload.py",)
UNZIP = ("tests/unit/test_archives_unzip.py",)
DICOM_SEG = ("tests/unit/test_volumes_dicom_seg.py",)
INNER_EAR = ("tests/unit/test_CustomTasks_InnerEarSegmentation.py",)
WATCH = ("tests/unit/test_web_watch_ended_tickets.py", "tests/integration/test_tickets_watch_store.py")
METRICS = ("tests/unit/test_web_watch_metrics.py",)
HEALTH = ("tests/unit/test_web_watch_health.py",)
DOCTOR = ("tests/integration/test_doctor.py",)
WEB = ("tests/unit/test_web_api_api.py",)
PAGE = ("tests/unit/test_web_page_documents.py",)
SHOWN = ("tests/acceptance/test_page_modules.py::test_a_series_becomes_the_volume_that_simpleitk_reads",)
RESENT = ("tests/acceptance/test_page.py::test_an_upload_whose_answer_is_lost_becomes_one_ticket",)
OPERATOR = ("tests/unit/test_web_operator_operator.py",)
OPERATOR_STORE = ("tests/integration/test_tickets_operator_store.py",)
FIND = ("tests/unit/test_services_find.py",)
STORAGE = ("tests/unit/test_storage_storage.py",)
NETWORKS = ("tests/unit/test_worker_networks.py",)
BACKUP = "tests/integration/test_backup.py"
LANE_TESTS = "tests/integration/test_scheduling_lanes.py"
WORKER = ("tests/unit/test_worker.py",)
CHOOSING = ("tests/unit/test_manager_choosing.py", "tests/unit/test_manager_fitting.py")


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


LANE, MANAGER, SOURCE, TICKET = (f"tickets/{name}_store.py" for name in ("lane", "manager", "source", "ticket"))
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
    _m(
        "a claim takes the oldest",
        LANE,
        'ORDER BY queue_order LIMIT 1"""',
        'ORDER BY queue_order DESC LIMIT 1"""',
        STORES,
    ),
    _m(
        "what ended is counted once", "web/watch/ended_tickets.py", "if ticket.id not in self.known:", "if True:", WATCH
    ),
    _m(
        "what ended before the first look is not counted",
        "web/watch/ended_tickets.py",
        "if self.since is not None:",
        "if True:",
        WATCH,
    ),
    _m(
        "a late commit is still counted",
        "tickets/watch_store.py",
        "- make_interval(secs => :latest))",
        "- make_interval(secs => 0 * :latest))",
        WATCH,
    ),
    _m(
        "a clock that was set back hides no end",
        "tickets/watch_store.py",
        "least(CAST(:since AS timestamptz), clock_timestamp())",
        "coalesce(CAST(:since AS timestamptz), clock_timestamp())",
        WATCH,
    ),
    _m(
        "figures are for operators where keys are needed",
        "web/watch/metrics.py",
        "if self.access.needed:",
        "if False:",
        METRICS,
    ),
    _m(
        "no unknown kind of failure becomes a label",
        "web/watch/metrics.py",
        "labels(problem if problem in KINDS_OF_FAILURE else OTHER)",
        "labels(problem)",
        METRICS,
    ),
    _m(
        "a label holds the route's template",
        "web/http/app.py",
        'return request.url_rule.rule if request.url_rule else "(none)"',
        "return request.path",
        METRICS,
    ),
    _m(
        "readiness needs a living manager",
        "web/watch/health.py",
        "if self.store.manager_held():",
        "if self.store.manager_held() or True:",
        HEALTH,
    ),
    _m("readiness needs a disk that flushes", "web/watch/health.py", "os.fsync(file.fileno())", "pass", HEALTH),
    _m(
        "the doctor's sessions are read-only",
        "database/connection.py",
        '{options} -c default_transaction_read_only=on"',
        '{options}"',
        DOCTOR,
    ),
    _m(
        "the doctor's tasks see no password",
        "doctor/tasks.py",
        'environment=scrubbed(os.environ, "")',
        "environment=os.environ",
        DOCTOR,
    ),
    _m("the doctor tells no exception's text", "doctor/__main__.py", "({type(error).__name__})", "({error})", DOCTOR),
    _m(
        "a ticket that runs again is claimed beside no other",
        LANE,
        "AND (claim = 0 OR NOT :beside_another)",
        "AND (claim >= 0 OR NOT :beside_another)",
        STORES,
    ),
    _m(
        "a claim of unknown outcome is told from known ones",
        LANE,
        "AND id <> ALL(:known)",
        "AND (id <> ALL(:known) OR true)",
        STORES,
    ),
    _m(
        "a claim takes its own interface only",
        LANE,
        "source = :source AND interface_hash = ANY(:hashes)",
        "source = :source AND (interface_hash = ANY(:hashes) OR true)",
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
        "what a service needs is its source's holder's to say",
        SOURCE,
        "WHERE source = :name AND EXISTS ({HELD})\n                  AND (service",
        "WHERE source = :name\n                  AND (service",
        ("tests/integration/test_tickets_stores.py::test_a_stale_holder_measures_for_nobody",),
    ),
    _m(
        "a ticket goes on to a source that is larger, not as large",
        LANE,
        "s.memory_bytes > :memory_bytes)",
        "s.memory_bytes >= :memory_bytes)",
        (
            "tests/integration/test_tickets_stores.py::test_a_ticket_that_outgrew_the_largest_source_fails_with_the_reason",
        ),
    ),
    _m(
        "a ticket that outgrew a source is not given to one as small",
        "manager/choosing.py",
        "(self.memory_bytes or 0) > waiting.outgrown_bytes",
        "(self.memory_bytes or 0) > 0",
        CHOOSING,
    ),
    _m(
        "what outgrew all that is there holds nobody up",
        MANAGER,
        "AND (outgrown_bytes IS NULL OR outgrown_bytes < :largest)",
        "AND (outgrown_bytes IS NULL OR true OR outgrown_bytes < :largest)",
        (
            "tests/integration/test_tickets_stores.py::test_a_ticket_that_outgrew_its_source_waits_for_a_larger_one_and_spends_no_attempt",
        ),
    ),
    _m(
        "only what waits for a queue fails for want of memory",
        MANAGER,
        "WHERE state = 'submitted' AND interface_hash = :interface_hash",
        "WHERE state <> 'failed' AND interface_hash = :interface_hash",
        (
            "tests/integration/test_tickets_stores.py::test_only_tickets_that_wait_for_a_queue_fail_because_they_fit_nowhere",
        ),
    ),
    _m(
        "what was measured on a source counts more than elsewhere",
        "manager/fitting.py",
        "if own is not None and own.peak_bytes is not None:",
        "if False:",
        CHOOSING,
    ),
    _m(
        "what fits somewhere that is away is waited for",
        "manager/manager.py",
        "misfits(queues)",
        "misfits([queue for queue in queues if queue.live])",
        ("tests/integration/test_manager_manager.py",),
    ),
    _m(
        "loading counts in the choice of a queue",
        "manager/choosing.py",
        "return self.seconds + self.expectations.loading(service, self.queue, self.warm)",
        "return self.seconds",
        CHOOSING,
    ),
    _m(
        "an idle source loads nothing that begins sooner where it waits",
        "manager/choosing.py",
        "(not loading or loading < begins)",
        "(not loading or True)",
        CHOOSING,
    ),
    _m(
        "loading is no part of a ticket's duration",
        "scheduling/running_tickets.py",
        " - self.claimed_at - self.loading_seconds",
        " - self.claimed_at",
        (f"{LANE_TESTS}::test_the_loading_of_a_network_is_no_part_of_its_tickets_duration",),
    ),
    _m(
        "what a worker has measured is told to the next one",
        "scheduling/worker_keeper.py",
        "self._insist(lambda: self.sources.needs_of(self.source.name))",
        "[]",
        (f"{LANE_TESTS}::test_what_a_worker_has_measured_is_told_to_the_next_one",),
    ),
    _m(
        "the least recently used network goes first",
        "worker/networks.py",
        "        self.loaded[service] = self.loaded.pop(service)  # the most recently used is the last\n",
        "",
        NETWORKS,
    ),
    _m(
        "a network that need not go stays",
        "worker/networks.py",
        "        if sum(chosen.values()) - chosen[name] >= short_bytes:\n",
        "        if False:\n",
        NETWORKS,
    ),
    _m(
        "a ticket that is known not to fit is not started",
        "worker/networks.py",
        "total is not None and need.most_bytes > total:",
        "False:",
        NETWORKS,
    ),
    _m(
        "a ticket that ended well makes no source unusable",
        "worker/networks.py",
        "            peak = min(peak, self.memory.total_bytes)\n",
        "            pass\n",
        NETWORKS,
    ),
    _m(
        "what was measured is another version's no more",
        "worker/networks.py",
        "self.known.get((offer.interface_hash, offer.version))",
        "next(iter(self.known.values()), None)",
        NETWORKS,
    ),
    _m(
        "half a network does not stay",
        "worker/networks.py",
        "            self._make_afresh(service)  # what it has loaded already must not stay\n",
        "",
        NETWORKS,
    ),
    _m(
        "a ticket with files is not forgotten",
        MANAGER,
        "DELETE FROM tickets WHERE files_removed AND id = ANY(ARRAY(\n                 SELECT id FROM tickets WHERE files_removed\n                   AND finished",
        "DELETE FROM tickets WHERE id = ANY(ARRAY(\n                 SELECT id FROM tickets WHERE finished",
        ("tests/integration/test_manager_manager.py",),
    ),
    _m(
        "what an error says goes with the files",
        MANAGER,
        "SET files_removed = true,\n                   error = CASE",
        "SET files_removed = true,\n                   stage = CASE",
        ("tests/integration/test_manager_manager.py",),
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
        "scheduling/lanes.py",
        "        self.room.lacks(run.ticket.id, run.out)\n        run.end_as(PutBack())",
        "        self.room.lacks(run.ticket.id, run.out)\n        run.end_as(SpendAttempt(problem=result_not_stored()))",
        ("tests/acceptance/test_chaos.py::test_full_disks_are_told_before_a_ticket_is_and_waited_out_after",),
    ),
    _m(
        "nobody waits for a ticket that is packed",
        TICKET,
        "ORDER BY t.started DESC LIMIT 1",
        "ORDER BY t.started LIMIT 1",
        STORES,
    ),
    _m(
        "a queue is not longer by a ticket that is packed",
        MANAGER,
        "ORDER BY started DESC LIMIT 1",
        "ORDER BY started LIMIT 1",
        STORES,
    ),
    _m(
        "one ticket performs at a time",
        "scheduling/lanes.py",
        "any(run.holds_device or run.runs_alone for",
        "any(run.runs_alone for",
        (LANE_TESTS,),
    ),
    _m(
        "two tickets are under way, and no third",
        "scheduling/lanes.py",
        "            and len(self.running) < MOST_UNDER_WAY\n",
        "",
        (LANE_TESTS,),
    ),
    _m(
        "nothing is claimed beside a ticket that runs again",
        "scheduling/lanes.py",
        "any(run.holds_device or run.runs_alone for",
        "any(run.holds_device for",
        (LANE_TESTS,),
    ),
    _m(
        "nothing is read beside a ticket that runs again",
        "scheduling/claims.py",
        "if running and not any(run.runs_alone for run in running):",
        "if running:",
        (LANE_TESTS,),
    ),
    _m(
        "a ticket that runs again is not read ahead",
        "scheduling/claims.py",
        "if ticket is not None and ticket.claim == 0:",
        "if ticket is not None:",
        (LANE_TESTS,),
    ),
    _m(
        "what was read ahead for nothing is let go",
        "scheduling/claims.py",
        "            self.keeper.tell(Forget())\n",
        "",
        (LANE_TESTS,),
    ),
    _m(
        "a result is packed before the worker is ended for another ticket",
        "scheduling/lanes.py",
        'return None if due in {"deadline", "too_slow_to_cancel"} and packs else due',
        "return due",
        (LANE_TESTS,),
    ),
    _m(
        "giving up a ticket that is packed ends no worker",
        "scheduling/lanes.py",
        "            if run.holds_device:\n",
        "            if True:\n",
        (LANE_TESTS,),
    ),
    _m(
        "a worker that was ended for one ticket leaves the other its attempts",
        "scheduling/lanes.py",
        "other.end_as(Lose() if self.lease_lost else PutBack())",
        "other.end_as(SpendAttempt(problem=result_not_stored()))",
        (LANE_TESTS,),
    ),
    _m(
        "of two in a worker that died nobody is blamed",
        "scheduling/verdicts.py",
        " if alone else PutBack()",
        "",
        (LANE_TESTS,),
    ),
    _m(
        "packing has an end",
        "scheduling/limits.py",
        '        self.allow("not_packed", seconds)\n',
        "",
        (LANE_TESTS,),
    ),
    _m(
        "a worker's numbers are finite and within bounds",
        "messages/fields.py",
        "or not least <= value <= most:",
        "or False:",
        ("tests/unit/test_messages_messages.py",),
    ),
    _m(
        "no sentence of a task holds NUL or half a character",
        "messages/fields.py",
        'BROKEN = {"Cc", "Cs"}',
        "BROKEN = set()",
        ("tests/unit/test_messages_messages.py",),
    ),
    _m(
        "a sentence of a task has an end",
        "messages/fields.py",
        "text if len(text) <= longest else",
        "text if True else",
        ("tests/unit/test_messages_messages.py",),
    ),
    _m(
        "a message has its own fields and no others",
        "messages/fields.py",
        "if values.keys() != rules.keys():",
        "if not values.keys() >= rules.keys():",
        ("tests/unit/test_messages_messages.py",),
    ),
    _m(
        "a worker that sends no message is ended",
        "scheduling/worker_keeper.py",
        "            return WorkerEnded(ending=NONSENSE)\n",
        "            return Ready()\n",
        (
            "tests/integration/test_scheduling_lanes.py::test_a_worker_that_sends_no_message_is_ended_and_its_ticket_spends_an_attempt",
        ),
    ),
    _m(
        "weights that a task names in its loading are hashed",
        "worker/networks.py",
        "            self._hash_weights(service)\n        except",
        "        except",
        ("tests/unit/test_worker_networks.py",),
    ),
    _m(
        "files whose completion may have been made stay",
        "scheduling/lanes.py",
        "                raise Stopping from error  # the files",
        "                shutil.rmtree(run.out)\n                raise Stopping from error  # the files",
        (LANE_TESTS,),
    ),
    _m(
        "what was read ahead is performed for its own ticket",
        "worker/reading.py",
        "if read is None or read.inputs != job.inputs:",
        "if read is None:",
        WORKER,
    ),
    _m(
        "a cancelling is one job's",
        "worker/__main__.py",
        "job.report.given_up |= job.key == message.key",
        "job.report.given_up = True",
        WORKER,
    ),
    _m(
        "packing heeds who gave up",
        "worker/packing.py",
        '        job.report(1.0, "packing")  # a client who gave the ticket up ends it here\n',
        "",
        WORKER,
    ),
    _m(
        "a stage that ends ends its worker",
        "worker/__main__.py",
        "    finally:\n        os._exit(1)\n",
        "    finally:\n        pass\n",
        WORKER,
    ),
    _m(
        "a result does not change with the task's memory",
        "services/keep.py",
        "        return copy.deepcopy(value)\n",
        "        return value\n",
        WORKER,
    ),
    _m(
        "a result does not change with the task's tensors",
        "services/keep.py",
        'value.detach().to("cpu", copy=True)',
        "value.detach().cpu()",
        WORKER,
    ),
    _m(
        "a result does not change with the task's files",
        "services/keep.py",
        "        return kept\n",
        "        return value\n",
        WORKER,
    ),
    _m("an upload is flushed before it moves", "storage/storage.py", "        flush_tree(folder.path)\n", "", STORAGE),
    _m("an upload's name is flushed", "storage/storage.py", "        flush(self.tickets)\n", "", STORAGE),
    _m(
        "a result is flushed before it has its name",
        "storage/storage.py",
        "        sha256, size_bytes = sha256_of(draft)\n        flush(draft)\n",
        "        sha256, size_bytes = sha256_of(draft)\n",
        STORAGE,
    ),
    _m(
        "a result's name is flushed",
        "storage/storage.py",
        "        for folder in (draft.parent, draft.parent.parent, draft.parent.parent.parent):\n            flush(folder)\n",
        "",
        STORAGE,
    ),
    _m("a token is compared", "web/api/tokens.py", "if ticket is None or not any(fits):", "if ticket is None:", WEB),
    _m("answers are stored nowhere", "web/http/app.py", '    "Cache-Control": "no-store",\n', "", WEB),
    _m(
        "the page runs its own scripts only",
        "web/page/documents.py",
        '"script-src": "\'self\'"',
        '"script-src": "*"',
        PAGE,
    ),
    _m(
        "an example that no service names is not sent",
        "web/api/examples.py",
        "if not any(name in self._files(service).values() for service in services):",
        "if not services:",
        ("tests/unit/test_web_api_examples.py",),
    ),
    _m(
        "the page puts a series in order",
        "web/page/static/dicom-volume.js",
        "  slices.sort((one, other) => depth(one) - depth(other));\n",
        "",
        SHOWN,
    ),
    _m("a task's example is checked", "services/find.py", " or _fault_of_example(task)", "", FIND),
    _m(
        "the queue of a source that is away is none",
        TICKET,
        "WHERE l.expires > clock_timestamp() AND s.problem IS NULL AND NOT s.drained GROUP",
        "GROUP",
        STORES,
    ),
    _m(
        "an upload sent again is the same request",
        "web/page/static/form.js",
        "packed ??= await",
        "packed = await",
        RESENT,
    ),
    _m(
        "the log has the route, not the path",
        "web/http/app.py",
        'request.url_rule.rule if request.url_rule else "(none)"',
        "request.path",
        WEB,
    ),
    _m(
        "a crash's text stays in the house",
        "web/http/app.py",
        'f"The server made a mistake; its log has it as {reference}."',
        'f"The server made a mistake; {error}; {reference}"',
        WEB,
    ),
    _m("a key is needed", "web/http/access.py", "            if self.needed:\n", "            if False:\n", ACCESS),
    _m(
        "a revoked key is none",
        "access/key_store.py",
        "WHERE key_hash = :hash AND revoked IS NULL",
        "WHERE key_hash = :hash",
        ACCESS,
    ),
    _m(
        "a key is for its services",
        "web/http/access.py",
        "if key is not None and not key.allows(service):",
        "if False:",
        ACCESS,
    ),
    _m(
        "an idempotency key is for one payload",
        "web/api/submission.py",
        "if (ticket.service, ticket.payload_sha256) != (submission.service, submission.payload_sha256):",
        "if False:",
        ACCESS,
    ),
    _m("a queue has an end", "web/api/api.py", "if self.waiting.get() >= self.longest_queue:", "if False:", WEB),
    _m(
        "an upload has an end",
        "web/api/api.py",
        "if claimed is not None and claimed >",
        "if claimed is None and claimed >",
        WEB,
    ),
    _m("a key's queue has an end", "web/http/access.py", "if usage.waiting >= self.most_waiting:", "if False:", ACCESS),
    _m(
        "a key's rate has an end",
        "web/http/access.py",
        "if usage.within_a_minute >= self.most_within_a_minute:",
        "if False:",
        ACCESS,
    ),
    _m(
        "the audit trail only grows",
        "database/migrations/0002_access.sql",
        "BEFORE UPDATE OR DELETE ON audit FOR EACH ROW",
        "BEFORE UPDATE OR DELETE ON audit FOR EACH ROW WHEN (false)",
        ACCESS,
    ),
    Mutant(
        guard="nobody listens beyond loopback without keys",
        file="WebService.py",
        old="if settings.keys_needed and not any(",
        new="if False and not any(",
        tests=("tests/acceptance/test_access.py::test_nobody_listens_beyond_loopback_without_keys",),
    ),
    _m(
        "a database and a storage belong together",
        "tickets/instance.py",
        "raise ForeignStorage(_mismatch(storage, found, row.id))",
        "return",
        DATABASE,
    ),
    _m(
        "a migration that another process made first is none to fail of",
        "database/migrate.py",
        "(UniqueViolation, DuplicateTable)",
        "(DuplicateTable,)",
        DATABASE,
    ),
    _m(
        "a newer schema is refused",
        "database/migrate.py",
        "if applied and max(applied) > max(migrations):",
        "if False:",
        DATABASE,
    ),
    _m(
        "a forgotten transaction is ended",
        "database/connection.py",
        "idle_in_transaction_session_timeout={2 * milliseconds}",
        "idle_in_transaction_session_timeout=0",
        DATABASE,
    ),
    _m(
        "an upload has an hour to get its row",
        "manager/sweep.py",
        "_older(self.storage.incoming, STRAY_SECONDS)",
        "_older(self.storage.incoming, -1)",
        MOVES,
    ),
    _m("what has no row is put away", "manager/sweep.py", "if path.name not in known]", "if False]", MOVES),
    _m(
        "a worker dies with its lane",
        "processes/dying.py",
        "prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)",
        "prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0)",
        ("tests/unit/test_processes_dying.py",),
    ),
    _m(
        "a worker gets no secret", "scheduling/local_engine.py", "        **kept,\n", "        **environment,\n", WORKER
    ),
    _m(
        "a task has an end",
        "scheduling/limits.py",
        '{"deadline": time.monotonic() + deadline_seconds}',
        '{"deadline": time.monotonic() + 60 * deadline_seconds}',
        ("tests/acceptance/test_bad_tasks.py::test_a_bad_ticket_fails_with_its_reason_and_the_next_one_runs",),
    ),
    _m(
        "a cancelling that is not heard ends the worker",
        "scheduling/lanes.py",
        'run.limits.allow("too_slow_to_cancel", ',
        'run.limits.allow("too_slow_to_cancel", 60 + ',
        ("tests/acceptance/test_bad_tasks.py::test_a_task_that_does_not_listen_is_cancelled_within_two_seconds",),
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
        "headers/checks.py",
        'if header.compression == "none" and file_bytes',
        "if False and file_bytes",
        VOLUMES,
    ),
    _m(
        "compressed voxels are as many as the header claims",
        "reader/inflate.py",
        "    if came != claimed:\n",
        "    if False:\n",
        VOLUMES,
    ),
    _m(
        "the voxels' checksum is verified",
        "reader/inflate.py",
        '"gzip": 31, "zlib": 15',
        '"gzip": 31, "zlib": -15',
        VOLUMES,
    ),
    _m("a parser opens no other file", "reader/read_server.py", 'if "landlock" in guards:', "if False:", WALLS),
    _m("a parser reaches nobody", "reader/read_server.py", 'if "seccomp" in guards:', "if False:", WALLS),
    _m("an image cannot have all memory", "reader/read_server.py", "mapped + memory_bytes + SPARE_BYTES", "-1", WALLS),
    _m("an image cannot have all time", "reader/read_server.py", "seconds, seconds + 5)", "-1, -1)", WALLS),
    _m(
        "a parser lets no file grow",
        "reader/read_server.py",
        "(resource.RLIMIT_FSIZE, 0,",
        "(resource.RLIMIT_FSIZE, -1,",
        WALLS,
    ),
    _m(
        "what a parser shares keeps its size",
        "reader/volume_reader.py",
        "F_ADD_SEALS, SEALS)",
        "F_ADD_SEALS, 0)",
        WALLS,
    ),
    _m(
        "a parser's dimensions are not believed",
        "reader/volume_reader.py",
        'if told["dimensions"] != ',
        "if 0 == ",
        WALLS,
    ),
    _m(
        "a parser's type is not believed",
        "reader/volume_reader.py",
        "if dtype != header.value_dtype:",
        "if False:",
        WALLS,
    ),
    _m(
        "no pages are made for a fork that ended",
        "reader/volume_reader.py",
        "if select.select([until], [], [], 0)[0]:",
        "if False:",
        WALLS,
    ),
    _m("the reader of images has one thread", "reader/read_server.py", "if threads != 1:", "if False:", WALLS),
    _m(
        "the reader of images gets no secret",
        "reader/volume_reader.py",
        '"PYTHONPATH": str(REPOSITORY),',
        '"PYTHONPATH": str(REPOSITORY), **os.environ,',
        WALLS,
    ),
    _m("dimensions are few", "headers/checks.py", "if len(sizes) > MOST_DIMENSIONS:", "if False:", VOLUMES),
    _m("a volume lies near", "headers/checks.py", "if not abs(value) <= FARTHEST_MM:", "if False:", VOLUMES),
    _m(
        "what ITK adds alone is refused",
        "headers/nifti.py",
        "if abs(intercept) >= SMALLEST_SCALE:",
        "if False:",
        VOLUMES,
    ),
    _m("voxels of many numbers are refused", "headers/nifti.py", "if intent in MANY_NUMBERS:", "if False:", VOLUMES),
    _m(
        "voxels in another byte order are turned",
        "reader/read_server.py",
        "elif not on_disk(header).isnative:",
        "elif False:",
        VOLUMES,
    ),
    _m(
        "no header claims more voxels than its bytes can inflate to",
        "headers/checks.py",
        "if header.compression in DEFLATED and",
        "if False and",
        VOLUMES,
    ),
    _m("headers name no other file (MHA)", "headers/mha.py", '"LOCAL"', '"/etc/passwd"', VOLUMES),
    _m("headers name no other file (NRRD)", "headers/nrrd.py", 'if "datafile" in fields:', "if False:", VOLUMES),
    _m(
        "more voxels than the limit are refused",
        "headers/checks.py",
        "if claimed > largest_voxel_bytes:",
        "if False:",
        VOLUMES,
    ),
    _m("a link is not followed", "headers/checks.py", "os.O_RDONLY | os.O_NOFOLLOW", "os.O_RDONLY", VOLUMES),
    _m("a qform and an sform that differ are refused", "headers/nifti.py", "if len(forms) > 1:", "if False:", VOLUMES),
    _m(
        "an sform that pixdim does not fit is refused",
        "headers/nifti.py",
        "if apart_mm > SPACING_WITHIN * min(spacing):",
        "if False:",
        VOLUMES,
    ),
    _m(
        "a volume is read where its header says",
        "reader/volume_reader.py",
        "if apart_mm > PLACE_WITHIN * min(spacing):",
        "if False:",
        VOLUMES,
    ),
    Mutant(
        guard="a volume's limits are held against its header at the upload",
        file="Inputs/VolumeInput.py",
        old="            self.demand(header)\n",
        new="",
        tests=("tests/unit/test_Inputs_VolumeInput.py",),
    ),
    _m(
        "a zip holds no links",
        "archives/unzip.py",
        "if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:",
        "if False:",
        UNZIP,
    ),
    _m(
        "what comes out of a zip is bounded",
        "archives/unzip.py",
        "if self.produced > self.limits.largest_unpacked_bytes:",
        "if False:",
        UNZIP,
    ),
    _m(
        "a zip and its content count together",
        "services/payload.py",
        "limits.largest_unpacked_bytes - sum(there)",
        "limits.largest_unpacked_bytes",
        PAYLOADS,
    ),
    _m("a folder holds DICOM only", "headers/dicom_files.py", "if not _is_dicom(name, folder):", "if False:", PAYLOADS),
    _m(
        "pixels are as many as rows and columns need (DICOM)",
        "reader/dicom_read.py",
        "pixel_bytes < pixels * allocated // 8",
        "False",
        DICOM,
    ),
    _m(
        "inverted pixels are not taken for measured ones (DICOM)",
        "reader/dicom_read.py",
        'if photometric != "MONOCHROME2":',
        "if False:",
        DICOM,
    ),
    _m("a mosaic is no slice (DICOM)", "reader/dicom_read.py", 'if "MOSAIC" in', "if None in", DICOM),
    _m(
        "what was read has the size of the header (DICOM)",
        "reader/dicom_read.py",
        "if pixels.shape != (1, rows, columns) or",
        "if",
        DICOM,
    ),
    _m("a tilted gantry is refused (DICOM)", "reader/series.py", "if beside.max() <= within_mm:", "if True:", SERIES),
    _m(
        "unevenly spaced slices are refused (DICOM)",
        "reader/series.py",
        "if (np.abs(gaps - usual) > within).any():",
        "if False:",
        SERIES,
    ),
    _m(
        "a result for DICOM images needs some",
        "services/payload.py",
        "if volumes and not sent:",
        "if False:",
        PAYLOADS,
    ),
    _m(
        "images are told apart in a result",
        "volumes/dicom_seg.py",
        "if len({image.SOPInstanceUID for image in images}) != volume.array.shape[2]:",
        "if False:",
        DICOM_SEG,
    ),
    _m(
        "a stranger's text in a result is one that DICOM allows",
        "volumes/dicom_seg.py",
        "validate_value(vr, text, RAISE)",
        "pass",
        DICOM_SEG,
    ),
    _m("no warning quotes a patient", "volumes/dicom_seg.py", 'warnings.simplefilter("ignore")', "pass", DICOM_SEG),
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
    _m(
        "the client checks a result's SHA-256",
        "client/download.py",
        "if _digest(part) == _wanted(part):",
        "if True:",
        ("tests/unit/test_client_download.py",),
    ),
    _m(
        "the client goes on with the same result only",
        "client/download.py",
        ', "If-Range": f\'"{_wanted(part)}"\'',
        "",
        ("tests/unit/test_client_download.py",),
    ),
    _m(
        "the client takes plain files only",
        "client/unpack.py",
        "tar.extractfile(member) if member.isreg() else None",
        "tar.extractfile(member)",
        ("tests/unit/test_client_unpack.py",),
    ),
    _m(
        "the client takes plain names only",
        "client/unpack.py",
        "or FORBIDDEN & set(name)",
        "",
        ("tests/unit/test_client_unpack.py",),
    ),
    _m(
        "the client overwrites nobody else's file",
        "client/unpack.py",
        "if foreign and not replace:",
        "if False:",
        ("tests/unit/test_client_unpack.py",),
    ),
    _m(
        "the client repeats a request under one key",
        "client/client.py",
        'headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}',
        "headers = {}",
        ("tests/unit/test_client_client.py",),
    ),
    _m(
        "the client notes a request's key before it is sent",
        "client/cohort.py",
        'self.client.send(payload, idempotency_key=note["idempotency_key"], on_step=show)\n        except',
        "self.client.send(payload, on_step=show)\n        except",
        ("tests/unit/test_client_cohort.py",),
    ),
    _m(
        "a result does not pass for another request's",
        "client/cohort.py",
        '(note["service"], note["inputs"]) == (payload.service, digests)',
        'note["service"] == payload.service',
        ("tests/unit/test_client_cohort.py",),
    ),
    _m(
        "the client's note of a token is its owner's",
        "client/place.py",
        "os.O_EXCL, 0o600)",
        "os.O_EXCL, 0o644)",
        ("tests/unit/test_client_cohort.py",),
    ),
    _m(
        "the client follows no redirect with a token",
        "client/http_api.py",
        "allow_redirects=False",
        "allow_redirects=True",
        ("tests/unit/test_client_http_api.py",),
    ),
    _m(
        "a drained source claims nothing",
        LANE,
        "AND NOT EXISTS (SELECT FROM compute_sources WHERE name = :source AND drained)",
        "",
        OPERATOR_STORE,
    ),
    _m(
        "a drained source is given nothing",
        MANAGER,
        "s.problem IS NULL AND NOT s.drained",
        "s.problem IS NULL",
        OPERATOR_STORE,
    ),
    _m(
        "what no other source can run stays with a drained one",
        MANAGER,
        "WHERE {LIVE} AND o.interface_hash = t.interface_hash",
        "WHERE o.interface_hash = t.interface_hash",
        OPERATOR_STORE,
    ),
    _m(
        "what outgrew the other source stays with a drained one",
        MANAGER,
        "AND (t.outgrown_bytes IS NULL OR s.memory_bytes > t.outgrown_bytes)))",
        "))",
        OPERATOR_STORE,
    ),
    _m(
        "an operator deletes no result",
        TICKET,
        "(state <> 'running' AND NOT :by_operator)",
        "state <> 'running'",
        OPERATOR_STORE,
    ),
    _m(
        "what its client gave up keeps no input",
        TICKET,
        "inputs_kept = :by_operator AND NOT delete_requested AND (inputs_kept",
        "inputs_kept = (inputs_kept",
        OPERATOR_STORE,
    ),
    _m(
        "what an operator cancelled keeps its input",
        MANAGER,
        "state = 'cancelled' AND NOT inputs_kept OR",
        "state = 'cancelled' OR",
        OPERATOR_STORE,
    ),
    _m("nothing whose files were removed is run again", TICKET, "(NOT t.files_removed AND NOT", "(NOT", OPERATOR_STORE),
    _m(
        "nothing whose deletion was asked for is run again",
        TICKET,
        "AND NOT t.delete_requested\n",
        "\n",
        OPERATOR_STORE,
    ),
    _m(
        "nothing that is about to be deleted is run again",
        TICKET,
        "AND t.finished > clock_timestamp() - make_interval(secs => :retention_seconds)",
        "",
        OPERATOR_STORE,
    ),
    _m(
        "only what its service takes still is run again",
        TICKET,
        "AND EXISTS (SELECT FROM offers WHERE interface_hash = t.interface_hash)",
        "",
        OPERATOR_STORE,
    ),
    _m(
        "a service whose only source is drained is not available",
        TICKET,
        "s.problem IS NULL AND NOT s.drained) AS live",
        "s.problem IS NULL) AS live",
        OPERATOR_STORE,
    ),
    _m(
        "a drained source's queue is none to join",
        TICKET,
        "s.problem IS NULL AND NOT s.drained GROUP",
        "s.problem IS NULL GROUP",
        OPERATOR_STORE,
    ),
    _m(
        "a stale holder writes no reading",
        SOURCE,
        "device_read = clock_timestamp()\n                WHERE name = :name AND EXISTS ({HELD})",
        "device_read = clock_timestamp()\n                WHERE name = :name",
        OPERATOR_STORE,
    ),
    _m(
        "an operator's key is demanded to look",
        "web/operator/operator.py",
        "self.access.demand_operator(request.headers.get(KEY_HEADER))\n            seen",
        "seen",
        OPERATOR,
    ),
    _m("an operator's key is an operator's", "web/http/access.py", "if not key.operator:", "if False:", OPERATOR),
    _m(
        "an operator cancels nothing that has ended",
        "web/operator/operator.py",
        "if ticket.state in ENDED - {CANCELLED}:",
        "if False:",
        OPERATOR,
    ),
    _m(
        "a copy that came too late is dropped",
        "web/operator/operator.py",
        "            self.storage.drop(folder)\n            raise _not_again(ticket)",
        "            raise _not_again(ticket)",
        OPERATOR,
    ),
    _m(
        "an operator's body is small",
        "web/operator/operator.py",
        "if len(data) > LARGEST_BODY_BYTES:",
        "if False:",
        OPERATOR,
    ),
    _m(
        "an hour is kept only once it is settled",
        "web/operator/last_day.py",
        "if now >= hour + HOUR + SETTLED:",
        "if now >= hour + HOUR:",
        OPERATOR,
    ),
    _m(
        "a damaged backup is not restored",
        "backup/verify.py",
        "if _found(folder / path) != facts]",
        "if not (folder / path)]",
        (f"{BACKUP}::test_a_damaged_backup_is_told_by_ticket_and_not_restored",),
    ),
    _m(
        "nothing is restored under a living door",
        "backup/restore.py",
        "    if living:\n",
        "    if False:\n",
        (f"{BACKUP}::test_a_restore_refuses_while_a_door_lives",),
    ),
    _m(
        "a door that holds no lease is noticed, too",
        "tickets/backup_store.py",
        "if sessions else []",
        "if False else []",
        (f"{BACKUP}::test_a_restore_refuses_while_a_door_lives",),
    ),
    _m(
        "a door that comes at the last moment stops a restore",
        "tickets/backup_store.py",
        "AND pid <> {own}) THEN",
        "AND pid <> {own} AND false) THEN",
        (f"{BACKUP}::test_a_door_that_comes_at_the_last_moment_changes_nothing",),
    ),
    _m(
        "a database that holds something is not given up untold",
        "backup/restore.py",
        "    if store.holds_something():\n",
        "    if False:\n",
        (f"{BACKUP}::test_what_is_there_is_given_up_only_when_told",),
    ),
    _m(
        "a newer schema is not restored",
        "backup/restore.py",
        "if manifest.schema_version > newest:",
        "if False:",
        (f"{BACKUP}::test_a_newer_schema_is_refused",),
    ),
    _m(
        "a manifest points into its own backup only",
        "backup/manifest.py",
        "or any(not _lies_within(path) for path in files)",
        "",
        (f"{BACKUP}::test_a_manifest_that_points_elsewhere_is_damaged",),
    ),
    _m(
        "a dump that ends early is not committed",
        "postgres/clients.py",
        "if reader.wait() == 0:",
        "if reader.wait() is not None:",
        (f"{BACKUP}::test_nothing_is_kept_of_a_dump_whose_reader_dies_between_two_statements",),
    ),
    _m(
        "a ticket that is deleted while it is copied is left out",
        "backup/make.py",
        "if not files or not set(files) <= set(_files_of(source)):",
        "if not files:",
        (f"{BACKUP}::test_a_ticket_that_is_deleted_while_it_is_copied_leaves_no_half_of_itself",),
    ),
    _m(
        "what ran when the backup was made spends no attempt",
        "tickets/backup_store.py",
        "  WHERE state = 'running';",
        "  WHERE false;",
        (f"{BACKUP}::test_what_ran_waits_again_and_what_ended_is_as_it_was",),
    ),
    _m(
        "a claim's folder of after the dump is not restored",
        "backup/restore.py",
        "if claim is None or out != folder.claim(claim):",
        "if False:",
        (f"{BACKUP}::test_what_ran_waits_again_and_what_ended_is_as_it_was",),
    ),
    _m(
        "what was accepted after the dump is quarantined",
        "backup/restore.py",
        "        if path.name not in results:\n",
        "        if False:\n",
        (f"{BACKUP}::test_what_was_accepted_after_the_dump_is_quarantined",),
    ),
    _m(
        "a backup that failed leaves nothing",
        "backup/make.py",
        "            shutil.rmtree(folder, ignore_errors=True)\n            raise\n",
        "            raise\n",
        (f"{BACKUP}::test_a_full_disk_is_told_and_leaves_nothing",),
    ),
    _m(
        "a database's password is on no command line",
        "postgres/clients.py",
        "if name not in SECRETS})",
        "})",
        (f"{BACKUP}::test_the_password_is_on_no_command_line",),
    ),
)


def main() -> int:
    """Try each mutant whose guard holds the words of the command line; return 1 if one lives."""
    words = " ".join(sys.argv[1:])
    chosen = [mutant for mutant in MUTANTS if words in mutant.guard]
    lines = ["| guard removed | in | noticed by |", "| --- | --- | --- |"]
    print(*lines, sep="\n")
    living = 0
    with tempfile.TemporaryDirectory(prefix="tomaat-mutants-") as name, ThreadPoolExecutor(AT_ONCE) as pool:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(AT_ONCE):
            copies.put(copy_repository(Path(name, str(number))))
        for mutant, noticed in zip(chosen, pool.map(partial(try_out, copies), chosen), strict=True):
            living += noticed is None
            lines.append(f"| {mutant.guard} | `{mutant.file}` | {noticed or '**nobody**'} |")
            print(lines[-1], flush=True)
    print(f"\n{len(chosen) - living} of {len(chosen)} were noticed.")
    if chosen == list(MUTANTS):
        REPORT.write_text(HEAD.format(noticed=len(chosen) - living, all=len(chosen)) + "\n".join(lines) + "\n")
    return 1 if living else 0


def copy_repository(copy: Path) -> Path:
    """Copy what git knows of this repository."""
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for file in listed.stdout.splitlines():
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / file, copy / file)
    return copy


def try_out(copies: SimpleQueue[Path], mutant: Mutant) -> str | None:
    """Apply a mutant in a copy that nobody uses, run its tests, take it back; return the test that noticed."""
    copy = copies.get()
    try:
        return try_in(copy, mutant)
    finally:
        copies.put(copy)


def try_in(copy: Path, mutant: Mutant) -> str | None:
    """Apply a mutant in a copy, run its tests, take it back; return the test that noticed."""
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
