"""Files and frames between two machines: whole, checked, in pieces, and nowhere else than they should be."""

import os
import socket
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest

from tomaat.cluster import bringer, pieces, stream
from tomaat.cluster.bringer import Bringer, TaskFiles
from tomaat.cluster.node import take_tasks
from tomaat.cluster.node_files import UNUSED_SECONDS, NodeFiles
from tomaat.cluster.pieces import UnwantedFile, inside, send_file, take_file
from tomaat.cluster.stream import HEAD, PIECE, WORDS, Stream, StreamClosed, greet, reach
from tomaat.contents.digest import sha256_of
from tomaat.processes.misconfigured import Misconfigured

SECRET = b"s" * 32


@pytest.fixture
def ends():
    here, there = map(Stream, socket.socketpair())
    yield here, there
    here.close()
    there.close()


def both(send, take):
    """Do both sides' part at once; return what the second one gives."""
    thread = threading.Thread(target=send)
    thread.start()
    try:
        return take()
    finally:
        thread.join(60)


def test_a_large_file_is_never_in_memory_whole(ends, tmp_path):
    here, there = ends
    with (tmp_path / "a").open("wb") as file:
        for _ in range(50):
            file.write(os.urandom(1_000_000))
    tracemalloc.start()
    try:
        assert both(lambda: send_file(here, tmp_path / "a"), lambda: take_file(there, tmp_path / "b")) is None
        assert tracemalloc.get_traced_memory()[1] < 8_000_000
    finally:
        tracemalloc.stop()
    assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


def test_a_file_that_changes_on_its_way_is_not_taken(ends, tmp_path):
    here, there = ends

    def send():
        here.send(PIECE, b"another")
        here.say(sha256="0" * 64)

    fault = both(send, lambda: take_file(there, tmp_path / "b"))
    assert fault.strerror == "the file did not arrive as it was sent"
    assert not (tmp_path / "b").exists()


def test_a_file_that_is_cut_short_leaves_nothing(ends, tmp_path):
    here, there = ends

    def send():
        here.send(PIECE, b"a part")
        here.shut()

    with pytest.raises(StreamClosed):
        both(send, lambda: take_file(there, tmp_path / "b"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_finds_the_disk_full_is_taken_to_its_end_and_the_next_one_comes(ends, tmp_path, monkeypatch):
    here, there = ends
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)

    def fail(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(pieces.os, "write", fail)
        fault = both(lambda: send_file(here, tmp_path / "a"), lambda: take_file(there, tmp_path / "b"))
    assert fault.errno == 28
    assert both(lambda: send_file(here, tmp_path / "a"), lambda: take_file(there, tmp_path / "b")) is None


def test_neither_a_link_nor_a_pipe_is_sent_or_written_over(ends, tmp_path):
    here, there = ends
    (tmp_path / "link").symlink_to("/etc/hostname")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a").write_bytes(b"x")
    for name in ("link", "pipe"):
        opened = os.open(tmp_path / "pipe", os.O_RDWR)  # else whoever opens a pipe waits
        with pytest.raises(OSError, match=r"it is no file|symbolic links"):
            send_file(here, tmp_path / name)
        os.close(opened)
        assert there.hear() == {"dropped": True}
    assert both(lambda: send_file(here, tmp_path / "a"), lambda: take_file(there, tmp_path / "link")).errno == 17


def test_a_file_that_nobody_wants_any_longer_stops_on_its_way(ends, tmp_path):
    here, there = ends
    (tmp_path / "a").write_bytes(b"x" * 30_000_000)
    wishes = iter([True, False])

    def send():
        with pytest.raises(UnwantedFile):
            send_file(here, tmp_path / "a", wanted=lambda: next(wishes))

    assert both(send, lambda: take_file(there, tmp_path / "b")) is not None
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("name", ["", "..", "a/../../b", "/etc/passwd", "a\0b", None, 3])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, name):
    with pytest.raises(OSError, match="leads elsewhere"):
        inside(tmp_path, name)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def meet(listener, secret, greeted):
    """Let an engine with a secret reach a node; return what each of them says of it."""
    said = []

    def serve():
        end, _ = listener.accept()
        with end:
            try:
                said.append(greet(end, greeted)[1])
            except StreamClosed as error:
                said.append(str(error))

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        reach("127.0.0.1", listener.getsockname()[1], secret, what="node").close()
        said.append("reached")
    except StreamClosed as error:
        said.append(str(error))
    thread.join(60)
    return sorted(map(str, said))


def test_both_sides_have_to_know_the_secret(listener):
    assert meet(listener, SECRET, SECRET) == ["reached", "{'what': 'node'}"]
    assert "it does not know the secret" in meet(listener, b"t" * 32, SECRET)


def test_a_node_that_does_not_know_the_secret_hears_nothing(listener):
    heard = []

    def serve():
        end, _ = listener.accept()
        with end:
            end.sendall(b"n" * 32)
            heard.append(end.recv(64, socket.MSG_WAITALL))
            end.sendall(b"p" * 32)
            heard.append(end.recv(64))

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(StreamClosed, match="the node does not know the secret"):
        reach("127.0.0.1", listener.getsockname()[1], SECRET, what="node")
    thread.join(60)
    assert heard[1] == b""


def test_a_greeting_that_comes_byte_by_byte_ends_in_time(listener, monkeypatch):
    monkeypatch.setattr(stream, "GREETING_SECONDS", 0.3)
    with socket.create_connection(listener.getsockname()) as other:
        end, _ = listener.accept()
        over = threading.Event()

        def drip():
            while not over.wait(0.05):
                other.send(b"x")

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        with end, pytest.raises(StreamClosed, match="TimeoutError"):
            greet(end, SECRET)
        assert time.monotonic() - began < 2
        over.set()
        thread.join(60)


def test_a_way_that_is_cut_or_forgotten_is_noticed(listener):
    with socket.create_connection(listener.getsockname()) as end:
        Stream(end)
        assert end.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 300_000


def test_a_frame_without_end_is_refused_before_it_is_read(ends):
    here, there = ends
    there.end.settimeout(5)
    here.end.sendall(HEAD.pack(PIECE, 2**25))
    with pytest.raises(StreamClosed, match="a frame of 33554432 bytes"):
        there.receive()
    here.end.sendall(HEAD.pack(WORDS, 5) + b"[1,2]")
    with pytest.raises(StreamClosed, match="no facts"):
        there.hear()


# The files of a node


def told_of(folder):
    return TaskFiles(folder).told()


def bring(files, folder):
    told = told_of(folder)
    for place in (lacking := files.lacking(told)):
        draft = files.draft()
        draft.write_bytes((folder / told[place]["name"]).read_bytes())
        files.keep(draft, told[place])
    files.set_tasks(told)
    return [told[place]["name"] for place in lacking]


def test_a_folder_of_tasks_is_as_it_is_elsewhere_and_only_what_is_new_travels(tmp_path):
    tasks = tmp_path / "tasks"
    (tasks / "net/deep").mkdir(parents=True)
    (tasks / "__pycache__").mkdir()
    for name in ("A.py", "net/deep/weights", "__pycache__/A.pyc", ".hidden"):
        (tasks / name).write_text(name)
    (tasks / "A.py").chmod(0o744)
    files = NodeFiles(tmp_path / "node")
    assert bring(files, tasks) == ["A.py", "net/deep/weights"]
    modes = [(files.tasks / name).stat().st_mode & 0o777 for name in ("A.py", "net/deep/weights")]
    assert modes == [0o500, 0o400], "a task writes into none"
    assert bring(files, tasks) == []
    (tasks / "A.py").write_text("another")
    (tasks / "net/deep/weights").unlink()
    (tasks / "net/deep").rmdir()
    assert bring(files, tasks) == ["A.py"]
    assert [path.name for path in files.tasks.rglob("*")] == ["A.py"]
    assert (files.tasks / "A.py").read_text() == "another"
    assert (files.tasks / "A.py").stat().st_mtime_ns == (tasks / "A.py").stat().st_mtime_ns
    files.close()
    assert [path.name for path in (tmp_path / "node").iterdir()] == ["files"]


def test_a_file_that_was_hashed_is_hashed_again_only_once_it_has_changed(tmp_path, monkeypatch):
    (tmp_path / "A.py").write_text("one")
    tasks = TaskFiles(tmp_path)
    first = tasks.told()
    monkeypatch.setattr("tomaat.cluster.bringer.sha256_of", lambda _: 1 / 0)
    assert tasks.told() == first
    os.utime(tmp_path / "A.py", ns=(1, 1))
    with pytest.raises(ZeroDivisionError):
        tasks.told()


def test_a_file_of_tasks_that_cannot_be_read_or_changes_on_its_way_is_left_out_until_the_next_time(
    ends, tmp_path, monkeypatch
):
    here, there = ends
    folder = tmp_path / "tasks"
    folder.mkdir()
    for name in ("Changes.py", "Gone.py", "Stays.py", "Unread.py"):
        (folder / name).write_text(name)

    def hash_all_but_one(path):
        if path.name == "Unread.py":
            raise PermissionError(13, "Permission denied")
        return sha256_of(path)

    monkeypatch.setattr(bringer, "sha256_of", hash_all_but_one)
    tasks, files = TaskFiles(folder), NodeFiles(tmp_path / "node")
    told = tasks.told()
    assert [each["name"] for each in told] == ["Changes.py", "Gone.py", "Stays.py"]
    (folder / "Gone.py").unlink()
    (folder / "Changes.py").write_text("another")
    monkeypatch.setattr(tasks, "told", lambda: told)
    kept = tmp_path / "kept"
    kept.mkdir()

    there.end.settimeout(5)

    def take():
        take_tasks(there, files, there.hear()["tasks"])
        there.hear()
        there.say(done=True)

    with ThreadPoolExecutor(1) as turns:
        assert both(lambda: Bringer(here, tasks, turns).bring_tasks(kept), take) is None
    assert [path.name for path in files.tasks.iterdir()] == ["Stays.py"]
    monkeypatch.undo()
    bring(files, folder)
    assert sorted(path.name for path in files.tasks.iterdir()) == ["Changes.py", "Stays.py", "Unread.py"]
    files.close()


def test_weights_that_have_not_arrived_are_swept_with_their_program(tmp_path):
    files = NodeFiles(tmp_path / "node")
    assert files.draft().parent == files.own
    files.close()


def test_what_a_killed_program_left_goes_and_what_a_living_one_has_stays(tmp_path):
    top = tmp_path / "node"
    first = NodeFiles(top)
    dead, elsewhere = top / f"{socket.gethostname()}-1-1", top / "another-1-1"
    for each in (dead, elsewhere):
        (each / "workers").mkdir(parents=True)
        (each / "workers/patient").write_text("MILLER")
    (first.files / "old").write_text("x")
    (first.files / "held").write_text("x")
    os.link(first.files / "held", first.tasks / "held")
    long_ago = time.time() + UNUSED_SECONDS + 60
    with pytest.MonkeyPatch.context() as later:
        later.setattr(time, "time", lambda: long_ago)
        second = NodeFiles(top)
    assert not dead.exists()
    assert elsewhere.exists(), "its processes are of another machine"
    assert first.own.exists()
    assert [path.name for path in first.files.iterdir()] == ["held"]
    assert second.own == first.own
    first.close()


def test_a_folder_that_others_may_enter_is_refused(tmp_path):
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "own").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "own")
    (tmp_path / "file").touch()
    for name in ("open", "link", "file"):
        with pytest.raises(Misconfigured, match="TOMAAT_RAY_NODE_DIR"):
            NodeFiles(tmp_path / name)


@pytest.mark.parametrize("told", [{"sha256": "../" * 5, "mtime_ns": 1}, {"sha256": "0" * 64, "mtime_ns": "x"}, {}])
def test_no_file_of_tasks_has_a_name_that_leads_elsewhere(tmp_path, told):
    files = NodeFiles(tmp_path / "node")
    with pytest.raises(OSError, match="no file of tasks"):
        files.lacking([told])
    files.close()
