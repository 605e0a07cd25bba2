"""Everything is lost, and comes back from a backup that was made while the service answered."""

import contextlib
import shutil
import subprocess
import sys
import threading
import time

import pytest
import requests
import sqlalchemy

from tests.acceptance.test_access import keys
from tests.service import REPOSITORY
from tomaat.database import connect


def backup(instance, *arguments):
    """Run the program that makes and restores backups."""
    return subprocess.run(
        [sys.executable, "-m", "tomaat.backup", *map(str, arguments)],
        cwd=REPOSITORY,
        env=instance.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def archive(instance, ticket, **headers):
    answer = requests.get(f"{instance.url}{ticket['links']['result']}", headers=headers, timeout=60)
    assert answer.status_code in {200, 206}, answer.text
    return answer.content


@contextlib.contextmanager
def traffic(instance):
    """Submit tickets one after the other beside the block; gives each with the moment at which it was answered."""
    answered = []
    over = threading.Event()

    def submit():
        while not over.is_set():
            answered.append((instance.submit("FloatComputation", {"f1": len(answered), "f2": 1}), time.monotonic()))

    thread = threading.Thread(target=submit)
    thread.start()
    try:
        yield answered
    finally:
        over.set()
        thread.join(30)


def lose_everything(instance):
    """Kill all doors, drop the database, remove the folder."""
    for door in instance.doors:
        instance.kill(door)
    url = sqlalchemy.make_url(instance.database_url)
    admin = connect(url.set(database="postgres").render_as_string(hide_password=False), deadline_seconds=30)
    with admin.connect() as connection:
        connection.execute(sqlalchemy.text(f"DROP DATABASE {url.database} WITH (FORCE)"))
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {url.database}"))
    admin.dispose()
    shutil.rmtree(instance.folder / "storage")


@pytest.fixture
def instance(own_service):
    made = own_service()
    made.start()
    made.wait_until_ready()
    return made


def test_all_is_lost_and_all_that_was_answered_before_the_backup_comes_back(instance, tmp_path):
    place = tmp_path / "backups"
    assert keys(instance, "make", "radiology").returncode == 0
    succeeded = instance.submit("FloatComputation", {"f1": 20, "f2": 22})
    failed = instance.submit("Dummy", {"seconds": 0, "kind": "refuse"})
    deleted = instance.submit("FloatComputation", {"f1": 1, "f2": 1})
    for ticket in (succeeded, failed, deleted):
        instance.wait(ticket)
    result = archive(instance, succeeded)
    requests.delete(f"{instance.url}{deleted['links']['cancel']}", timeout=30)
    instance.until(lambda: instance.status(deleted)["state"] == "expired")
    running = instance.submit("Dummy", {"seconds": 20})
    instance.until(lambda: instance.status(running)["state"] == "running")
    waiting = instance.submit("Dummy", {"seconds": 0})
    cancelled = instance.submit("Dummy", {"seconds": 0})
    assert requests.delete(f"{instance.url}{cancelled['links']['cancel']}", timeout=30).ok

    with traffic(instance) as answered:
        instance.until(lambda: len(answered) > 2)
        began = time.monotonic()
        made = backup(instance, "make", place, "--keep", "1")
        assert made.returncode == 0, made.stderr
        ended = len(answered)
        instance.until(lambda: len(answered) > ended + 2)
    (folder,) = place.iterdir()
    assert f"{folder}: whole" in made.stdout
    before = [ticket for ticket, at in answered if at < began]
    refused = backup(instance, "restore", folder)
    assert (refused.returncode, "The doors still run" in refused.stderr) == (1, True), refused.stderr

    lose_everything(instance)
    restored = backup(instance, "restore", folder)
    assert restored.returncode == 0, restored.stderr
    assert "revoke API keys again" in restored.stdout
    instance.start()
    instance.wait_until_ready()
    assert archive(instance, succeeded) == result
    assert archive(instance, succeeded, Range="bytes=10-19") == result[10:20]
    assert instance.status(failed)["state"] == "failed"
    assert instance.status(deleted)["state"] == "expired"
    assert instance.status(cancelled)["state"] == "cancelled"
    for ticket in (running, waiting, *before):
        assert instance.wait(ticket, 90)["state"] == "succeeded"
        assert instance.result(ticket)
    rows = instance.rows("SELECT id, attempts, claim FROM tickets WHERE id = :id", id=running["id"])
    assert (rows[0].attempts, rows[0].claim) == (0, 2), "it ran again, and no attempt was spent"
    assert "radiology" in keys(instance, "list").stdout
    trail = instance.rows("SELECT what FROM audit WHERE ticket = :id ORDER BY id", id=succeeded["id"])
    assert [row.what for row in trail][:2] == ["submit", "read result"]
    assert instance.wait(instance.submit("FloatComputation", {"f1": 1, "f2": 2}))["state"] == "succeeded"
    tokens = [ticket["token"] for ticket, _ in answered]
    assert not [token for token in tokens if token in (folder / "manifest.json").read_text()]


def test_a_database_that_is_lost_alone_is_told_how_to_be_made(own_service):
    instance = own_service()
    url = sqlalchemy.make_url(instance.database_url).set(database="nowhere")
    instance.environment["TOMAAT_DATABASE_URL"] = url.render_as_string(hide_password=False)
    told = backup(instance, "make", instance.folder / "backups")
    assert told.returncode == 1
    assert "CREATE DATABASE nowhere OWNER" in told.stderr
    assert url.password not in told.stderr
