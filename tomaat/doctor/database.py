"""Look at PostgreSQL, the schema in it, the doors' leases, offers and keys; each session is read-only."""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy
from sqlalchemy.exc import SQLAlchemyError

from tomaat.access.key_store import KeyStore
from tomaat.database import (
    DatabaseUnavailable,
    ServerFacts,
    applied_migrations,
    connect,
    hints_arrive,
    known_migrations,
    server_facts,
)
from tomaat.database.connection import first_line, mending, where
from tomaat.doctor.finding import Finding, ok, warning, wrong
from tomaat.storage import Storage
from tomaat.tickets.instance import mismatch
from tomaat.tickets.question_store import QuestionStore
from tomaat.tickets.watch_store import WatchStore
from TOMAATSettings import Settings

OLDEST_VERSION = 13
COMMITTED = {"on", "remote_apply", "remote_write", "local"}
SKEW_SECONDS = 2.0
HINT_SECONDS = 3.0


def look_at_database(settings: Settings) -> Iterator[Finding]:
    """Look at the server, and at its contents if it has any."""
    about = "database"
    unset = "" if settings.database_given else " (TOMAAT_DATABASE_URL is unset: do the doors have another one?)"
    database = connect(settings.DATABASE_URL, deadline_seconds=settings.database_deadline_seconds, read_only=True)
    try:
        facts = server_facts(database)
        version = f"PostgreSQL {facts.version // 10000}.{facts.version % 10000}"
        yield ok(about, f"{version} answers at {where(database)}")
        yield from _server(facts, settings)
        yield _hints(database, settings)
        yield from _schema(database, facts, settings)
    except DatabaseUnavailable as error:
        yield wrong(about, f"{where(database)}: {error}{unset}", mending(str(error), database.url))
    except SQLAlchemyError as error:
        says = first_line(getattr(error, "orig", None) or type(error).__name__)
        mend = mending(says, database.url, otherwise="if the doors say the same, report it")
        yield wrong(about, f"{where(database)}: {says}{unset}", mend)
    finally:
        database.dispose()


def _server(facts: ServerFacts, settings: Settings) -> Iterator[Finding]:
    about = "database server"
    if facts.version < OLDEST_VERSION * 10000:
        yield wrong(about, f"its version is below {OLDEST_VERSION}", f"use PostgreSQL {OLDEST_VERSION} or newer")
    if facts.synchronous_commit not in COMMITTED:
        says = f"synchronous_commit is {facts.synchronous_commit}: a power cut loses tickets that were answered 202"
        yield wrong(about, says, "set it on, for the server or by ALTER DATABASE … SET synchronous_commit = on")
    if facts.connections < settings.database_connections:
        says = f"it takes {facts.connections} connections; the doors may need {settings.database_connections}"
        yield warning(about, says, "raise max_connections, or lower TOMAAT_WEB_PROCESSES or TOMAAT_WEB_THREADS")
    if facts.idle_session_seconds:
        says = f"it ends sessions that are idle for {facts.idle_session_seconds:g} s, those that wait for hints too"
        yield warning(about, says, "ALTER ROLE … SET idle_session_timeout = 0")
    if facts.talkative:
        says = f"its log may hold values of statements, which may name patients ({', '.join(facts.talkative)})"
        yield warning("database log", says, "as a superuser: the lines of docs/production.md, Install")
    if abs(facts.ahead_seconds) > SKEW_SECONDS:
        says = f"its clock is {facts.ahead_seconds:+.0f} s off this machine's; logs and files do not go with its times"
        yield warning("clock", says, "let both machines ask one time server (timedatectl)")
    else:
        yield ok("clock", f"the database's and this machine's differ by {abs(facts.ahead_seconds):.1f} s")


def _hints(database: sqlalchemy.Engine, settings: Settings) -> Finding:
    """See whether NOTIFY reaches a LISTEN, as the doors need it to be fast."""
    deadline_seconds = settings.database_deadline_seconds
    if hints_arrive(database, settings.DATABASE_URL, deadline_seconds=deadline_seconds, within_seconds=HINT_SECONDS):
        return ok("hints", "one that was sent arrived")
    says = (
        f"one that was sent did not arrive within {HINT_SECONDS:g} s: "
        f"each step of a ticket waits for TOMAAT_POLL_SECONDS ({settings.POLL_SECONDS:g} s)"
    )
    mend = (
        "a pooler in transaction mode (PgBouncer) keeps hints: connect the doors directly, or set pool_mode = session"
    )
    return warning("hints", says, mend)


def _schema(database: sqlalchemy.Engine, facts: ServerFacts, settings: Settings) -> Iterator[Finding]:
    about = "schema"
    known, applied = set(known_migrations()), applied_migrations(database)
    if not applied:
        if not facts.may_create:
            mend = mending("permission denied", database.url)
            yield wrong(about, "the database is empty, and the role may not make tables in it", mend)
        else:
            yield warning(about, "the database is empty", "the door that starts first makes it; nothing to do")
        return
    if max(applied) > max(known):
        says = f"it is version {max(applied)}, this program knows up to {max(known)}"
        yield wrong(about, says, "start the newer program, or restore the backup that belongs to this one")
        return
    if applied < known:
        says = f"it is version {max(applied)}, this program's is {max(known)}"
        yield warning(about, says, "the door that starts next brings it up to date; back up before")
        return
    yield ok(about, f"version {max(applied)}")
    yield from _pair(database, Storage(settings.BASE_STORAGE_DIR))
    yield from _doors(WatchStore(database), settings)
    yield from _questions(QuestionStore(database, lambda _channel: None))
    yield from _keys(KeyStore(database), settings)


def _pair(database: sqlalchemy.Engine, storage: Storage) -> Iterator[Finding]:
    about = "database and storage"
    try:
        says = mismatch(database, storage)
    except OSError as error:
        yield wrong(about, f"{storage.base} cannot be read ({error.strerror})", "see storage here")
        return
    if says is None:
        yield ok(about, "belong together")
    else:
        found, _, mend = says.partition(": ")
        yield wrong(about, found, mend)


def _doors(store: WatchStore, settings: Settings) -> Iterator[Finding]:
    world = store.world()
    if world.manager_held:
        yield ok("QueueManager", "is alive")
    else:
        yield warning("QueueManager", "none is alive: tickets wait", "start QueueManager.py, or make serve")
    for source in world.sources:
        about = f"source {source.name}"
        if source.drained:
            yield warning(about, "is drained: it claims nothing more", "resume it at /queues, when it shall work again")
        elif not source.held:
            mend = (
                "start TaskScheduling.py on its host, or make serve; if it is gone for good, "
                f"tomaat-server sources forget {source.name} (beside make serve: make sources ARGS=...)"
            )
            yield warning(about, "nobody holds it", mend)
        elif not source.usable:
            mend = "TaskScheduling's log says why (source.unusable, task.refused); a starting one needs a moment"
            yield wrong(about, "is held, and offers nothing", mend)
        else:
            yield ok(about, f"offers services; {source.waiting} tickets wait, {source.wait_seconds:.0f} s expected")
    away = [name for name, available in world.services.items() if not available]
    if not world.services:
        yield warning("offers", "no service was offered yet", "start TaskScheduling.py, or make serve")
    elif away:
        mend = (
            "start a source that offers them, or resume a drained one; their tickets wait until then, and "
            f"{settings.WITHDRAW_HOURS:g} h after the last offer they are withdrawn"
        )
        yield warning("offers", f"no source that takes tickets offers {', '.join(away)}", mend)
    else:
        yield ok("offers", ", ".join(world.services))


def _questions(store: QuestionStore) -> Iterator[Finding]:
    for question in store.all():
        if question.agreed is None:
            mend = f"see whether that is right; then python3 -m tomaat.manager agree {question.what}"
            yield warning("QueueManager asks", question.detail, mend)


def _keys(store: KeyStore, settings: Settings) -> Iterator[Finding]:
    valid = sum(key.revoked is None for key in store.all())
    if settings.keys_needed and not valid:
        says, _, mend = settings.key_missing.partition(": ")
        yield wrong("API keys", f"{says}: {mend.partition(': ')[0]}", mend.partition(": ")[2])
    elif settings.keys_needed:
        yield ok("API keys", f"needed; {valid} valid")
    else:
        yield ok("API keys", f"not needed (TOMAAT_HOST={settings.HOST}, TOMAAT_API_KEYS={settings.API_KEYS})")
