"""What the examples and the API's description promise, tried against the real service."""

import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import requests
from openapi_spec_validator import validate

from tests.needs import need

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples"
NEWMAN = "newman@6.2.1"


def test_the_curl_walk_through_ends_with_the_sum(service):
    need("curl")
    done = subprocess.run(
        [EXAMPLES / "curl-walkthrough.sh"],
        env={**os.environ, "TOMAAT_URL": service.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "label: A first sum, state: succeeded" in done.stdout
    assert "result: 6.5" in done.stdout


def test_newman_runs_the_postman_collection(service):
    need("node", "npm")
    folder = REPOSITORY / ".cache/newman"
    if not (folder / "node_modules/.bin/newman").exists():
        subprocess.run(
            ["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", NEWMAN], check=True, capture_output=True
        )
    done = subprocess.run(
        [
            folder / "node_modules/.bin/newman",
            "run",
            "tomaat.postman_collection.json",
            "--working-dir",
            EXAMPLES,
            "--env-var",
            f"baseUrl={service.url}",
        ],
        cwd=EXAMPLES,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_description_is_valid_openapi_and_names_the_services(service):
    described = requests.get(f"{service.url}/openapi.json", timeout=10).json()
    validate(described)
    assert described["openapi"] == "3.1.0"
    schema = described["components"]["schemas"]["main.json.FloatComputation"]["properties"]["inputs"]
    assert schema["required"] == ["f1", "f2"]
    assert schema["properties"]["op"]["enum"] == ["add", "multiply"]
    schema = described["components"]["schemas"]["main.json.GaussianSmoothing"]["properties"]["inputs"]
    assert "volume" not in schema["required"]
    assert schema["properties"]["volume"]["properties"].keys() == {"series", "volume", "form"}
    form = described["components"]["schemas"]["form.GaussianSmoothing"]
    assert {"service", "volume"} <= set(form["required"])
    assert form["additionalProperties"] is False
    assert {"volume", "volume.series", "sigma", "outputs.format"} <= form["properties"].keys()
    examples = described["paths"]["/request"]["post"]["requestBody"]["content"]["multipart/form-data"]["examples"]
    assert examples["GaussianSmoothing"]["value"]["volume"] == ["@phantom_head.nii.gz"]
    for name, example in examples.items():
        jsonschema.validate(example["value"], described["components"]["schemas"][f"form.{name}"])


@pytest.mark.slow
def test_schemathesis_finds_no_answer_that_the_description_does_not_know(service, tmp_path):
    done = subprocess.run(
        [
            Path(sys.executable).parent / "schemathesis",
            "run",
            f"{service.url}/openapi.json",
            "--checks=not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
            "--max-examples=12",
            "--seed=1",
            "--suppress-health-check=all",
            "--request-timeout=70",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-6000:]
