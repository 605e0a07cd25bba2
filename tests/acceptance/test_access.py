"""API keys and repeated requests on the whole service."""

import subprocess
import sys

import requests
import sqlalchemy

from tests.service import REPOSITORY, payload

DATA = payload({"f1": 1, "f2": 2})


def keys(instance, *arguments):
    """Run the program that makes keys."""
    return subprocess.run(
        [sys.executable, "-m", "tomaat.access", *arguments],
        cwd=REPOSITORY,
        env=instance.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def post(instance, **headers):
    return requests.post(
        f"{instance.url}/request",
        data={"service": "FloatComputation"},
        files={"payload": ("p.tar.gz", DATA)},
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        timeout=30,
    )


def test_nobody_listens_beyond_loopback_without_keys(own_service):
    instance = own_service(HOST="0.0.0.0")
    instance.start("WebService.py")
    assert instance.doors["WebService.py"].wait(30) == 2
    log = instance.log("WebService.py")
    assert "requests need an API key, and there is none" in log
    assert "TOMAAT_API_KEYS=never" in log
    assert keys(instance, "make", "radiology").returncode == 0
    instance.start("WebService.py")
    instance.until(lambda: post(instance).status_code == 401)


def test_a_key_is_made_used_listed_and_revoked(own_service):
    instance = own_service(API_KEYS="always")
    made = keys(instance, "make", "radiology", "--service", "FloatComputation")
    assert made.returncode == 0, made.stderr
    assert "was ever offered" in made.stderr, "no door has run yet"
    key = made.stdout.splitlines()[0]
    instance.start()
    instance.wait_until_ready()
    assert post(instance).status_code == 401
    answer = post(instance, X_API_Key=key)
    assert answer.status_code == 202, answer.text
    ticket = answer.json()
    assert instance.wait(ticket)["state"] == "succeeded"
    assert "was ever offered" not in keys(instance, "make", "another", "--service", "FloatComputation").stderr
    assert "radiology: FloatComputation, made 20" in keys(instance, "list").stdout
    assert keys(instance, "make", "radiology").returncode == 1
    assert keys(instance, "make", "a b").returncode == 2
    changed = keys(instance, "change", "radiology", "--priority", "urgent", "--priority", "normal", "--weight", "2")
    assert "radiology: FloatComputation, urgent or normal, weight 2, made 20" in changed.stdout
    assert keys(instance, "change", "nobody", "--weight", "2").returncode == 1
    assert keys(instance, "make", "heavy", "--weight", "0").returncode == 2
    revoked = keys(instance, "revoke", "radiology")
    assert (revoked.returncode, revoked.stdout) == (0, "radiology is revoked.\n")
    assert keys(instance, "revoke", "radiology").returncode == 1
    assert post(instance, X_API_Key=key).status_code == 401
    assert key not in "".join(instance.log(door) for door in instance.doors)


def test_whoever_only_lists_or_revokes_keys_changes_no_schema(own_service):
    instance = own_service()
    for words in (("list",), ("revoke", "radiology")):
        told = keys(instance, *words)
        assert told.returncode == 1
        assert told.stderr.startswith('relation "api_keys" does not exist'), told.stderr
        assert "The door that starts next makes the tables" in told.stderr
    assert instance.rows("SELECT to_regclass('schema_versions') AS made")[0].made is None
    assert keys(instance, "make", "radiology").returncode == 0
    instance.rows("INSERT INTO schema_versions VALUES (9999)")
    assert "radiology" in keys(instance, "list").stdout
    told = keys(instance, "make", "other")
    assert (told.returncode, "Traceback" in told.stderr) == (1, False)
    assert "schema is version 9999, this program knows up to" in told.stderr


def test_a_database_that_makes_no_keys_is_told_how_to_mend(own_service):
    instance = own_service()
    url = sqlalchemy.make_url(instance.database_url)
    instance.rows("CREATE ROLE keyless LOGIN PASSWORD 'keyless'")
    instance.rows("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    for changes, says, mend in (
        ({"database": "nowhere"}, 'database "nowhere" does not exist', "CREATE DATABASE nowhere"),
        ({"username": "keyless", "password": "keyless"}, "permission denied for schema public", "OWNER TO"),
    ):
        instance.environment["TOMAAT_DATABASE_URL"] = url.set(**changes).render_as_string(hide_password=False)
        told = keys(instance, "make", "radiology")
        assert (told.returncode, "Traceback" in told.stderr) == (1, False), told.stderr
        assert says in told.stderr
        assert mend in told.stderr
        assert url.password not in told.stderr


def test_a_key_for_a_service_that_was_never_offered_is_made_with_a_note(own_service):
    made = keys(own_service(), "make", "radiology", "--service", "FloatComputatoin")
    assert made.returncode == 0
    assert "no service FloatComputatoin was ever offered; those that were: none yet" in made.stderr


def test_a_request_that_is_repeated_runs_once(own_service):
    instance = own_service()
    instance.start()
    instance.wait_until_ready()
    first, second = (post(instance, Idempotency_Key="once").json() for _ in range(2))
    assert first["id"] == second["id"]
    for ticket in (first, second):
        assert instance.wait(ticket)["state"] == "succeeded"
        assert instance.result(ticket)
    assert instance.rows("SELECT count(*) AS n FROM tickets")[0].n == 1
