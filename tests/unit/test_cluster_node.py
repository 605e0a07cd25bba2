"""A node goes on serving whatever becomes of one connection, and keeps no file of a worker that has gone."""

import errno
import socket
import threading
import time
from types import SimpleNamespace

import pytest

import tomaat
from tomaat.cluster import node as module
from tomaat.cluster.node import Node
from tomaat.cluster.node_files import NodeFiles
from tomaat.cluster.pieces import hear_answer, send_file
from tomaat.cluster.stream import StreamClosed, reach

SECRET = b"s" * 32
SECONDS = 10.0


class Listener:
    """A listener whose machine has no descriptor left, once."""

    def __init__(self, end):
        self.end = end
        self.faults = [OSError(errno.EMFILE, "Too many open files")]

    def accept(self):
        if self.faults:
            raise self.faults.pop()
        return self.end.accept()


@pytest.fixture
def node(tmp_path):
    stop = SimpleNamespace(asked=False, also_wake=lambda _: None)
    with socket.create_server(("127.0.0.1", 0)) as end:
        made = Node(Listener(end), SECRET, NodeFiles(tmp_path / "node"), SimpleNamespace(), stop)
        thread = threading.Thread(target=made._accept)
        thread.start()
        made.port = end.getsockname()[1]
        yield made
        made.ending = True
        socket.create_connection(("127.0.0.1", made.port)).close()
        thread.join(SECONDS)
        assert not thread.is_alive()
    made.files.close()


def until(true):
    give_up = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < give_up, "did not become true"
        time.sleep(0.01)


def test_what_comes_for_a_worker_that_has_gone_goes_too(node, tmp_path):
    worker = node.files.make_worker()
    there = reach("127.0.0.1", node.port, SECRET, what="there", worker=worker.name)
    (tmp_path / "patient").write_text("MILLER")
    there.say(out="ticket/out/1-1")
    hear_answer(there)
    node.files.end_worker(worker)
    assert not worker.exists()
    there.say(put="ticket/in", files=["patient"])
    send_file(there, tmp_path / "patient")
    hear_answer(there)
    assert (worker / "ticket/in/patient").exists()
    there.close()
    until(lambda: not worker.exists())


def test_nothing_comes_for_a_worker_that_is_not_there(node):
    there = reach("127.0.0.1", node.port, SECRET, what="there", worker="0" * 16)
    with pytest.raises(StreamClosed):
        there.receive()
    there.close()


def test_a_thread_that_the_machine_refuses_costs_one_connection(node, monkeypatch):
    class NoThread:
        def __init__(self, **_):
            monkeypatch.undo()

        def start(self):
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(module.threading, "Thread", NoThread)
    with pytest.raises(StreamClosed):
        reach("127.0.0.1", node.port, SECRET, what="there")
    reach("127.0.0.1", node.port, SECRET, what="there").close()


def test_strangers_hold_a_bounded_number_of_connections(node, monkeypatch):
    monkeypatch.setattr(module, "MOST_UNGREETED", 2)
    strangers = [socket.create_connection(("127.0.0.1", node.port)) for _ in range(3)]
    assert [len(each.recv(64)) for each in strangers] == [32, 32, 0]
    for each in strangers:
        each.close()
    until(lambda: not node.ungreeted)
    reach("127.0.0.1", node.port, SECRET, what="there").close()


@pytest.mark.parametrize(("told", "reason"), [({"code": "0" * 64}, "one commit"), ({"version": "0"}, "version")])
def test_a_node_with_other_code_is_refused(node, told, reason):
    said = []
    node._begin({"version": tomaat.__version__, **told}, SimpleNamespace(say=lambda **words: said.append(words)))
    assert reason in said[0]["refused"]
    assert node.engine is None
