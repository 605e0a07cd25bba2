"""A backup is whole or not there; a restore changes everything or nothing."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import sqlalchemy

from tests.chaos.disks import fill, small_disk
from tests.nobody import as_nobody
from tomaat.backup import __main__ as program
from tomaat.backup import files
from tomaat.backup.backup_failed import BackupFailed
from tomaat.backup.make import keep_newest, make
from tomaat.backup.restore import restore
from tomaat.backup.verify import verify
from tomaat.contents.digest import sha256_of
from tomaat.database import DatabaseUnavailable, connect, migrate
from tomaat.postgres import clients as programs
from tomaat.postgres.clients import ClientFailed, find_clients
from tomaat.processes.holder import this_process
from tomaat.storage import ForeignStorage, Storage
from tomaat.tickets.instance import bind_storage
from tomaat.tickets.source_store import SourceStore
from tomaat.tickets.ticket_store import NewTicket, TicketStore
from TOMAATSettings import Settings

MAKE, RESTORE = (sys.modules[f"tomaat.backup.{name}"] for name in ("make", "restore"))
REPOSITORY = Path(__file__).resolve().parents[2]


class Pair:
    """A database and a storage folder that belong together, filled without any door."""

    def __init__(self, url, base):
        self.url = url
        self.database = connect(url, deadline_seconds=10, pool_size=1)
        self.storage = Storage(base)
        self.hints = []

    def prepare(self):
        migrate(self.database)
        self.storage.prepare()
        bind_storage(self.database, self.storage)
        return self

    def run(self, sql, **values):
        with self.database.connect() as connection:
            result = connection.execute(sqlalchemy.text(sql), values)
            return list(result) if result.returns_rows else []

    def submit(self, text="{}"):
        folder = self.storage.new_incoming()
        (folder.inputs / "main.json").write_text(text)
        (folder.inputs / "main.json").chmod(0o600)
        kept = self.storage.keep(folder)
        TicketStore(self.database, self.hints.append).submit(
            NewTicket(
                token_hash=kept.name.encode(), service="Add", interface_hash="Add-1", folder=kept.name, label="head 7"
            )
        )
        return kept

    def succeed(self, folder, claim=1, content=b"a result"):
        self.write_result(folder, claim, content)
        self.run(
            """SET LOCAL session_replication_role = replica;  -- several moves at once
               UPDATE tickets SET state = 'succeeded', claim = :claim, source = 'here/cpu-0', finished = now(),
               result_sha256 = 'x', result_bytes = 8 WHERE folder = :folder""",
            claim=claim,
            folder=folder.name,
        )

    def write_result(self, folder, claim, content=b"a result"):
        folder.claim(str(claim)).mkdir(parents=True, mode=0o700)
        (folder.claim(str(claim)) / "result.tar.gz").write_bytes(content)

    def states(self):
        return {row.folder: row for row in self.run("SELECT * FROM tickets")}

    def backup(self, place):
        return make(place, self.database, self.url, self.storage)

    def restore(self, backup, **options):
        return restore(backup, self.database, self.url, self.storage, **options)


@pytest.fixture
def make_pair(make_database, tmp_path):
    made = []

    def pair():
        made.append(Pair(make_database(), tmp_path / f"storage-{len(made)}"))
        return made[-1]

    yield pair
    for each in made:
        each.database.dispose()


@pytest.fixture
def pair(make_pair):
    return make_pair().prepare()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "backups"


def left_in(place):
    return [path.name for path in place.iterdir()] if place.exists() else []


def test_what_ran_waits_again_and_what_ended_is_as_it_was(pair, make_pair, place):
    ended, ran, waited, given_up = (pair.submit(f'{{"inputs": {number}}}') for number in range(4))
    pair.succeed(ended, claim=2)
    for folder in (ran, given_up):
        pair.run(
            """SET LOCAL session_replication_role = replica;  -- two moves at once
               UPDATE tickets SET state = 'running', source = 'here/cpu-0', claim = 3, epoch = 1, attempts = 1,
               cancel_requested = :given_up WHERE folder = :folder""",
            folder=folder.name,
            given_up=folder is given_up,
        )
    pair.write_result(ended, 1)  # of a claim that did not count
    (ran.claim("3")).mkdir(parents=True)
    (ran.claim("3") / "result.tar.gz.part").write_bytes(b"half a result")
    backup = pair.backup(place)
    assert not (backup / "tickets" / ran.name / "out").exists(), "a draft is written to, and is no part of a backup"

    other = make_pair()
    restored = other.restore(backup)
    assert restored.tickets == {"cancelled": 1, "submitted": 2, "succeeded": 1}
    rows = other.states()
    assert (rows[ran.name].state, rows[ran.name].attempts, rows[ran.name].claim) == ("submitted", 1, 3)
    assert rows[ran.name].epoch is None
    assert rows[given_up.name].state == "cancelled"
    assert rows[waited.name].state == "submitted"
    assert {row.label for row in rows.values()} == {"head 7"}
    assert other.storage.result_of(ended.name, "2").read_bytes() == b"a result"
    assert not other.storage.folder_of(ended.name).claim("1").exists(), "else claim 1 could not be handed out again"
    assert (other.storage.folder_of(ran.name).inputs / "main.json").read_text() == '{"inputs": 1}'
    assert other.storage.instance_id() == pair.storage.instance_id()
    bind_storage(other.database, other.storage)
    assert [row.what for row in other.run("SELECT what FROM audit WHERE who = 'restore'")] == ["restore"]


def test_a_ticket_whose_files_are_not_in_the_backup_is_not_promised(pair, make_pair, place):
    ended, waited, other = (pair.submit() for _ in range(3))
    pair.succeed(ended)
    pair.run("UPDATE tickets SET stage = 'Jane Doe', idempotency_key = 'Jane Doe ' || id")
    for folder in (ended, waited):  # deleted between the dump and the copying
        folder.path.rename(folder.path.with_name(f"{folder.name}-gone"))
    restored = make_pair()
    assert restored.restore(pair.backup(place)).quarantined == 2
    rows = restored.states()
    assert (rows[ended.name].state, rows[ended.name].files_removed) == ("expired", True)
    assert rows[waited.name].state == "failed"
    assert rows[waited.name].error["type"] == "/problems/files-lost"
    assert rows[other.name].state == "submitted"
    kept = restored.run("SELECT folder FROM tickets WHERE coalesce(stage, idempotency_key, label) IS NOT NULL")
    assert [row.folder for row in kept] == [other.name], "texts go with the files"


def test_what_was_accepted_after_the_dump_is_quarantined(pair, make_pair, place, monkeypatch):
    before = pair.submit()
    copy_tickets = MAKE._copy_tickets
    late = []

    def submit_first(*arguments):
        late.append(pair.submit())
        return copy_tickets(*arguments)

    monkeypatch.setattr(MAKE, "_copy_tickets", submit_first)
    backup = pair.backup(place)
    other = make_pair()
    assert other.restore(backup).quarantined == 1
    assert set(other.states()) == {before.name}
    assert (other.storage.quarantine / late[0].name / "in/main.json").exists()


@pytest.mark.parametrize(("copied", "deleted"), [("file-scan.nii", "main.json"), ("main.json", "file-scan.nii")])
def test_a_ticket_that_is_deleted_while_it_is_copied_leaves_no_half_of_itself(
    copied, deleted, pair, place, monkeypatch
):
    whole, doomed = sorted((pair.submit() for _ in range(2)), key=lambda folder: folder.name)
    (doomed.inputs / "file-scan.nii").write_bytes(b"voxels")
    carry = files.carry

    def carry_and_delete(file, target):
        carry(file, target)
        if file == doomed.inputs / copied:
            (doomed.inputs / deleted).unlink()

    monkeypatch.setattr(MAKE, "carry", carry_and_delete)
    assert verify(pair.backup(place)).ticket_folders() == {whole.name}


def test_a_backup_is_for_its_owner_alone(pair, place):
    pair.submit()
    old = os.umask(0o022)
    try:
        backup = pair.backup(place)
    finally:
        os.umask(old)
    for path in (place, backup, *backup.rglob("*")):
        if path.is_dir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
        else:
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_files_are_linked_where_that_can_be_and_copied_elsewhere(pair, place, monkeypatch):
    folder = pair.submit()
    name = f"tickets/{folder.name}/in/main.json"
    assert (pair.backup(place) / name).samefile(folder.inputs / "main.json")

    def refuse(*_, **__):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    copied = pair.backup(place.with_name("elsewhere"))
    assert not (copied / name).samefile(folder.inputs / "main.json")
    assert verify(copied)


def test_a_damaged_backup_is_told_by_ticket_and_not_restored(pair, make_pair, place):
    folder = pair.submit()
    (folder.inputs / "file-Mustermann.nii").write_bytes(b"voxels")
    backup = pair.backup(place)
    damaged = backup / "tickets" / folder.name / "in/file-Mustermann.nii"
    damaged.unlink()
    damaged.write_bytes(b"voxelz")
    other = make_pair()
    for read in (verify, other.restore):
        with pytest.raises(
            BackupFailed, match=f"1 of 3 files are missing or damaged, in tickets/{folder.name}"
        ) as told:
            read(backup)
        assert "Mustermann" not in str(told.value)
    assert other.run("SELECT FROM pg_tables WHERE schemaname = 'public'") == []
    assert not other.storage.base.exists()
    (backup / "manifest.json").write_text((backup / "manifest.json").read_text()[:-9])
    with pytest.raises(BackupFailed, match="damaged"):
        verify(backup)
    (backup / "manifest.json").unlink()
    with pytest.raises(BackupFailed, match="no backup"):
        verify(backup)


@pytest.fixture
def open_place():
    """A folder that every user may enter."""
    made = Path(tempfile.mkdtemp(prefix="tomaat-backup-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def test_a_whole_backup_of_another_user_is_not_called_damaged(pair, open_place):
    backup = pair.backup(open_place)
    for readable in ((), (backup, backup / "manifest.json")):  # neither; then all but the dump
        for path in readable:
            path.chmod(0o755)
        with pytest.raises(BackupFailed, match=r"may not be read: .*must own them \(chown -R\)"):
            as_nobody(verify, backup)


def test_a_manifest_that_points_elsewhere_is_damaged(pair, place):
    backup = pair.backup(place)
    manifest = json.loads((backup / "manifest.json").read_text())
    for path in ("/etc/passwd", "tickets/../../x", "../x"):
        manifest["files"][path] = ["0", 1]
        (backup / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(BackupFailed, match=r"manifest\.json is damaged"):
            verify(backup)
        del manifest["files"][path]


def test_a_newer_schema_is_refused(pair, make_pair, place):
    pair.run("INSERT INTO schema_versions (version) VALUES (9999)")
    with pytest.raises(BackupFailed, match=r"schema's version 9999, this program knows up to \d+: restore it with"):
        make_pair().restore(pair.backup(place))


def test_an_older_schema_is_restored_over_an_empty_newer_one(pair, make_pair, place):
    pair.submit()
    pair.run("ALTER TABLE tickets DROP COLUMN waiting_since, DROP COLUMN lane, DROP COLUMN label, DROP COLUMN priority")
    worker = "ADD COLUMN worker_pid integer, ADD COLUMN worker_started bigint"
    pair.run(f"ALTER TABLE compute_sources DROP COLUMN lanes, {worker}")
    pair.run("ALTER TABLE api_keys DROP COLUMN priorities, DROP COLUMN weight")
    pair.run("DROP TABLE workers, shares")
    pair.run("DELETE FROM schema_versions WHERE version >= 15")
    backup = pair.backup(place)
    newer = make_pair().prepare()
    newer.run("CREATE TABLE of_tomorrow (id integer)")
    newer.run("CREATE FUNCTION of_tomorrow() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
    newer.restore(backup)
    assert len(newer.states()) == 1
    migrate(newer.database)
    assert not newer.run("SELECT FROM pg_class WHERE relname = 'of_tomorrow'")


def test_a_restore_refuses_while_a_door_lives(pair, make_pair, place):
    backup = pair.backup(place)
    target = make_pair().prepare()
    sources = SourceStore(target.database, lease_seconds=60)
    lease = sources.take("manager", this_process())
    with pytest.raises(BackupFailed, match=r"doors still run \(the holder of manager\)"):
        target.restore(backup, replace=True)
    sources.release(lease)
    sources.take("manager", this_process()[:-1])  # a process of this machine that is gone
    door = connect(target.url, deadline_seconds=10)
    with door.connect(), pytest.raises(BackupFailed, match=r"doors still run \(a door that is connected\)"):
        target.restore(backup, replace=True)
    door.dispose()
    deadline = time.monotonic() + 5
    while target.run("SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"):
        assert time.monotonic() < deadline
    target.restore(backup)


def test_a_door_that_comes_at_the_last_moment_changes_nothing(pair, make_pair, place, monkeypatch):
    backup = pair.backup(place)
    target = make_pair()
    door = connect(target.url, deadline_seconds=10)
    monkeypatch.setattr("tomaat.tickets.backup_store.BackupStore.living", lambda _: [])
    with door.connect(), pytest.raises(ClientFailed, match="a door uses this database: stop it first"):
        target.restore(backup)
    door.dispose()
    assert target.run("SELECT FROM pg_tables WHERE schemaname = 'public'") == []
    assert not list(target.storage.base.iterdir())


def test_what_is_there_is_given_up_only_when_told(pair, make_pair, place):
    pair.submit()
    backup = pair.backup(place)
    target = make_pair().prepare()
    own = target.submit()
    with pytest.raises(BackupFailed, match="database is not empty"):
        target.restore(backup)
    elsewhere = make_pair()
    elsewhere.storage = target.storage
    with pytest.raises(BackupFailed, match="holds tickets' files"):
        elsewhere.restore(backup)
    restored = target.restore(backup, replace=True)
    assert (restored.aside / "tickets" / own.name / "in/main.json").exists()
    assert [path.name for path in target.storage.tickets.iterdir()] == list(target.states())


def test_a_restore_that_fails_changes_nothing(pair, make_pair, place, monkeypatch):
    pair.submit()
    backup = pair.backup(place)
    target = make_pair().prepare()
    own = target.submit()
    (backup / "database.dump").write_bytes((backup / "database.dump").read_bytes()[:-2000])
    manifest = json.loads((backup / "manifest.json").read_text())
    manifest["files"]["database.dump"] = sha256_of(backup / "database.dump")
    (backup / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ClientFailed, match="nothing was changed"):
        target.restore(backup, replace=True)
    assert list(target.states()) == [own.name]
    assert (own.inputs / "main.json").exists()
    assert not (target.storage.base / "restoring").exists()


def test_an_administrators_extension_is_left_to_the_administrator(pair, make_pair, place):
    """The role that restores owns its database, and may make no extension, nor comment on one."""
    (extension,) = pair.run("SELECT name FROM pg_available_extensions WHERE name <> 'plpgsql' ORDER BY name LIMIT 1")
    extend = f"CREATE SCHEMA of_the_administrator; CREATE EXTENSION {extension.name} SCHEMA of_the_administrator"
    pair.run(extend)
    pair.run("CREATE ROLE plain LOGIN PASSWORD 'plain'")
    folder = pair.submit()
    backup = pair.backup(place)
    for extended in (False, True):
        target = make_pair()
        url = sqlalchemy.make_url(target.url)
        target.run(f"ALTER DATABASE {url.database} OWNER TO plain")
        if extended:
            target.run(extend)
        target.database.dispose()
        target.url = url.set(username="plain", password="plain").render_as_string(hide_password=False)
        target.database = connect(target.url, deadline_seconds=10, pool_size=1)
        target.restore(backup)
        assert list(target.states()) == [folder.name]
        target.restore(backup, replace=True)


def test_nothing_is_kept_of_a_dump_whose_reader_dies_between_two_statements(pair, tmp_path):
    real, _ = find_clients(programs.server_major(pair.database))
    (tmp_path / "psql").symlink_to(real / "psql")
    (tmp_path / "pg_restore").write_text(
        "#!/bin/sh\necho 'CREATE TABLE half (id integer); -- TABLE public schema_versions me'\nexit 1\n"
    )
    (tmp_path / "pg_restore").chmod(0o700)
    with pytest.raises(ClientFailed, match="nothing was changed"):
        programs.load(tmp_path, pair.url, tmp_path / "dump", before="", after=[])
    assert pair.run("SELECT to_regclass('half') AS half")[0].half is None


@pytest.mark.parametrize("over_itself", [False, True])
def test_a_restore_that_died_between_its_halves_is_done_again(over_itself, pair, make_pair, place, monkeypatch):
    folder = pair.submit()
    backup = pair.backup(place)
    target = pair if over_itself else make_pair()

    def die(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(RESTORE, "_put_in_place", die)
    with pytest.raises(BackupFailed, match=r"not in place .*: do it again with --replace"):
        target.restore(backup, replace=over_itself)
    with pytest.raises(ForeignStorage, match="half of a restored backup: restore it again with --replace"):
        bind_storage(target.database, target.storage)
    monkeypatch.undo()
    target.restore(backup, replace=True)
    bind_storage(target.database, target.storage)
    assert (target.storage.folder_of(folder.name).inputs / "main.json").exists()
    assert not (target.storage.base / "restoring").exists()


def test_a_restore_is_done_when_its_files_are_in_place_whatever_becomes_of_the_database(
    pair, make_pair, place, monkeypatch
):
    pair.submit()
    target = make_pair()
    put_in_place = RESTORE._put_in_place

    def lose_the_database(*_):
        raise DatabaseUnavailable("gone")

    def put_and_lose(*folders):
        monkeypatch.setattr("tomaat.tickets.backup_store.run", lose_the_database)
        return put_in_place(*folders)

    monkeypatch.setattr(RESTORE, "_put_in_place", put_and_lose)
    assert target.restore(pair.backup(place)).tickets == {"submitted": 1}


def test_a_full_disk_is_told_and_leaves_nothing(pair, tmp_path):
    folder = pair.submit()
    (folder.inputs / "file-scan.nii").write_bytes(bytes(8 * 1024**2))
    try:
        with small_disk(4) as place:
            with pytest.raises(
                BackupFailed, match="is full: make room there, or choose another place; nothing was kept"
            ):
                pair.backup(place / "backups")
            assert left_in(place / "backups") == []
            fill(place)
            with pytest.raises(BackupFailed, match="is full"):
                pair.backup(place / "backups")
    except PermissionError as error:
        pytest.skip(str(error))


def test_the_side_that_cannot_be_read_or_written_is_named_and_never_a_file(pair, place, monkeypatch, capsys):
    base = pair.storage.base
    (pair.submit().inputs / "file-Mustermann.nii").touch()

    def fail(file, _):
        raise OSError(5, "Input/output error", str(file))

    with monkeypatch.context() as patch:
        patch.setattr(MAKE, "carry", fail)
        with pytest.raises(BackupFailed, match=f"^{base}: Input/output error; nothing was kept.$"):
            pair.backup(place)
    place.rmdir()
    place.touch()
    with pytest.raises(BackupFailed, match=f"^{place}: File exists; nothing was kept.$"):
        pair.backup(place)
    (base / "instance").unlink()
    (base / "instance").mkdir()
    making = program.parse(["make", str(place)])
    assert program.work(making, Settings(DATABASE_URL=pair.url, BASE_STORAGE_DIR=base)) == 1
    assert capsys.readouterr().err == f"{base}: Is a directory.\n"


def test_a_backup_that_was_killed_leaves_nothing_that_looks_whole(pair, place):
    for number in (signal.SIGKILL, signal.SIGTERM):
        program = (
            "import sys, time; from tomaat.backup import __main__ as main\n"
            "def halt(folder): print('ready', flush=True), time.sleep(60)\n"
            "sys.modules['tomaat.backup.make'].flush_tree = halt\n"
            f"sys.exit(main.main(['make', {str(place)!r}]))"
        )
        maker = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=REPOSITORY,
            env=os.environ | {"TOMAAT_DATABASE_URL": pair.url, "TOMAAT_BASE_STORAGE_DIR": str(pair.storage.base)},
            stdout=subprocess.PIPE,
        )
        assert maker.stdout.readline() == b"ready\n"
        maker.send_signal(number)
        maker.wait(20)
        maker.stdout.close()
        left = left_in(place)
        assert [name for name in left if not name.startswith(".making-")] == []
        assert len(left) == (number == signal.SIGKILL), "what can clean up does"
        if left:
            with pytest.raises(BackupFailed, match="no backup"):
                verify(place / left[0])
    assert left_in(place) == [], "the next maker removed what the killed one left"


def test_the_newest_are_kept_and_nothing_else_is_touched(place):
    names = [f"2026-11-{day:02}T03-00-00Z" for day in range(1, 6)]
    for name in (*names, "mine", "2026-11-01T03-00-00Z.old"):
        (place / name).mkdir(parents=True)
    assert keep_newest(place, 2) == names[:3]
    assert sorted(left_in(place)) == ["2026-11-01T03-00-00Z.old", *names[3:], "mine"]


@pytest.mark.parametrize("password", [None, "pa/ss", "50%off"])
def test_the_password_is_on_no_command_line(password, pair, place, monkeypatch):
    known = sqlalchemy.make_url(pair.url)
    if password:  # in the URL as it is
        pair.run(f"CREATE ROLE slashed SUPERUSER LOGIN PASSWORD '{password}'")
        pair.url = pair.url.replace(f"{known.username}:{known.password}@", f"slashed:{password}@")
    called = []
    popen = subprocess.Popen

    def note(command, **options):
        called.append((command, options.get("env") or {}))
        return popen(command, **options)

    monkeypatch.setattr(programs.subprocess, "Popen", note)
    pair.backup(place)
    if password:
        pair.run("DROP ROLE slashed")
    password = password or known.password
    dumping = [(command, environment) for command, environment in called if "--format=custom" in command]
    assert len(dumping) == 1
    assert password not in str([command for command, _ in called])
    assert dumping[0][1]["PGPASSWORD"] == password


def test_programs_of_the_servers_version_are_taken_else_newer_ones_and_never_older_ones(monkeypatch):
    here = {Path("/15"): 15, Path("/16"): 16, Path("/18"): 18}
    monkeypatch.setattr(programs, "_folders", lambda: here)
    monkeypatch.setattr(programs, "_major", here.get)
    assert find_clients(16) == (Path("/16"), 16)
    assert find_clients(17) == (Path("/18"), 18)
    assert find_clients(15, 16) == (Path("/16"), 16), "what wrote the dump must be understood as well"
    with pytest.raises(ClientFailed, match=r"PostgreSQL 19 needs .* here is 15 and 16 and 18: install .*client-19"):
        find_clients(19)


def test_a_pair_that_does_not_belong_together_is_not_backed_up(pair, make_pair, place):
    other = make_pair().prepare()
    with pytest.raises(BackupFailed, match="does not belong to the database"):
        make(place, pair.database, pair.url, other.storage)
    empty = make_pair()
    with pytest.raises(BackupFailed, match="database is empty"):
        empty.backup(place)
    assert left_in(place) == []
