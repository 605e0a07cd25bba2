import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy

from tomaat.postgres.account import PrivatePostgresFailed
from tomaat.postgres.postmaster import postmasters_of
from tomaat.postgres.private_postgres import PrivatePostgres

REPOSITORY = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow  # each makes a server of its own
LAUNCHER = """
import sys, time
from pathlib import Path
from tomaat.postgres.private_postgres import PrivatePostgres
server = PrivatePostgres(Path(sys.argv[1]))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home in a folder that only its owner may enter, as pytest's are."""
    yield tmp_path / "postgres"
    remove(tmp_path / "postgres")


@pytest.fixture
def open_home() -> Iterator[Path]:
    """A home that every account may reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder / "postgres"
    remove(folder / "postgres")
    shutil.rmtree(folder)


def remove(home: Path) -> None:
    if home.exists():
        until(lambda: not postmasters_of(PrivatePostgres(home).data))
        PrivatePostgres(home).remove()


@contextlib.contextmanager
def running(home: Path) -> Iterator[PrivatePostgres]:
    server = PrivatePostgres(home)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def launcher(home: Path) -> Iterator[subprocess.Popen]:
    """A server started by a process of its own, which the test may kill."""
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(home)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline()
        while not line.strip().isdecimal():
            assert line, "the launcher ended"
            line = process.stdout.readline()
        process.postgres_pid = int(line)
        try:
            yield process
        finally:
            process.kill()


def until(true, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def query(server: PrivatePostgres, sql: str) -> object:
    database = sqlalchemy.create_engine(server.url, isolation_level="AUTOCOMMIT")
    try:
        with database.connect() as connection:
            result = connection.execute(sqlalchemy.text(sql))
            return result.scalar() if result.returns_rows else None
    finally:
        database.dispose()


def stale_pid_file(server: PrivatePostgres, pid: int) -> None:
    """Leave what a server of a machine that lost its power left, with a pid that somebody else has now."""
    text = f"{pid}\n{server.data}\n1700000000\n5432\n{server.socket}\n\n  1 2\nready\n"
    for path in (server.data / "postmaster.pid", Path(server.socket) / ".s.PGSQL.5432.lock"):
        path.write_text(text)
        path.chmod(0o600)
        os.chown(path, server.data.stat().st_uid, server.data.stat().st_gid)


def test_what_was_written_is_there_after_a_stop_and_a_start(home):
    with running(home) as server:
        query(server, "CREATE TABLE kept AS SELECT 7 AS n")
    assert not server.alive()
    assert postmasters_of(server.data) == []
    with running(home) as again:
        assert query(again, "SELECT n FROM kept") == 7


def test_the_server_is_configured_for_tickets(home):
    with running(home) as server:
        for name, value in {
            "fsync": "on",
            "synchronous_commit": "on",
            "TimeZone": "UTC",
            "server_encoding": "UTF8",
            "lc_collate": "C",
            "listen_addresses": "",
            "max_connections": "100",
        }.items():
            if name != "lc_collate":
                assert query(server, f"SHOW {name}") == value
        assert query(server, "SELECT datcollate FROM pg_database WHERE datname = current_database()") == "C"
        assert query(server, "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'") == 0


def test_nobody_connects_without_the_password(home):
    with running(home) as server, pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(host=server.socket, user="tomaat", dbname="tomaat", password="guess")


def test_password_and_data_are_their_owners_alone(home):
    with running(home) as server:
        password = home / "password"
        assert (password.stat().st_mode & 0o777, password.stat().st_uid) == (0o600, os.geteuid())
        assert server.data.stat().st_mode & 0o777 == 0o700
        assert server.log_file.stat().st_mode & 0o777 == 0o600
        assert password.read_text() not in server.log_file.read_text()


@pytest.mark.parametrize("place", ["home", "open_home"])
def test_root_is_dropped_and_an_ordinary_user_stays_who_he_is(place, request):
    folder = request.getfixturevalue(place)
    parent_mode = folder.parent.stat().st_mode
    with running(folder) as server:
        status = Path(f"/proc/{server.pid}/status").read_text()
        uids = {int(uid) for uid in status.split("Uid:")[1].splitlines()[0].split()}
        groups = status.split("Groups:")[1].splitlines()[0].split()
        if os.geteuid() == 0:
            assert 0 not in uids
            assert groups == []
            assert server.data.is_relative_to(folder) == (place == "open_home")
        else:
            assert uids == {os.geteuid()}
            assert server.data.is_relative_to(folder)
    assert folder.parent.stat().st_mode == parent_mode


def test_a_home_with_a_long_and_odd_path_works(open_home):
    folder = open_home / ("long name, " * 8) / ("Häuser'" * 8)
    with running(folder) as server:
        assert server.socket.startswith("@")
        assert query(server, "SELECT current_database()") == "tomaat"
        url = server.url.replace("+psycopg2", "")
        psycopg2.connect(url).close()  # libpq reads the same URL
    PrivatePostgres(folder).remove()
    assert not folder.exists()


def test_the_server_ends_with_a_killed_launcher(home):
    with launcher(home) as process:
        data = PrivatePostgres(home).data
        assert postmasters_of(data) == [process.postgres_pid]
        process.kill()
        until(lambda: not postmasters_of(data), seconds=10)
    assert "received fast shutdown request" in (home / "postgres.log").read_text()


def test_a_new_launcher_waits_for_the_dying_server_of_a_killed_one(home):
    with launcher(home) as process:
        os.kill(process.postgres_pid, signal.SIGSTOP)  # so slow to die
        process.kill()
        process.wait()
        waker = subprocess.Popen(["sh", "-c", f"sleep 1.5; kill -CONT {process.postgres_pid}"])
        started = time.monotonic()
        with running(home) as server:
            assert time.monotonic() - started > 1.2
            assert server.pid != process.postgres_pid
            assert query(server, "SELECT 1") == 1
        waker.wait()


def test_a_second_launcher_is_refused_while_the_first_one_runs(home, monkeypatch):
    monkeypatch.setattr("tomaat.postgres.private_postgres.PREDECESSOR_SECONDS", 0.5)
    with running(home) as server:
        second = PrivatePostgres(home)
        with pytest.raises(PrivatePostgresFailed, match=rf"process {server.pid}\) runs on .*stop the program"):
            second.start()
        assert not second.alive()
        assert query(server, "SELECT 1") == 1


def test_a_server_killed_with_all_it_had_in_memory_recovers(home):
    with running(home) as server:
        query(server, "CREATE TABLE kept AS SELECT 7 AS n")
        os.kill(server.pid, signal.SIGKILL)
        until(lambda: not server.alive())
        before = server.url
        assert server.start() == before
        assert query(server, "SELECT n FROM kept") == 7


def test_the_last_words_of_a_server_are_heard_however_early_they_come(home, monkeypatch):
    """What it wrote before its launcher went on is its own, too."""
    with running(home) as server:
        pass
    (server.data / "postgresql.conf").write_text("nonsense = 1\n")
    popen = subprocess.Popen

    def slow(*arguments, **options):
        process = popen(*arguments, **options)
        process.wait()
        return process

    monkeypatch.setattr(subprocess, "Popen", slow)
    with pytest.raises(PrivatePostgresFailed, match=r"nonsense|configuration file"):
        server.start()


@pytest.mark.parametrize("kind", ["living stranger", "zombie", "empty file"])
def test_a_stale_pid_file_confuses_nobody(open_home, kind):
    with running(open_home) as server:
        pass
    account = {"user": server.data.stat().st_uid, "group": server.data.stat().st_gid} if os.geteuid() == 0 else {}
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, cwd="/", **account) as stranger:
        if kind == "zombie":
            stranger.stdin.close()
            os.waitid(os.P_PID, stranger.pid, os.WEXITED | os.WNOWAIT)
        stale_pid_file(server, stranger.pid)
        if kind == "empty file":
            (server.data / "postmaster.pid").write_text("")
        with running(open_home) as again:
            assert query(again, "SELECT 1") == 1


def test_an_initdb_killed_half_way_is_done_again(open_home):
    with subprocess.Popen([sys.executable, "-c", LAUNCHER, str(open_home)], cwd=REPOSITORY) as process:
        until(lambda: list(open_home.glob("initdb-*/data/base")))
        process.kill()
    assert not (open_home / "data").exists()
    with running(open_home) as server:
        assert query(server, "SELECT 1") == 1
    assert not list(open_home.glob("initdb-*"))


def test_two_launchers_on_an_empty_home_make_one_server(home):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(home)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        until(lambda: any(process.poll() is not None for process in processes), seconds=60)
        loser = next(process for process in processes if process.poll() is not None)
        assert "Another PostgreSQL" in loser.communicate()[1]
        assert len(postmasters_of(PrivatePostgres(home).data)) == 1
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_refusals_of_clients_are_nobodys_last_words(home):
    """Two servers that start at once on one home write into one log; the winner refuses clients until it is ready."""
    server = PrivatePostgres(home)
    home.mkdir()
    words = ['FATAL:  lock file "postmaster.pid" already exists', "FATAL:  the database system is starting up"]
    server.log_file.write_text("an older line\n" + "\n".join(words) + "\n")
    assert server._last_words(14) == words[0]


def test_a_server_that_cannot_start_says_its_own_last_words(home):
    with running(home) as server:
        pass
    with (server.data / "postgresql.conf").open("a") as file:
        file.write("no_such_setting = 1\n")
    with pytest.raises(PrivatePostgresFailed, match="contains errors"):
        server.start()
    assert not server.alive()
