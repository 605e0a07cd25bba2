"""The doctor, each finding on the real thing, broken."""

import http.server
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy

from tests.nobody import NOBODY, as_nobody
from tests.pooler import pooled
from tomaat.access.key_store import KeyStore
from tomaat.database import connect
from tomaat.database.facts import QUIET_LOG
from tomaat.database.migrate import MIGRATIONS
from tomaat.doctor import __main__ as doctor
from tomaat.doctor import devices, kernel, packages, port, settings, storage, tasks, workers
from tomaat.doctor.database import look_at_database
from tomaat.doctor.programs import NoAnswer, ask
from tomaat.storage import Storage
from tomaat.tickets.instance import bind_storage
from tomaat.tickets.question_store import QuestionStore
from TOMAATSettings import Settings, look_at_settings

NEWEST = max(int(path.name[:4]) for path in MIGRATIONS.glob("*.sql"))


def told(findings):
    """The findings by what they are about; the worst of each."""
    by_about = {}
    for finding in findings:
        known = by_about.get(finding.about)
        if known is None or known.level == "ok" or finding.level == "problem":
            by_about[finding.about] = finding
        assert (finding.level == "ok") == (finding.mend is None), "what is not well says what to do"
    return by_about


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in list(os.environ):
        if name.startswith("TOMAAT_"):
            monkeypatch.delenv(name)


# Python, packages, settings, kernel


def test_python_and_packages_as_pinned_are_well(tmp_path):
    assert [each.level for each in packages.look_at_python()] == ["ok"]
    (tmp_path / "requirements.txt").write_text("# a comment\nflask==3.1.3  # why\nnone==1; sys_platform == 'beos'\n")
    assert packages.PINNED.findall((tmp_path / "requirements.txt").read_text())[0] == ("flask", "3.1.3")


@pytest.mark.parametrize("running", [(3, 9), (3, 14)])
def test_another_python_is_a_problem(running):
    (finding,) = packages.look_at_python(running)
    assert finding.level == "problem"


def test_a_missing_package_is_a_problem_and_another_version_a_warning(tmp_path):
    file = tmp_path / "requirements.txt"
    file.write_text("flask==0.1\nno-such-package==1.0\ntorch==2.13.0\n")
    missing, other = packages.look_at_packages(file, needed=True)
    assert (missing.level, "no-such-package" in missing.says) == ("problem", True)
    assert (other.level, "flask is" in other.says, "torch" in other.says) == ("warning", True, False)
    assert next(packages.look_at_packages(file, needed=False)).level == "warning"


def test_each_wrong_and_each_unknown_setting_is_told(monkeypatch):
    monkeypatch.setenv("TOMAAT_PORT", "many")
    monkeypatch.setenv("TOMAAT_LEASE", "3")
    chosen, faults = look_at_settings()
    assert chosen is None
    findings = list(settings.look_at_faults(faults))
    assert [finding.level for finding in findings] == ["problem", "problem"]
    assert "TOMAAT_LEASE: no such setting; near: TOMAAT_LANES, TOMAAT_LABELS, TOMAAT_LEASE_SECONDS" in findings[0].says


def test_an_unknown_setting_alone_is_told_and_the_rest_looked_at(monkeypatch):
    monkeypatch.setenv("TOMAAT_LEASE", "3")
    chosen, faults = look_at_settings()
    assert chosen is not None
    assert len(faults) == 1


@pytest.mark.parametrize(
    "odd",
    [
        {"LEASE_SECONDS": 5, "DATABASE_DEADLINE_SECONDS": 5},
        {"POLL_SECONDS": 10, "LEASE_SECONDS": 15},
        {"STORAGE_STRATEGY": "KEEP_NOTHING", "FETCHED_GRACE_SECONDS": 7200, "RETENTION_HOURS": 1},
        {"LARGEST_UNPACKED_BYTES": 10, "LARGEST_UPLOAD_BYTES": 20},
    ],
)
def test_settings_that_do_not_go_together_are_warned_of(odd):
    assert [finding.level for finding in settings.look_at_times(Settings(**odd))] == ["warning"]


def test_the_defaults_go_together():
    assert [finding.level for finding in settings.look_at_times(Settings())] == ["ok"]


def test_a_wall_that_the_kernel_lacks_is_warned_of(monkeypatch):
    monkeypatch.setattr(kernel, "offered", lambda: ["seccomp"])
    missing, there = kernel.look_at_kernel()
    assert (missing.level, "landlock" in missing.says) == ("warning", True)
    assert there.level == "ok"


def test_as_whom_tasks_run_is_told():
    (same,) = workers.look_at_workers(Settings())
    assert (same.level, "like the doors" in same.says) == ("ok", True)
    (own,) = workers.look_at_workers(Settings(WORKER_USER="nobody"))
    assert os.geteuid() != 0 or (own.level, "an account of their own" in own.says) == ("ok", True)
    for name, words in (("no-such-user", "there is no user no-such-user"), ("root", "root is root")):
        (fault,) = workers.look_at_workers(Settings(WORKER_USER=name))
        assert (fault.level, words in fault.says) == ("problem", True)


def test_an_environment_in_which_no_worker_can_start_is_told(tmp_path):
    bare = tmp_path / "bare/bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    pythons = {"Liver": sys.executable, "Heart": str(bare), "Spleen": sys.executable, "Lung": "/nowhere/python"}
    for name in ("Liver", "Heart", "Lung"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tomaat.yaml").touch()
    found = workers.look_at_environments(Settings(ENVIRONMENTS=pythons, CUSTOM_TASKS_DIR=tmp_path))
    none, good, lacking, gone = found
    assert (none.level, "names Spleen, which is no network folder" in none.says) == ("problem", True)
    assert (good.level, good.says.startswith(f"{sys.executable}, with torch 2.")) == ("ok", True)
    assert (lacking.level, "ModuleNotFoundError" in lacking.says) == ("problem", True)
    assert (gone.level, "/nowhere/python cannot be run" in gone.says) == ("problem", True)


# The database


@pytest.fixture
def looked(database_url, tmp_path):
    """Look at a database; returns what is told by what it is about."""

    def look(url=database_url, **chosen):
        kept = chosen.pop("BASE_STORAGE_DIR", tmp_path / "storage")
        return told(look_at_database(Settings(DATABASE_URL=url, BASE_STORAGE_DIR=kept, **chosen)))

    return look


def changed(url, **parts):
    return sqlalchemy.make_url(url).set(**parts).render_as_string(hide_password=False)


def test_an_empty_database_is_no_problem(looked):
    seen = looked()
    assert seen["database"].level == "ok"
    assert seen["schema"].level == "warning"
    assert not [finding for finding in seen.values() if finding.level == "wrong"]


def test_looking_changes_nothing_in_the_database(looked, database_url):
    looked()
    database = connect(database_url, deadline_seconds=10, read_only=True)
    with database.connect() as connection:
        tables = connection.execute(sqlalchemy.text("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"))
        assert tables.scalar() == 0
        with pytest.raises(sqlalchemy.exc.DBAPIError, match="read-only"):
            connection.execute(sqlalchemy.text("CREATE TABLE x (y integer)"))
    database.dispose()


def test_what_the_manager_asks_an_operator_is_told(looked, database):
    questions = QuestionStore(database, lambda _: None)
    assert "QueueManager asks" not in looked()
    questions.ask("quarantine", "523 of 1000 folders belong to no ticket of this database", 523)
    finding = looked()["QueueManager asks"]
    assert (finding.level, "523 of 1000" in finding.says) == ("warning", True)
    questions.agree("quarantine")
    assert "QueueManager asks" not in looked()


def test_the_password_is_never_told(looked, database_url):
    password = sqlalchemy.make_url(database_url).password
    for url in (database_url, changed(database_url, database="none")):
        assert password not in str(looked(url)), url


def test_where_the_default_is_looked_at_that_is_said(tmp_path):
    default = told(look_at_database(Settings(BASE_STORAGE_DIR=tmp_path)))["database"]
    assert default.level == "ok" or "TOMAAT_DATABASE_URL is unset: do the doors have another one?" in default.says


@pytest.mark.parametrize(
    ("broken", "says", "mend"),
    [
        ({"database": "nobodys"}, "does not exist", "CREATE DATABASE nobodys"),
        ({"username": "nobody"}, "authentication failed", "CREATE ROLE"),
        ({"password": "wrong"}, "authentication failed", "ALTER ROLE"),
        ({"query": {"host": "127.0.0.1", "port": "1"}}, "refused", "Start PostgreSQL there"),
    ],
)
def test_a_database_that_cannot_be_reached_is_a_problem_with_what_to_do(looked, database_url, broken, says, mend):
    (finding,) = looked(changed(database_url, **broken)).values()
    assert (finding.about, finding.level) == ("database", "problem")
    assert says in finding.says
    assert mend in finding.mend


def test_a_schema_of_an_older_program_is_warned_of_and_of_a_newer_one_a_problem(looked, database):
    with database.connect() as connection:
        connection.execute(sqlalchemy.text("DELETE FROM schema_versions WHERE version = :v"), {"v": NEWEST})
        assert looked()["schema"].level == "warning"
        connection.execute(sqlalchemy.text("INSERT INTO schema_versions VALUES (99)"))
    assert looked()["schema"].level == "problem"


def test_a_database_that_may_lose_what_it_confirmed_is_a_problem(looked, database, database_url):
    name = sqlalchemy.make_url(database_url).database
    with database.connect() as connection:
        connection.execute(sqlalchemy.text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
    assert "power cut" in looked()["database server"].says


def test_a_server_with_few_connections_or_that_ends_idle_sessions_is_warned_of(looked, database, database_url):
    assert "database server" not in looked()
    assert "connections" in looked(WEB_THREADS=200)["database server"].says
    assert "the doors may need 351" in looked(WEB_PROCESSES=16)["database server"].says
    name = sqlalchemy.make_url(database_url).database
    with database.connect() as connection:
        try:
            connection.execute(sqlalchemy.text(f"ALTER DATABASE {name} SET idle_session_timeout = '60s'"))
        except sqlalchemy.exc.ProgrammingError:
            return  # before PostgreSQL 14 there is none
    assert "idle for 60 s" in looked()["database server"].says


def test_a_hint_that_a_pooler_keeps_is_warned_of(looked, database_url, monkeypatch):
    assert looked()["hints"].level == "ok"
    monkeypatch.setattr("tomaat.doctor.database.HINT_SECONDS", 0.3)
    with pooled(database_url) as url:
        seen = looked(url)
    assert seen["database"].level == "ok", "all else answers"
    assert seen["hints"].level == "warning"
    assert "pool_mode = session" in seen["hints"].mend


@pytest.mark.parametrize("name", sorted(QUIET_LOG))
def test_a_log_that_may_hold_values_is_warned_of(looked, database, database_url, name):
    assert "database log" not in looked(), "the private server's settings are well"
    value = {"log_min_error_statement": "error", "log_error_verbosity": "default", "log_statement": "mod"}.get(name, 5)
    own = sqlalchemy.make_url(database_url).database
    with database.connect() as connection:
        connection.execute(sqlalchemy.text(f"ALTER DATABASE {own} SET {name} = '{value}'"))
    assert looked()["database log"].says.endswith(f"({name})")


def test_the_document_has_each_line_that_keeps_values_out_of_the_log():
    written = (Path(__file__).parents[2] / "docs/production.md").read_text()
    for name, value in QUIET_LOG.items():
        assert f"SET {name} = {value if value.lstrip('-').isdecimal() else repr(value)};" in written


def test_a_clock_that_differs_is_warned_of(looked, database, monkeypatch):
    assert looked()["clock"].level == "ok"
    real = time.time
    monkeypatch.setattr("tomaat.database.facts.time.time", lambda: real() + 60)
    assert "-60 s" in looked()["clock"].says


def test_a_storage_of_another_database_is_a_problem(looked, database, tmp_path):
    kept = Storage(tmp_path / "storage")
    kept.prepare()
    assert looked()["database and storage"].level == "ok", "both are new"
    assert kept.instance_id() is None, "and looking binds nothing"
    bind_storage(database, kept)
    assert looked()["database and storage"].level == "ok"
    (kept.base / "instance").write_text("another\n")
    assert looked()["database and storage"].level == "problem"
    (kept.base / "instance").unlink()
    (kept.base / "instance").mkdir()
    seen = looked()
    assert "cannot be read (Is a directory)" in seen["database and storage"].says
    assert "QueueManager" in seen, "the rest is looked at"
    assert "has tickets in another folder" in looked(BASE_STORAGE_DIR=tmp_path / "new")["database and storage"].says


def test_doors_that_are_gone_are_warned_of_and_a_source_that_offers_nothing_is_a_problem(looked, bench):
    assert looked()["QueueManager"].level == "warning"
    assert looked()["offers"].says == "no service was offered yet"
    bench.sources.take("manager", "m")
    lane = bench.source()
    seen = looked()
    assert [seen[about].level for about in ("QueueManager", "source here/cpu-0", "offers")] == ["ok"] * 3
    bench.sources.describe(lane.lease, device_name="CPU", memory_bytes=None, problem="broken")
    assert looked()["source here/cpu-0"].level == "problem"
    assert "Add" in looked()["offers"].says
    bench.lapse("here/cpu-0")
    assert looked()["source here/cpu-0"].says == "nobody holds it"
    assert "tomaat-server sources forget here/cpu-0" in looked()["source here/cpu-0"].mend
    bench.run("UPDATE compute_sources SET drained = true")
    assert "drained" in looked()["source here/cpu-0"].says


def test_a_needed_key_that_nobody_has_is_a_problem(looked, database):
    assert looked()["API keys"].level == "ok"
    missing = looked(HOST="0.0.0.0")["API keys"]
    assert missing.level == "problem"
    assert "tomaat.access make" in missing.mend
    KeyStore(database).make("radiology", None)
    assert looked(HOST="0.0.0.0")["API keys"].level == "ok"
    KeyStore(database).revoke("radiology")
    assert looked(API_KEYS="always")["API keys"].level == "problem"


# The storage


@pytest.fixture
def kept(tmp_path):
    made = Storage(tmp_path / "storage")
    made.prepare()
    return made


def test_a_storage_that_is_not_there_yet_is_no_problem_and_is_not_made(tmp_path):
    base = tmp_path / "a/b"
    assert told(storage.look_at_storage(base, 1))["storage"].level == "warning"
    assert not base.parent.exists()


def test_a_whole_storage_is_well_and_left_as_it_is(kept):
    before = sorted(kept.base.rglob("*")), kept.base.stat().st_mtime_ns
    assert {finding.level for finding in storage.look_at_storage(kept.base, 1)} == {"ok"}
    assert (sorted(kept.base.rglob("*")), kept.base.stat().st_mtime_ns) == before


def test_a_file_in_the_storages_place_is_a_problem(tmp_path):
    (tmp_path / "storage").touch()
    assert told(storage.look_at_storage(tmp_path / "storage", 1))["storage"].level == "problem"


@pytest.fixture
def open_to_all():
    """A storage that everybody may enter, and only its owner may change."""
    folder = Path(tempfile.mkdtemp(prefix="tomaat-doctor-"))
    folder.chmod(0o755)
    made = Storage(folder / "storage")
    made.prepare()
    made.base.chmod(0o755)
    yield made
    shutil.rmtree(folder)


def look(base):
    return list(storage.look_at_storage(base, 1))


def test_a_storage_of_another_user_is_a_problem(open_to_all):
    assert "cannot be written by nobody" in told(as_nobody(look, open_to_all.base))["storage"].says
    below = told(as_nobody(look, open_to_all.base / "below"))["storage"]
    assert (below.level, "cannot be written" in below.says) == ("problem", True)
    hidden = told(as_nobody(look, open_to_all.tickets / "below"))["storage"]
    assert (hidden.level, "cannot be reached" in hidden.says) == ("problem", True)


def test_a_storage_for_its_owner_alone_is_told_to_others_whose_it_is(open_to_all):
    open_to_all.base.chmod(0o700)
    finding = told(as_nobody(look, open_to_all.base))
    assert finding["storage"].says == f"{open_to_all.base} cannot be written by nobody"
    assert "as root" in finding["storage"].mend
    assert "chown" not in finding["storage"].mend
    assert finding["room"].level == "ok"


def test_a_storage_whose_owner_is_another_is_warned_of(open_to_all):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    os.chown(open_to_all.tickets, NOBODY, NOBODY)
    finding = told(look(open_to_all.base))["storage"]
    assert (finding.level, "belongs to nobody" in finding.says) == ("warning", True)


def test_a_storage_without_room_is_told(kept, monkeypatch):
    assert told(storage.look_at_storage(kept.base, 2**60))["room"].level == "warning"
    real = os.statvfs(kept.base)
    full = os.statvfs_result((*real[:3], 0, 0, *real[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    assert told(storage.look_at_storage(kept.base, 1))["room"].level == "problem"
    few = os.statvfs_result((*real[:5], 1000, 10, 10, *real[8:]))
    monkeypatch.setattr(os, "statvfs", lambda _: few)
    assert "inodes" in told(storage.look_at_storage(kept.base, 1))["room"].says


def test_what_a_restore_left_is_told_by_its_name(kept):
    assert "restore" not in told(storage.look_at_storage(kept.base, 1))
    for name in ("restoring", "before-restore-2026-11-25T03-07-21Z"):
        (kept.base / name).mkdir()
        left = told(storage.look_at_storage(kept.base, 1))["restore"]
        assert (left.level, name in left.says, f"rm -r {kept.base / name}" in left.mend) == ("warning", True, True)
        (kept.base / name).rmdir()


def test_what_lies_in_quarantine_or_never_became_a_ticket_is_told(kept):
    (kept.quarantine / "x").mkdir()
    assert "1 folders" in told(storage.look_at_storage(kept.base, 1))["quarantine"].says
    (kept.quarantine / "x").rmdir()
    (kept.incoming / "new").mkdir()
    assert told(storage.look_at_storage(kept.base, 1))["quarantine"].level == "ok"
    os.utime(kept.incoming / "new", (0, 0))
    assert "1 uploads" in told(storage.look_at_storage(kept.base, 1))["quarantine"].says


# The port


def look_at(host, number):
    return told(port.look_at_port(host, number))["port"]


def test_a_free_port_is_left_free():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
    assert "it is free" in look_at("127.0.0.1", number).says
    assert "it is free" in look_at("0.0.0.0", number).says


def test_another_program_on_the_port_is_a_problem():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    finding = look_at("127.0.0.1", server.server_address[1])
    server.shutdown()
    server.server_close()
    assert (finding.level, "another program" in finding.says) == ("problem", True)


def test_what_listens_and_is_silent_may_be_the_web_service(monkeypatch):
    monkeypatch.setattr(port, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        finding = look_at("127.0.0.1", silent.getsockname()[1])
    assert (finding.level, "did not answer within 0.1 s" in finding.says) == ("problem", True)
    assert "if it is WebService" in finding.mend


def test_an_address_of_another_machine_is_a_problem():
    assert look_at("192.0.2.1", 5987).level == "problem"
    assert look_at("no such host", 5987).level == "problem"


# The tasks


GOOD = """from tomaat.services import Outputs, Task


class GoodTask(Task):
    task_identifier = "Good"
    description = "Good."
    inputs = ()

    def perform(self) -> Outputs:
        return {}
"""


def look_into(folder, **chosen):
    return list(tasks.look_at_tasks(Settings(CUSTOM_TASKS_DIR=folder, **chosen)))


def test_each_file_that_cannot_be_offered_is_told_and_the_others_too(tmp_path):
    (tmp_path / "GoodTask.py").write_text(GOOD)
    (tmp_path / "BadTask.py").write_text("import nothing_of_this_name\n")
    (tmp_path / "OtherTask.py").write_text(
        "from pathlib import Path\n\n"
        + GOOD.replace("Good", "Other").replace("()\n", "()\n    weights = Path('w')\n", 1)
    )
    findings = look_into(tmp_path, COMPUTE_SOURCES={"cpu-0": ["Good", "Gone"]})
    assert [finding.level for finding in findings] == ["problem", "problem", "ok", "problem"]
    assert "BadTask.py: ModuleNotFoundError" in findings[0].says
    assert "weights w do not exist" in findings[1].says
    assert findings[2].says == "Good"
    assert "names Gone for cpu-0" in findings[3].says
    assert sorted(path.name for path in tmp_path.iterdir()) == ["BadTask.py", "GoodTask.py", "OtherTask.py"]


def test_a_file_that_ends_its_process_does_not_end_the_doctor(tmp_path):
    (tmp_path / "DeadlyTask.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    (finding,) = look_into(tmp_path)
    assert (finding.level, "SIGSEGV" in finding.says) == ("problem", True)


def test_a_folder_of_tasks_that_is_not_there_is_a_problem(tmp_path):
    (finding,) = look_into(tmp_path / "none")
    assert finding.level == "problem"


def test_a_task_sees_no_password(tmp_path, monkeypatch):
    monkeypatch.setenv("TOMAAT_DATABASE_URL", "postgresql://u:secret@h/d")
    (tmp_path / "SpyTask.py").write_text("import os\nraise ValueError(str(dict(os.environ)))\n")
    (finding,) = look_into(tmp_path)
    assert "PATH" in finding.says
    assert "secret" not in finding.says


# The devices


def answer(monkeypatch, **answers):
    """Let programs answer otherwise; the others are asked."""

    def ask_or_answer(module, *arguments, **options):
        name = module.rpartition(".")[2]
        return answers[name]() if name in answers else ask(module, *arguments, **options)

    monkeypatch.setattr(devices, "ask", ask_or_answer)


def sources_of(monkeypatch, torch, **chosen):
    answer(monkeypatch, ask_torch=lambda: torch)
    return told(devices.look_at_devices(Settings(**chosen)))


CPU_BUILD = {"version": "2.13.0+cpu", "cuda": None, "gpus": {}, "faults": []}


def test_torch_that_is_missing_or_dies_is_a_problem(monkeypatch):
    chosen = {"COMPUTE_SOURCES": {"cpu-0": None}}
    assert sources_of(monkeypatch, {"missing": "No module named 'torch'"}, **chosen)["torch"].level == "problem"
    assert sources_of(monkeypatch, CPU_BUILD, **chosen)["torch"].level == "ok"
    broken = CPU_BUILD | {"faults": ["no kernel image"]}
    assert sources_of(monkeypatch, broken, **chosen)["torch"].level == "problem"

    def die():
        raise NoAnswer("was ended by signal 11 (SIGSEGV)")

    answer(monkeypatch, ask_torch=die)
    assert told(devices.look_at_devices(Settings(**chosen)))["torch"].level == "problem"


def test_a_driver_that_hangs_does_not_hang_the_doctor(monkeypatch):
    class Hung:
        pid = 0

        def wait(self, timeout=None):
            assert timeout is not None, "for ever"
            raise subprocess.TimeoutExpired("it", timeout)

    killed = []
    monkeypatch.setattr("tomaat.doctor.programs.subprocess.Popen", lambda *_, **__: Hung())
    monkeypatch.setattr("tomaat.doctor.programs.os.killpg", lambda *_: killed.append(True))
    (finding,) = devices.look_at_devices(Settings())
    assert killed == [True], "torch, which would hang as well, is not asked"
    assert (finding.level, "asks NVML did not end within 60 s" in finding.says) == ("problem", True)


def test_a_wanted_gpu_that_is_not_there_and_a_name_that_is_none_are_problems(monkeypatch):
    assert sources_of(monkeypatch, CPU_BUILD, COMPUTE_SOURCES={"GPU-none": None})["GPUs"].level == "problem"
    assert sources_of(monkeypatch, CPU_BUILD, COMPUTE_SOURCES={"tpu": None})["GPUs"].level == "problem"


def test_a_gpu_that_torch_sees_and_no_source_uses_is_warned_of(monkeypatch):
    seen = sources_of(monkeypatch, CPU_BUILD | {"gpus": {"GPU-a": "A"}}, COMPUTE_SOURCES={"cpu-0": None})
    assert seen["torch"].level == "warning"


def test_the_real_torch_answers():
    answer = ask("tomaat.doctor.ask_torch", environment=os.environ)
    assert answer["version"].startswith("2.13.0")


# All of it


def test_what_cannot_be_looked_at_hides_nothing_else(monkeypatch, tmp_path, capsys):
    def crash(*_):
        raise ValueError("the secret")

    monkeypatch.setenv("TOMAAT_BASE_STORAGE_DIR", str(tmp_path / "storage"))
    for module, name in ((tasks, "look_at_tasks"), (devices, "look_at_devices")):
        monkeypatch.setattr(module, name, lambda *_: [])
    monkeypatch.setattr(storage, "look_at_storage", lambda *_: (crash(each) for each in (1,)))
    nothing = doctor.wrong("database", "none", "none")
    assert doctor.main([], instead_of_database=nothing) == 1
    said = capsys.readouterr().out
    assert "problem  storage: it could not be looked at (ValueError)" in said
    assert "port: " in said
    assert "secret" not in said


def test_wrong_settings_are_told_and_end_it(monkeypatch, capsys):
    monkeypatch.setenv("TOMAAT_PORT", "many")
    assert doctor.main(["--json"]) == 1
    assert "TOMAAT_PORT" in capsys.readouterr().out
