"""The parts of waitress that are used from within are still as they were when this was written."""

import importlib.metadata
import inspect
import re
import socket
from pathlib import Path

import pytest
from waitress.server import BaseWSGIServer
from waitress.utilities import BadRequest, logger, queue_logger

from tomaat.web.http import waitress_parts
from tomaat.web.http.waitress_parts import (
    ATTRIBUTES,
    INSTANCE_ATTRIBUTES,
    SIGNATURES,
    VERSION,
    Adjustments,
    ErrorTask,
    HTTPChannel,
    HTTPRequestParser,
    create_server,
)

REPOSITORY = Path(__file__).resolve().parents[2]


def named(parts):
    return [f"{owner.__name__}.{name}" for owner, name in parts]


def test_the_pinned_version_is_the_one_that_was_read():
    assert f"waitress=={VERSION}\n" in (REPOSITORY / "requirements.txt").read_text()
    assert importlib.metadata.version("waitress") == VERSION


@pytest.mark.parametrize("part", SIGNATURES, ids=named(SIGNATURES))
def test_a_method_of_waitress_still_takes_the_same(part):
    assert str(inspect.signature(getattr(*part))) == SIGNATURES[part]


@pytest.mark.parametrize("part", ATTRIBUTES, ids=named(ATTRIBUTES))
def test_an_attribute_of_waitress_still_begins_the_same(part):
    assert getattr(*part) == ATTRIBUTES[part]


@pytest.fixture
def made():
    """Return one object of each class, as waitress makes them."""
    sockets = {}
    server = create_server(lambda *_: [], map=sockets, host="127.0.0.1", port=0, threads=1)
    ours, theirs = socket.socketpair()
    channel = HTTPChannel(server, ours, ("127.0.0.1", 1), Adjustments(), map=sockets)
    parser = HTTPRequestParser(channel.adj)
    yield [channel.adj, channel, parser, ErrorTask(channel, parser), server, BadRequest("wrong")]
    theirs.close()
    server.task_dispatcher.shutdown(timeout=1)
    waitress_parts.wasyncore.close_all(sockets)


@pytest.mark.parametrize("owner", INSTANCE_ATTRIBUTES, ids=lambda owner: owner.__name__)
def test_an_object_of_waitress_still_has_what_is_used_of_it(owner, made):
    (one,) = (each for each in made if isinstance(each, owner))
    assert [name for name in INSTANCE_ATTRIBUTES[owner] if not hasattr(one, name)] == []


def test_a_listening_server_is_in_the_map_and_an_error_has_a_code(made):
    *_, server, error = made
    assert isinstance(server, BaseWSGIServer)
    assert server in server._map.values()
    assert (error.code, error.reason) == (400, "Bad Request")


def test_the_logs_of_waitress_still_have_their_names():
    assert (logger.name, queue_logger.name) == (waitress_parts.LOG, waitress_parts.QUEUE_LOG)


def test_one_module_imports_waitress():
    importing = re.compile(r"^\s*(from|import) waitress\b", re.MULTILINE)
    paths = [path for path in (REPOSITORY / "tomaat").rglob("*.py") if importing.search(path.read_text())]
    assert paths == [Path(waitress_parts.__file__)]
