"""The description of the API, held against the API itself by programs that read nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from openapi_spec_validator import validate

from tests.web_server import Server
from tomaat.tickets.states import SUBMITTED

REPOSITORY = Path(__file__).resolve().parents[2]
CONDITIONS = """
[checks.positive_data_acceptance]  # no faults of the request: conditions that do not hold, a key without the right
expected-statuses = ["2xx", "3xx", "403", "404", "409", "410", "412", "416"]

[auth.openapi.key]
api_key = "key-of-anna"
"""
HOOKS = "tests.integration.web_schemathesis_hooks"


@pytest.fixture
def web(tmp_path):
    server = Server(tmp_path, threads=8)
    server.store.services = server.store.services[:1]  # the one that the payloads are for
    server.api.longest_wait_seconds = 0.5
    server.keys.make("anna", operator=True)
    submit = server.store.submit

    def submit_and_succeed(submission):
        """Let every other ticket succeed, as soon as its client has it."""
        ticket = submit(submission)
        if ticket.id % 2 and ticket.state == SUBMITTED:
            server.succeed({"id": ticket.id})
        return ticket

    server.store.submit = submit_and_succeed
    yield server
    server.stop()


def test_the_description_is_valid_openapi(web):
    validate(web.get("/openapi.json").json())


@pytest.mark.slow
def test_schemathesis_finds_no_difference_between_the_api_and_its_description(web, tmp_path):
    (tmp_path / "schemathesis.toml").write_text(CONDITIONS)
    run = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{web.url}/openapi.json"),
            *("--phases", "examples,coverage,fuzzing,stateful", "--checks", "all", "--max-examples", "15"),
            *("--seed", "1", "--warnings", "off", "--generation-database", "none"),
        ],
        cwd=tmp_path,
        env=os.environ | {"SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-10_000:] + run.stderr[-2_000:]
