import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tomaat.archives import ArchiveLimits
from tomaat.headers.dicom_files import MOST_IMAGES
from TOMAATSettings import Settings, read_settings


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in [name for name in os.environ if name.startswith("TOMAAT_")]:
        monkeypatch.delenv(name)


def test_the_defaults_are_the_seeds():
    settings = read_settings()
    assert settings.PORT == 5000
    assert settings.DATABASE_URL == "postgresql://tomaat-user:tomaat-password@localhost:5432/tomaat"
    assert not settings.database_given


def test_a_variable_sets_a_value(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOMAAT_PORT", "5001")
    monkeypatch.setenv("TOMAAT_BASE_STORAGE_DIR", "here")
    monkeypatch.setenv("TOMAAT_COMPUTE_SOURCES", '{"cpu-0": null, "cpu-1": ["Dummy"]}')
    monkeypatch.setenv("TOMAAT_DATABASE_URL", "postgresql:///x")
    monkeypatch.setenv("TOMAAT_URL", "http://a.client/uses/this")
    monkeypatch.setenv("TOMAAT_KEY", "and this")
    settings = read_settings()
    assert settings.PORT == 5001
    assert tmp_path / "here" == settings.BASE_STORAGE_DIR
    assert settings.COMPUTE_SOURCES == {"cpu-0": None, "cpu-1": ["Dummy"]}
    assert settings.database_given


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "0", "TOMAAT_PORT: '0' is less than 1."),
        ("PORT", "65536", "TOMAAT_PORT: '65536' is more than 65535."),
        ("WEB_PROCESSES", "0", "TOMAAT_WEB_PROCESSES: '0' is less than 1."),
        ("WEB_PROCESSES", "17", "TOMAAT_WEB_PROCESSES: '17' is more than 16."),
        ("PORT", "many", "TOMAAT_PORT: 'many' is no whole number."),
        ("PORT", "1.5", "TOMAAT_PORT: '1.5' is no whole number."),
        ("PORT", "9" * 5000, "999' is no whole number that fits."),
        ("RETENTION_HOURS", "never", "TOMAAT_RETENTION_HOURS: 'never' is no number."),
        ("RETENTION_HOURS", "0", "TOMAAT_RETENTION_HOURS: '0' is not more than 0."),
        ("RETENTION_HOURS", "1e12", "TOMAAT_RETENTION_HOURS: '1e12' is more than 876600."),
        ("RETENTION_HOURS", "inf", "TOMAAT_RETENTION_HOURS: 'inf' is more than 876600."),
        ("LONGEST_WAIT_SECONDS", "1e300", "TOMAAT_LONGEST_WAIT_SECONDS: '1e300' is more than 3600."),
        ("LARGEST_SPOOLS_BYTES", "9" * 16, f"'{'9' * 16}' is more than 1125899906842624."),
        ("COMPUTE_MEMORY_BYTES", f'{{"cpu-0": {10**16}}}', f"cpu-0: {10**16} is more than 1125899906842624."),
        ("SPARE_WORKER", "maybe", "TOMAAT_SPARE_WORKER: 'maybe' is neither true nor false."),
        ("STORAGE_STRATEGY", "KEEP", "'KEEP' is none of 'KEEP_ALL', 'KEEP_ONLY_INPUT' or 'KEEP_NOTHING'."),
        ("COMPUTE_SOURCES", "cpu-0", "TOMAAT_COMPUTE_SOURCES: 'cpu-0' is no object; write it as JSON."),
        ("COMPUTE_SOURCES", '{"cpu-0": 3}', "TOMAAT_COMPUTE_SOURCES: cpu-0: 3 is no list."),
        ("COMPUTE_SOURCES", '{"cpu-0": [3]}', "TOMAAT_COMPUTE_SOURCES: cpu-0: 0: 3 is no text."),
        ("COMPUTE_DEVICES", "{", "TOMAAT_COMPUTE_DEVICES: '{' is no JSON."),
        ("COMPUTE_MEMORY_BYTES", '{"cpu-0": 0}', "TOMAAT_COMPUTE_MEMORY_BYTES: cpu-0: 0 is less than 1."),
        ("DATABASE_URL", "mysql://me:secret@host", "TOMAAT_DATABASE_URL: must begin with postgresql://."),
        ("DATABASE_URL", "postgresql://me:secret@host:port/x", "DATABASE_URL: is no URL; write postgresql"),
        ("DATABASE_URL", "postgresql://me:secret@[x:y/z", "TOMAAT_DATABASE_URL: is no URL; write"),
        ("DATABASE_URL", "postgresql://me:se@secret@host/x", "DATABASE_URL: write a password's @ as %40."),
        ("DATABASE_URL", "postgresql://me:se@sec/ret@host/x", "DATABASE_URL: write a password's @ as %40"),
        ("HOST_NAME", "a/b", "TOMAAT_HOST_NAME: 'a/b' must be a name without a slash or a blank."),
        ("BASE_STORAGE_DIR", "~nobody-here/x", "'~nobody-here/x' is in the home of a user that is not there."),
        ("HOST_NAME", "", "TOMAAT_HOST_NAME: '' must be a name without a slash or a blank."),
        ("PROT", "5001", "TOMAAT_PROT: no such setting; near: TOMAAT_PORT"),
    ],
)
def test_a_wrong_setting_is_refused_with_a_sentence(monkeypatch, capsys, name, value, sentence):
    monkeypatch.setenv(f"TOMAAT_{name}", value)
    with pytest.raises(SystemExit) as exit_:
        read_settings()
    assert exit_.value.code == 2
    told = capsys.readouterr().err
    assert sentence in told
    assert "secret" not in told


@pytest.mark.parametrize("name", Settings.model_fields)
def test_no_setting_is_refused_in_the_words_of_a_library(monkeypatch, capsys, name):
    values = ("", "?", "-1", "1.5", "1e999", "nan", "true", "null", "{", "[3]", '{"a": {}}', '{"a": "b"}', '{"a": 1.5}')
    for value in (*values, '{"a": true}', '{"a": null}', '{"a": [3]}', '{"a": [null]}', "9" * 5000):
        monkeypatch.setenv(f"TOMAAT_{name}", value)
        with contextlib.suppress(SystemExit):
            read_settings()
        told = capsys.readouterr().err.splitlines()
        assert all(line.startswith(f"TOMAAT_{name}: ") for line in told)
        assert all(len(line) < 200 for line in told)
        assert not re.search(r"[Ii]nput|valid|[Vv]alue error|parse|[Ss]tring|Env", " ".join(told)), (value, told)


NUMBERS = [name for name, field in Settings.model_fields.items() if field.annotation in {int, float}]


@pytest.mark.parametrize("value", ["inf", "nan", "1e300", "9" * 20])
@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_is_endless(monkeypatch, capsys, name, value):
    monkeypatch.setenv(f"TOMAAT_{name}", value)
    with pytest.raises(SystemExit):
        read_settings()
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"TOMAAT_{name}: {value!r} is ")


def test_all_faults_are_told_at_once(monkeypatch, capsys):
    monkeypatch.setenv("TOMAAT_PORT", "0")
    monkeypatch.setenv("TOMAAT_ATTEMPTS", "0")
    monkeypatch.setenv("TOMAAT_PROT", "1")
    with pytest.raises(SystemExit):
        read_settings()
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_a_statements_deadline_passes_well_within_half_a_lease():
    assert Settings(LEASE_SECONDS=3).database_deadline_seconds == pytest.approx(1.2)
    assert Settings(LEASE_SECONDS=60).database_deadline_seconds == 5.0


@pytest.mark.parametrize(
    ("host", "keys", "needed"),
    [
        ("127.0.0.1", "beyond-loopback", False),
        ("::1", "beyond-loopback", False),
        ("localhost", "beyond-loopback", False),
        ("0.0.0.0", "beyond-loopback", True),
        ("tomaat.example.org", "beyond-loopback", True),
        ("127.0.0.1", "always", True),
        ("0.0.0.0", "never", False),
    ],
)
def test_keys_are_needed_beyond_loopback_unless_somebody_says_otherwise(host, keys, needed):
    assert Settings(HOST=host, API_KEYS=keys).keys_needed is needed


@pytest.mark.parametrize("pyproject", [True, False])
def test_a_clone_keeps_its_files_beside_the_code_and_an_installed_server_in_the_current_folder(tmp_path, pyproject):
    code, current = tmp_path / "code", tmp_path / "current"
    code.mkdir()
    current.mkdir()
    repository = Path(__file__).resolve().parents[2]
    for name in ("TOMAATSettings.py", *(["pyproject.toml"] if pyproject else [])):
        shutil.copy(repository / name, code)
    program = "import TOMAATSettings; print(TOMAATSettings.Settings().BASE_STORAGE_DIR)"
    environment = {"PYTHONPATH": f"{code}:{repository}", "PATH": os.environ["PATH"]}
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, cwd=current, env=environment, capture_output=True, text=True, check=True).stdout
    assert Path(said.strip()) == (code if pyproject else current) / "storage"


def test_several_processes_share_what_all_may_use_and_need_their_connections_each(monkeypatch):
    alone = read_settings()
    assert (alone.share_of(20), alone.database_connections) == (20, 36)
    monkeypatch.setenv("TOMAAT_WEB_PROCESSES", "3")
    settings = read_settings()
    assert [settings.share_of(amount) for amount in (1, 20, 21, 22)] == [1, 7, 7, 8]
    assert settings.database_connections == 36 + 2 * 21


def test_a_payload_may_have_as_many_files_as_a_series_images_and_some_beside_them():
    assert Settings.model_fields["MOST_MEMBERS"].default == ArchiveLimits.most_members > MOST_IMAGES + 500
