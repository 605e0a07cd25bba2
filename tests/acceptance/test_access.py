"""API keys and repeated requests on the whole service."""

import subprocess
import sys

import requests

from tests.service import REPOSITORY, payload

DATA = payload({"f1": 1, "f2": 2})


def keys(instance, *arguments):
    """Run the program that makes keys."""
    return subprocess.run(
        [sys.executable, "-m", "tomaat.keys", *arguments],
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
    key = made.stdout.splitlines()[0]
    instance.start()
    instance.wait_until_ready()
    assert post(instance).status_code == 401
    answer = post(instance, X_API_Key=key)
    assert answer.status_code == 202, answer.text
    ticket = answer.json()
    assert instance.wait(ticket)["state"] == "succeeded"
    assert "radiology: FloatComputation, made 20" in keys(instance, "list").stdout
    assert keys(instance, "make", "radiology").returncode == 1
    assert keys(instance, "make", "a b").returncode == 2
    assert keys(instance, "revoke", "radiology").returncode == 0
    assert keys(instance, "revoke", "radiology").returncode == 1
    assert post(instance, X_API_Key=key).status_code == 401
    assert key not in "".join(instance.log(door) for door in instance.doors)


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
