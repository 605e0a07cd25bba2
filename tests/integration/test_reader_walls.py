"""What a parser that a stranger's image has taken over can still do: nothing that harms anybody."""

import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.hostile_images import nifti
from tomaat.headers import VolumeRefused, read_header
from tomaat.reader import VolumeReader, read_server
from tomaat.reader.confine import MACHINES, REFUSED_CALLS, offered
from tomaat.reader.volume_reader import make_pages, sealed_memory

LIBC = ctypes.CDLL(None, use_errno=True)
DONE = "done"


def at_the_parser(folder, act, guards, data=None):
    """Do something where SimpleITK would read a header; return `done`, how the kernel refused, or the signal."""
    path = folder / "x.nii"
    path.write_bytes(nifti() if data is None else data)
    header = read_header(path)
    answers, pipe = os.pipe()
    with sealed_memory(header.value_bytes) as memory, path.open("rb") as source:
        child = os.fork()
        if child == 0:
            try:
                read_server.open_image = lambda *_: tell(pipe, act)
                read_server.answer_file(
                    source.fileno(), memory, {"header": asdict(header), "folder": str(folder)}, guards
                )
            finally:
                os._exit(1)
        os.close(pipe)
        with os.fdopen(answers) as said:
            words = said.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return words or signal.Signals(-status).name


def tell(pipe, act):
    try:
        act()
        words = DONE
    except OSError as error:
        words = errno.errorcode[error.errno]
    except MemoryError:
        words = "MemoryError"
    os.write(pipe, words.encode())
    os._exit(0)


def call(name, *arguments):
    """Make a system call by its number."""
    number = REFUSED_CALLS[name][list(MACHINES).index(os.uname().machine)]
    if LIBC.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments)) < 0:
        raise OSError(ctypes.get_errno(), name)


def other():
    """The process that this one was forked from: any other of the same user."""
    return os.getppid()


CALLS = {
    "a connection": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "a Unix socket": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
    "a pair of sockets": socket.socketpair,
    "a process": lambda: os._exit(0) if os.fork() == 0 else None,
    "a thread": lambda: call("clone3", 0, 0),
    "a program": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606
    "a signal": lambda: os.kill(other(), 0),
    "a queued signal": lambda: call("rt_sigqueueinfo", other(), 0, 0),
    "another's priority": lambda: os.setpriority(os.PRIO_PROCESS, other(), 5),
    "another's processors": lambda: os.sched_setaffinity(other(), os.sched_getaffinity(0)),
    "another's memory": lambda: call("process_vm_readv", other(), 0, 0, 0, 0, 0),
    "another's descriptors": lambda: os.pidfd_open(other()),
    "a trace": lambda: call("ptrace", 16, other(), 0, 0),
    "a mode": lambda: os.chmod("/proc/self/cwd", 0o755),  # noqa: PTH101, S103
    "a time": lambda: os.utime("/proc/self/cwd"),
    "an attribute": lambda: os.setxattr("/proc/self/cwd", "user.x", b"1"),
    "a semaphore": lambda: call("semget", 0, 1, 0o1600),
    "shared memory": lambda: call("shmget", 0, 4096, 0o1600),
    "a message queue": lambda: call("msgget", 0, 0o1600),
    "a larger limit": lambda: call("setrlimit", resource.RLIMIT_CORE, 0),
    "a user namespace": lambda: call("unshare", 0x10000000),
    "a mount": lambda: call("mount", 0, 0, 0, 0, 0),
}


@pytest.mark.parametrize("guards", [["seccomp"], ["landlock", "seccomp"]], ids="-".join)
@pytest.mark.parametrize("name", CALLS)
def test_a_parser_reaches_no_network_and_no_other_process(name, guards, tmp_path):
    assert set(guards) <= set(offered())
    assert at_the_parser(tmp_path, CALLS[name], guards) in {"EPERM", "EACCES"}


def test_every_listed_call_is_refused(tmp_path):
    def call_all():
        for name, numbers in REFUSED_CALLS.items():
            if numbers[list(MACHINES).index(os.uname().machine)] is not None:
                with pytest.raises(PermissionError):
                    call(name, 0, 0, 0, 0, 0, 0)

    assert at_the_parser(tmp_path, call_all, ["seccomp"]) == DONE


@pytest.fixture
def secret(tmp_path):
    folder = tmp_path / "others"
    folder.mkdir()
    (folder / "secret").write_text("another patient")
    return folder / "secret"


FILES = {
    "read": lambda path: path.read_bytes(),
    "written": lambda path: path.open("r+b"),
    "cut": lambda path: os.truncate(path, 1),
    "removed": lambda path: path.unlink(),
    "renamed": lambda path: path.rename(path.with_name("new")),
    "made": lambda path: path.with_name("new").open("w"),
    "linked": lambda path: path.with_name("new").symlink_to(path),
    "put into a new folder": lambda path: path.with_name("new").mkdir(),
    "listed": lambda path: os.listdir(path.parent),  # noqa: PTH208
}


@pytest.mark.parametrize("name", FILES)
def test_a_parser_reaches_no_file_not_even_the_image(name, secret, tmp_path):
    assert "landlock" in offered()
    assert at_the_parser(tmp_path, lambda: FILES[name](secret), ["landlock"]) in {"EACCES", "EPERM"}
    assert secret.read_text() == "another patient"
    assert [path.name for path in secret.parent.iterdir()] == ["secret"]
    assert at_the_parser(tmp_path, (tmp_path / "x.nii").read_bytes, ["landlock"]) == "EACCES"


def write_to_memory():
    memory = os.memfd_create("more")
    os.write(memory, b"x")


def hold(size):
    mmap.mmap(-1, size)


def open_many():
    for _ in range(200):
        os.dup(0)


@pytest.mark.parametrize(
    ("act", "refused"),
    [
        (write_to_memory, "SIGXFSZ"),
        (lambda: hold(2 * read_server.SPARE_BYTES), "ENOMEM"),
        (open_many, "EMFILE"),
    ],
)
def test_a_parser_has_bounds_without_any_guard_of_the_kernel(act, refused, tmp_path):
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        assert at_the_parser(tmp_path, act, []) == refused
    finally:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def test_a_parser_that_never_ends_is_ended_by_its_processor_time(tmp_path, monkeypatch):
    """A volume has 30 seconds and more; here it has one."""
    limit = read_server.limit
    monkeypatch.setattr(read_server, "limit", lambda memory_bytes, seconds: limit(memory_bytes, min(seconds, 1)))

    def turn():
        while time.process_time() < 20:
            pass

    assert at_the_parser(tmp_path, turn, []) == "SIGXCPU"


def test_pages_are_made_only_until_the_fork_has_ended():
    size = 64 * 1024**2
    asker, server = socket.socketpair()
    with asker, server, sealed_memory(size) as memory:
        mapped = mmap.mmap(memory, size)
        server.send(json.dumps({"ended": 0}).encode())
        make_pages(mapped, until=asker)
        assert made(memory) == 0
        asker.recv(100)
        make_pages(mapped, until=asker)
        assert made(memory) == size
        assert mapped[:8] == struct.pack("Q", 0)


def made(memory):
    """The bytes of a file in memory that have pages."""
    return 512 * os.fstat(memory).st_blocks


def test_the_reading_process_has_no_secret_in_its_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TOMAAT_DATABASE_URL", "postgresql://role:secret@host/name")
    (tmp_path / "x.nii").write_bytes(nifti())
    reader = VolumeReader()
    try:
        reader.read(tmp_path / "x.nii")
        assert b"secret" not in Path(f"/proc/{reader.server.pid}/environ").read_bytes()
    finally:
        reader.close()


def test_a_server_that_has_another_thread_forks_for_nobody(tmp_path):
    """A fork of it could meet a lock that is held by nobody."""
    program = (
        "import socket, threading, time; from tomaat.reader.read_server import serve;"
        "threading.Thread(target=time.sleep, args=(20,), daemon=True).start();"
        "asker, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET); asker.send(b'{}'); serve(server, [])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "threads; a fork of it would not be safe" in done.stderr) == (1, True), done.stderr


def test_memory_keeps_its_size_whoever_has_it():
    with sealed_memory(4096) as memory:
        for size in (0, 8192):
            with pytest.raises(PermissionError):
                os.truncate(memory, size)


TRUTH = {
    "dimensions": (4, 5, 6),
    "dtype": "int16",
    "spacing": (1, 1, 2),
    "origin": (0, 0, 0),
    "direction": (-1, 0, 0, 0, -1, 0, 0, 0, 1),
}


def told(reply, path, monkeypatch):
    """Read a volume of which the limited process says what it likes."""
    asker, server = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def serve():
        _, descriptors, _, _ = socket.recv_fds(server, 65536, 3)
        os.write(descriptors[2], reply)
        for descriptor in descriptors:
            os.close(descriptor)
        server.send(b'{"ended": 0}')

    reader = VolumeReader()
    monkeypatch.setattr(reader, "start", lambda: asker)
    with asker, server:
        serving = threading.Thread(target=serve)
        serving.start()
        try:
            return reader.read(path)
        finally:
            serving.join()


LIES = [
    ({"dimensions": (4, 5, 7)}, "dimensions"),
    ({"dtype": "float32"}, "voxel-type"),
    ({"spacing": (1, 1, -2)}, "spacing"),
    ({"spacing": (1, 1, 3)}, "place"),
    ({"origin": (0, 0, 1)}, "place"),
    ({"origin": (0, 0, float("nan"))}, "header"),
    ({"direction": (1, 0, 0, 0, 1, 0, 0, 0, 1)}, "place"),
    ({"direction": (1, 1, 0, 0, 1, 0, 0, 0, 1)}, "place"),
    ({"direction": (1, 0)}, "unreadable"),
    ({"spacing": "abc"}, "unreadable"),
]


@pytest.mark.parametrize(("lie", "code"), LIES)
def test_what_the_limited_process_tells_is_held_against_the_header(lie, code, tmp_path, monkeypatch):
    (tmp_path / "x.nii").write_bytes(nifti())
    assert told(json.dumps({"volume": TRUTH}).encode(), tmp_path / "x.nii", monkeypatch).array.shape == (4, 5, 6)
    with pytest.raises(VolumeRefused) as refusal:
        told(json.dumps({"volume": TRUTH | lie}).encode(), tmp_path / "x.nii", monkeypatch)
    assert refusal.value.code == code


@pytest.mark.parametrize("reply", [b"", b"[]", b"{", b"[" * 60_000, b'{"refused": 1}', b'{"volume": {}}', b"\xff"])
def test_what_is_no_answer_is_no_volume(reply, tmp_path, monkeypatch):
    (tmp_path / "x.nii").write_bytes(nifti())
    with pytest.raises(VolumeRefused, match="Reading the volume gave no volume; it is not taken"):
        told(reply, tmp_path / "x.nii", monkeypatch)
