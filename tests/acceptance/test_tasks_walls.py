"""A task that looks around: it finds no credentials, and, under an account of its own, no other ticket."""

import json
import os
import pwd
import shutil
import tempfile
import textwrap
from pathlib import Path

import pytest
import sqlalchemy

from tests.nobody import NOBODY
from tomaat.scheduling.worker_output import MOST_BYTES
from tomaat.scheduling.worker_user import CAPABILITIES

ACCOUNT = "nobody"
PATIENT = "Mustermann^Canary^19420817"
TASKS = """
import ctypes, os, stat, sys, tempfile
from pathlib import Path
from Inputs import StringInput
from tomaat.services import Task

def attempt(act):
    try:
        return act()
    except Exception as error:
        return type(error).__name__

def processes():
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            yield path

def environments():
    for path in processes():
        try:
            yield (path / "environ").read_bytes().decode("latin-1")
        except OSError:
            pass

class Spy(Task):
    task_identifier = "Spy"
    description = "Looks around."
    inputs = (StringInput("where", "A folder of another ticket", default="/"),)

    def load(self, device):
        print("printed in load")

    def perform(self, where):
        parent = Path(f"/proc/{os.getppid()}")
        other = Path(where)
        return {
            "uid": [os.getuid(), os.geteuid(), os.getgid()],
            "capabilities": [line for line in Path("/proc/self/status").read_text().splitlines() if "Cap" in line],
            "parent": attempt(lambda: (parent / "environ").read_bytes().decode("latin-1")),
            "memory": attempt(lambda: (parent / "mem").open("rb").close()),
            "all": " ".join(environments()),
            "list": attempt(lambda: os.listdir(other.parent)),
            "other": attempt(lambda: (other / "in/main.json").read_text()),
            "in_other": attempt(lambda: (other / "made").touch()),
            "home": os.environ["HOME"],
            "temporary": attempt(lambda: tempfile.mkdtemp() and None),
        }

class Reads(Task):
    task_identifier = "Reads"
    description = "Reads a path, and writes beside its own input."
    inputs = (StringInput("text", "Text"), StringInput("at", "At", default="/"))

    def perform(self, text, at):
        return {"at": attempt(lambda: Path(at).read_text()), "text": text}

class Waits(Task):
    task_identifier = "Waits"
    description = "Looks at its own folder, by its open files."
    inputs = (StringInput("text", "Text"),)

    def perform(self, text):
        import inspect
        frame = next(f.frame for f in inspect.stack() if "job" in f.frame.f_locals)
        job = frame.f_locals["job"]
        modes = {}
        for name, path in {"ticket": job.inputs.parent, "in": job.inputs, "main": job.inputs / "main.json",
                           "out": job.out.parent, "claim": job.out}.items():
            modes[name] = stat.filemode(path.stat().st_mode)
        return {"modes": modes, "write_in": attempt(lambda: (job.inputs / "more").touch()), "folder": str(job.out),
                "claims": attempt(lambda: os.listdir(job.out.parent)),
                "tickets": attempt(lambda: os.listdir(job.inputs.parent.parent))}

class Links(Task):
    task_identifier = "Links"
    description = "Puts a link where its result should be."
    inputs = (StringInput("to", "To"),)

    def perform(self, to):
        import threading, time, inspect
        frame = next(f.frame for f in inspect.stack() if "job" in f.frame.f_locals)
        draft = frame.f_locals["job"].out
        from tomaat import archives
        from tomaat.worker import packing
        from tomaat.messages import DRAFT
        def put_link(_members, path, _before_each):
            Path(path).symlink_to(to)
        packing.pack = put_link
        return {}

class Prints(Task):
    task_identifier = "Prints"
    description = "Prints a lot."
    inputs = (StringInput("word", "Word"),)

    def perform(self, word):
        libc = ctypes.CDLL(None)
        for _ in range(200):
            print(word + " " + "x" * 5000)
            os.write(2, (word + " " + "y" * 5000 + chr(10)).encode())
        libc.puts(b"from C")
        libc.fflush(None)
        return {}
"""
NAMES = ("Spy", "Reads", "Waits", "Links", "Prints")


def start(instance):
    tasks = instance.public / "tasks"
    tasks.mkdir()
    (tasks / "Walls.py").write_text(textwrap.dedent(TASKS))
    tasks.chmod(0o755)
    (tasks / "Walls.py").chmod(0o644)
    instance.start()
    instance.wait_until_ready(*NAMES)
    return instance


@pytest.fixture(scope="module")
def public():
    """A folder that other users may enter."""
    made = Path(tempfile.mkdtemp(prefix="tomaat-walls-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def outputs(instance, service, inputs):
    ticket = instance.submit(service, inputs)
    status = instance.wait(ticket)
    assert status["state"] == "succeeded", (status, instance.log("TaskScheduling.py")[-3000:])
    result = json.loads(instance.result(ticket)["result.json"])
    return {line["name"]: line["value"] for line in result["outputs"]}, ticket


def make(make_service, public, name, **settings):
    """Make an instance whose files others may come near."""
    place = public / name
    place.mkdir(mode=0o755)
    instance = make_service(
        CUSTOM_TASKS_DIR=str(place / "tasks"), BASE_STORAGE_DIR=str(place / "storage"), LOG_FORMAT="json", **settings
    )
    instance.public = place
    return instance


@pytest.fixture(scope="module")
def plain(make_service, public):
    return start(make(make_service, public, "plain"))


def opened(uid, capabilities):
    words = [os.sys.executable, "-m", "tests.opened", str(uid), ",".join(map(str, capabilities))]
    return lambda door: words if door == "TaskScheduling.py" or uid >= 0 else []


@pytest.fixture(scope="module", params=["root", "capabilities"])
def apart(request, make_service, public):
    """An instance whose workers have an account of their own, started by root, or by a user with four capabilities."""
    if os.geteuid() != 0:
        pytest.skip("only root can start processes of other users")
    instance = make(make_service, public, f"apart-{request.param}", WORKER_USER=ACCOUNT)
    if request.param == "root":
        instance.before = opened(-1, [])
    else:
        socket = Path(sqlalchemy.make_url(instance.database_url).query["host"])
        if not socket.exists():
            pytest.skip("the private PostgreSQL lets everybody in")
        user = socket.stat().st_uid
        storage = instance.public / "storage"
        storage.mkdir(mode=0o700)
        os.chown(storage, user, user)
        instance.before = lambda door: opened(user, CAPABILITIES.values() if door == "TaskScheduling.py" else [])(door)
        instance.environment |= {"GROUPS": str(pwd.getpwnam(ACCOUNT).pw_gid), "HOME": "/nonexistent"}
    return start(instance)


def password(instance):
    return sqlalchemy.make_url(instance.database_url).password


def test_a_task_finds_no_password_in_the_environment_of_any_process(plain):
    seen, _ = outputs(plain, "Spy", {})
    assert "TOMAAT_STORAGE" in seen["parent"] or "TOMAAT_BASE_STORAGE_DIR" in seen["parent"], "as root it can look"
    assert password(plain)
    assert password(plain) not in seen["parent"] + seen["all"]


def test_a_workers_account_of_its_own_sees_its_ticket_and_no_other(apart):
    first = apart.submit("Reads", {"text": PATIENT})
    assert apart.wait(first)["state"] == "succeeded", apart.log("TaskScheduling.py")[-3000:]
    assert PATIENT in apart.result(first)["result.json"].decode()
    (folder,) = (apart.public / "storage/tickets").iterdir()
    seen, _ = outputs(apart, "Spy", {"where": str(folder)})
    assert seen["uid"] == [NOBODY, NOBODY, pwd.getpwnam(ACCOUNT).pw_gid]
    assert {line.split()[1] for line in seen["capabilities"] if "Eff" in line or "Amb" in line or "Prm" in line} == {
        "0000000000000000"
    }
    for what in ("parent", "memory", "list", "other", "in_other"):
        assert seen[what] == "PermissionError", what
    assert password(apart) not in seen["all"]
    assert seen["temporary"] is None
    assert seen["home"] == pwd.getpwnam(ACCOUNT).pw_dir


def test_a_running_ticket_is_lent_to_read_and_its_claim_to_write_until_it_ends(apart):
    seen, _ = outputs(apart, "Waits", {"text": PATIENT})
    assert seen["modes"] == {
        "ticket": "drwx--x---",
        "in": "drwxr-x---",
        "main": "-rw-r-----",
        "out": "drwx--x---",
        "claim": "drwxrwx---",
    }
    for what in ("write_in", "claims", "tickets"):
        assert seen[what] == "PermissionError", what
    claim = Path(seen["folder"])
    result = claim / "result.tar.gz"
    apart.until(lambda: oct(claim.parents[1].stat().st_mode)[-3:] == "700")
    assert (oct(claim.stat().st_mode)[-3:], oct(result.stat().st_mode)[-3:]) == ("700", "600")
    assert result.stat().st_uid == (apart.public / "storage/tickets").stat().st_uid


def test_a_link_in_place_of_a_result_shows_nobody_another_file(apart):
    secret = apart.public / "secret"
    secret.write_text("of the doors alone")
    secret.chmod(0o600)
    os.chown(secret, (apart.public / "storage/tickets").stat().st_uid, -1)
    ticket = apart.submit("Links", {"to": str(secret)})
    status = apart.wait(ticket)
    assert (status["state"], status["error"]["type"]) == ("failed", "/problems/result-not-stored")
    assert secret.read_text() == "of the doors alone"
    assert apart.get(ticket["links"]["result"]).status_code == 409
    apart.kill_worker = os.kill(apart.worker_pid(), 9)  # the next one packs as it should
    apart.until(lambda: apart.submit("Reads", {"text": "a"}))


def test_files_of_workers_with_an_account_of_their_own_are_deleted_like_others(apart):
    import requests  # noqa: PLC0415 (one test's)

    ticket = apart.submit("Reads", {"text": PATIENT})
    assert apart.wait(ticket)["state"] == "succeeded"
    assert requests.delete(apart.url + ticket["links"]["cancel"], timeout=30).status_code == 202
    apart.until(lambda: not apart.rows("SELECT FROM tickets WHERE id = :id AND NOT files_removed", id=ticket["id"]))


def test_a_killed_door_takes_the_worker_of_the_other_account_with_it(apart):
    worker = apart.worker_pid()
    assert Path(f"/proc/{worker}").stat().st_uid == NOBODY
    apart.kill("TaskScheduling.py")
    apart.until(
        lambda: not Path(f"/proc/{worker}/cmdline").exists() or not Path(f"/proc/{worker}/cmdline").read_bytes()
    )
    apart.start("TaskScheduling.py")
    ticket = apart.submit("Reads", {"text": "again"})
    assert apart.wait(ticket, 120)["state"] == "succeeded"


def test_of_what_a_task_prints_the_log_gets_so_much_for_each_ticket_and_the_next_one_counts_anew(plain):
    assert "printed in load" in plain.log("TaskScheduling.py")
    for word in ("first", "second"):
        ticket = plain.submit("Prints", {"word": word})
        assert plain.wait(ticket)["state"] == "succeeded"
    plain.until(lambda: plain.log("TaskScheduling.py").count("worker.output_cut") == 2)
    log = plain.log("TaskScheduling.py")
    printed = [line for line in log.splitlines() if line.startswith(("first", "second"))]
    for word in ("first", "second"):
        size = sum(len(line) + 1 for line in printed if line.startswith(word))
        assert MOST_BYTES / 2 < size <= MOST_BYTES + 1
    cuts = [json.loads(line) for line in log.splitlines() if "worker.output_cut" in line]
    assert [cut["ticket"] for cut in cuts] == sorted({cut["ticket"] for cut in cuts})
    assert "ticket.succeeded" in log.splitlines()[-1] or "ticket" in log
