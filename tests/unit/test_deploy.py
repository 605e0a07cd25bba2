"""What ``deploy/`` ships fits the code, and systemd accepts it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.confined import read
from tests.needs import need
from tomaat.database.facts import QUIET_LOG
from tomaat.launch.__main__ import COMMANDS
from tomaat.launch.instance import DOORS, STOP_SECONDS
from tomaat.launch.open_door import MISCONFIGURED
from tomaat.scheduling.worker_user import CAPABILITIES
from TOMAATSettings import Settings, read_settings

REPOSITORY = Path(__file__).resolve().parents[2]
DEPLOY = REPOSITORY / "deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
UNITS = sorted(path.name for path in (DEPLOY / "systemd").iterdir())
HOME = "/srv/tomaat"
PYTHON = f"{HOME}/.venv/bin/python3"
MIB = 1024**2


def unit_of(door):
    return f"tomaat-{door.lower()}.service"


def seconds(text):
    return int(text.removesuffix("s"))


def test_systemd_accepts_the_units(tmp_path):
    need("systemd-analyze")
    system = tmp_path / "usr/lib/systemd/system"
    shutil.copytree("/usr/lib/systemd/system", system, symlinks=True)
    own = tmp_path / "etc/systemd/system"
    shutil.copytree(DEPLOY / "systemd", own)
    for program in (PYTHON, "/bin/sh"):
        path = tmp_path / program.lstrip("/")
        path.parent.mkdir(parents=True)
        path.touch(mode=0o755)

    def verify():
        command = ["systemd-analyze", "verify", f"--root={tmp_path}", "--man=no", "--recursive-errors=one", *UNITS]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    said = verify()
    assert (said.returncode, said.stderr) == (0, ""), said.stderr
    with (own / unit_of("WebService")).open("a") as unit:
        unit.write("[Service]\nRestrictAddresFamilies=AF_UNIX\n")
    assert "RestrictAddresFamilies" in verify().stderr, "else a typing error would be accepted"


def test_systemd_accepts_what_gives_workers_an_account_of_their_own(tmp_path):
    need("systemd-analyze")
    unit, drop_in = unit_of("TaskScheduling"), DEPLOY / "worker-user.conf"
    system = tmp_path / "usr/lib/systemd/system"
    shutil.copytree("/usr/lib/systemd/system", system, symlinks=True)
    folder = tmp_path / f"etc/systemd/system/{unit}.d"
    folder.mkdir(parents=True)
    shutil.copy(DEPLOY / "systemd" / unit, folder.parent)
    shutil.copy(drop_in, folder)
    for program in (PYTHON, "/bin/sh"):
        path = tmp_path / program.lstrip("/")
        path.parent.mkdir(parents=True)
        path.touch(mode=0o755)
    command = ["systemd-analyze", "verify", f"--root={tmp_path}", "--man=no", "--recursive-errors=one", unit]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, ""), said.stderr
    given = read(drop_in)
    assert set(given["AmbientCapabilities"].split()) == set(CAPABILITIES)
    assert given["CapabilityBoundingSet"] == given["AmbientCapabilities"]
    guide = (REPOSITORY / "docs/production.md").read_text()
    assert f"--home-dir {given['ReadWritePaths']} " in guide
    assert f"/etc/systemd/system/{unit}.d/worker-user.conf" in guide


@pytest.mark.parametrize("door", DOORS)
def test_a_doors_unit_runs_it_as_its_user_again_and_again_but_not_with_wrong_settings(door):
    service = read(DEPLOY / "systemd" / unit_of(door))
    assert service["ExecStart"] == f"{PYTHON} {door}.py"
    assert (REPOSITORY / f"{door}.py").exists()
    assert (service["User"], service["WorkingDirectory"]) == ("tomaat", HOME)
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == str(MISCONFIGURED)
    assert "StartLimitIntervalSec=0\n" in (DEPLOY / "systemd" / unit_of(door)).read_text()
    assert service.get("OOMPolicy") == (None if door == "QueueManager" else "continue")
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert f"Wants={' '.join(unit_of(name) for name in DOORS)}" in (DEPLOY / "systemd/tomaat.target").read_text()
    assert seconds(service["TimeoutStopSec"]) >= STOP_SECONDS


def test_the_backups_unit_runs_a_command_that_there_is():
    from tomaat.backup.__main__ import parse  # noqa: PLC0415 (only here)

    service = read(DEPLOY / "systemd/tomaat-backup.service")
    words = service["ExecStart"].split()
    assert words[:3] == [PYTHON, "-m", "tomaat.backup"]
    arguments = parse(words[3:])
    assert (arguments.command, arguments.keep) == ("make", 7)
    one_mount = Path(service["ReadWritePaths"])  # files are not linked from one mount to another
    assert arguments.place.is_relative_to(one_mount)
    assert Path(read(DEPLOY / "systemd" / unit_of("WebService"))["ReadWritePaths"]).is_relative_to(one_mount)


@pytest.fixture
def example(monkeypatch):
    """The example of settings, with all that is commented out, as a shell reads it."""
    text = re.sub(r"^#(TOMAAT_)", r"\1", (DEPLOY / "tomaat.env").read_text(), flags=re.MULTILINE)
    shell = ["sh", "-c", "set -a; eval \"$EXAMPLE\"; env -0 | grep -z '^TOMAAT_'"]
    said = subprocess.run(shell, env={"PATH": os.environ["PATH"], "EXAMPLE": text}, capture_output=True, check=True)
    for name in [name for name in os.environ if name.startswith("TOMAAT_")]:
        monkeypatch.delenv(name)
    for line in said.stdout.decode().split("\0")[:-1]:
        monkeypatch.setenv(*line.split("=", 1))
    return read_settings()


def test_the_example_of_settings_is_one_and_fits_the_units_and_the_proxy(example):
    assert example.keys_needed
    assert str(example.BASE_STORAGE_DIR) in read(DEPLOY / "systemd" / unit_of("WebService"))["ReadWritePaths"].split()
    stop = seconds(read(DEPLOY / "systemd" / unit_of("TaskScheduling"))["TimeoutStopSec"])
    assert stop >= example.GRACE_SECONDS + STOP_SECONDS
    assert list(example.COMPUTE_SOURCES.values()) == [None, ["FloatComputation"]]


def test_the_proxy_lets_through_what_the_service_takes():
    settings = Settings.model_fields
    proxy = (DEPLOY / "nginx/tomaat.conf").read_text()
    assert int(re.search(r"client_max_body_size (\d+)m;", proxy)[1]) * MIB > settings["LARGEST_UPLOAD_BYTES"].default
    assert int(re.search(r"proxy_read_timeout (\d+)s;", proxy)[1]) > settings["LONGEST_WAIT_SECONDS"].default
    assert f"    server {settings['HOST'].default}:{settings['PORT'].default};\n" in proxy
    assert "proxy_pass http://tomaat;" in proxy


def test_no_server_of_the_proxy_logs_what_was_asked_for():
    proxy = (DEPLOY / "nginx/tomaat.conf").read_text()
    servers = proxy.count("\nserver {")
    assert servers == proxy.count("error_log /dev/null emerg;") == len(re.findall("access_log (off|.* tomaat);", proxy))
    log_format = re.search(r"log_format tomaat(.*?);", proxy, re.DOTALL)[1]
    assert not set(re.findall(r"\$(\w+)", log_format)) & {
        *("request", "request_uri", "uri", "document_uri", "args", "query_string", "http_referer", "request_body"),
        *("request_filename", "http_authorization", "http_x_api_key", "http_user_agent"),
    }


def test_a_program_runs_with_the_doors_settings_as_their_user(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "project/deploy").mkdir(parents=True)
    runner = tmp_path / "project/deploy/tomaat-run"
    runner.write_text((DEPLOY / "tomaat-run").read_text().replace("/etc/tomaat.env", str(tmp_path / "tomaat.env")))
    (tmp_path / "tomaat.env").write_text("TOMAAT_COMPUTE_SOURCES='{\"cpu-0\": null}'\n")
    stub = tmp_path / "bin/runuser"
    stub.write_text('#!/bin/sh\nprintf "%s|" "$@" "$TOMAAT_COMPUTE_SOURCES" "$(umask)" "$(pwd)"\n')
    for program in (runner, stub):
        program.chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    said = subprocess.run(
        [runner, "-m", "tomaat.access", "make", "a b"], env=environment, capture_output=True, text=True, check=True
    ).stdout.split("|")
    assert said[:3] == ["-u", "tomaat", "--"]
    assert said[3:8] == [".venv/bin/python3", "-m", "tomaat.access", "make", "a b"]
    assert said[8:11] == ['{"cpu-0": null}', "0077", str(tmp_path / "project")]


def test_what_is_written_names_units_that_there_are():
    written = [*(REPOSITORY / "docs").glob("*.md"), *(DEPLOY / "prometheus").iterdir()]
    named = {
        name for path in written for name in re.findall(r"\btomaat-[a-z]+(?=[ .,`)])", path.read_text(), re.IGNORECASE)
    }
    units = {name.rpartition(".")[0] for name in UNITS}
    assert units <= named | {"tomaat"}
    assert {name for name in named if name.lower() in units} <= units


def test_the_guide_names_every_file_that_is_shipped():
    guides = (REPOSITORY / "docs/production.md").read_text() + (REPOSITORY / "docs/monitoring.md").read_text()
    for path in DEPLOY.rglob("*"):
        if path.is_file():
            assert str(path.relative_to(REPOSITORY)) in guides, path


# Containers


def copied():
    """Name what the Containerfile takes out of this repository."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", CONTAINERFILE, re.MULTILINE)
    return {path.relative_to(REPOSITORY) for line in lines for word in line.split() for path in REPOSITORY.glob(word)}


def test_the_image_is_made_of_the_service_and_of_nothing_else():
    ignored, *patterns = (
        line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if not line.startswith("#")
    )
    assert ignored == "*"
    let_in = {Path(pattern.removeprefix("!")) for pattern in patterns if pattern.startswith("!")}
    requirements = {Path(path.name) for path in REPOSITORY.glob("requirements-*.txt")}
    others = {Path(f"requirements-{which}.txt") for which in ("dev", "docs", "ray")}  # an image is no node of Ray
    assert requirements - others == {path for path in let_in if path.name.startswith("requirements-")}
    assert copied() - others == let_in
    assert {Path(f"{door}.py") for door in DOORS} < let_in
    assert all((REPOSITORY / path).exists() for path in let_in)
    assert {"**/__pycache__", "**/*.pyc"} == set(patterns) - {f"!{path}" for path in let_in}


def test_the_image_runs_as_nobody_in_particular_and_names_no_place_where_packages_come_from():
    last = CONTAINERFILE[CONTAINERFILE.rindex("\nFROM ") :]
    assert "\nUSER 10001:10001\n" in last
    assert '\nENTRYPOINT ["/opt/tomaat/.venv/bin/python3", "-m", "tomaat.launch"]\n' in last
    assert "://" not in CONTAINERFILE.replace("postgresql://tomaat-user@postgres:5432/tomaat", "")
    assert "--mount=type=secret,id=pip" in CONTAINERFILE
    assert "pip" not in last, "it cannot install anything later"


def test_the_images_settings_are_some_and_give_a_database(monkeypatch):
    given = dict(re.findall(r"(TOMAAT_\w+)=(\S+)", CONTAINERFILE))
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = read_settings()
    assert settings.database_given, "two containers must not start a private PostgreSQL on one folder"
    assert settings.keys_needed
    assert f"install -d -o tomaat -g tomaat -m 0700 {settings.BASE_STORAGE_DIR} " in CONTAINERFILE


@pytest.mark.parametrize("door", DOORS)
def test_a_doors_container_is_confined_and_has_settings_that_there_are(door, monkeypatch):
    service = COMPOSE["services"][door.lower()]
    assert service["command"] in COMMANDS
    assert (service["read_only"], service["init"], service["cap_drop"]) == (True, True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "user", "cap_add", "pid", "ipc", "network_mode"} & service.keys()
    for name, value in service["environment"].items():
        monkeypatch.setenv(name, value.replace("${POSTGRES_PASSWORD}", "0123abcd"))
    settings = read_settings()
    assert seconds(service["stop_grace_period"]) >= STOP_SECONDS
    if door == "TaskScheduling":
        assert seconds(service["stop_grace_period"]) >= settings.GRACE_SECONDS + STOP_SECONDS
        assert "HOST_NAME" in settings.model_fields_set, "a container's own name is another one each time"
    assert service["depends_on"] == ["postgres"], "else PostgreSQL ends while a door still puts its tickets back"
    assert service["pull_policy"] == "never", "nobody has this image but who built it"
    (temporary,) = service["tmpfs"]
    assert re.fullmatch(r"\d+[mg]", temporary.partition(":size=")[2]), "else it may take half of the machine's memory"
    assert {volume.partition(":")[0] for volume in service["volumes"]} <= COMPOSE["volumes"].keys()
    assert f"storage:{re.search('TOMAAT_BASE_STORAGE_DIR=(.+?) ', CONTAINERFILE)[1]}" in service["volumes"]


def test_the_one_port_of_the_containers_is_the_machines_own_and_its_proxy_is_trusted():
    ports = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    port = Settings.model_fields["PORT"].default
    assert ports == {"webservice": [f"127.0.0.1:{port}:{port}"]}
    trusted = COMPOSE["services"]["webservice"]["environment"]["TOMAAT_TRUSTED_PROXIES"]
    assert f'"{COMPOSE["networks"]["default"]["ipam"]["config"][0]["gateway"]}/32"' in trusted


def test_the_containers_that_can_be_asked_whether_they_serve_are_asked():
    service, database = (COMPOSE["services"][name] for name in ("webservice", "postgres"))
    port = Settings.model_fields["PORT"].default
    assert service["healthcheck"]["test"][:2] == ["CMD", "python3"]
    assert f"http://127.0.0.1:{port}/health/ready" in service["healthcheck"]["test"][-1]
    user, name = (database["environment"][f"POSTGRES_{what}"] for what in ("USER", "DB"))
    assert database["healthcheck"]["test"] == ["CMD", "pg_isready", "-U", user, "-d", name]


def test_the_containers_database_keeps_values_out_of_its_log():
    command = COMPOSE["services"]["postgres"]["command"]
    for name in ("log_min_error_statement", "log_error_verbosity", "log_parameter_max_length_on_error"):
        assert f"-c {name}={QUIET_LOG[name]}" in command
