"""Everything of waitress that its documentation does not promise and that this server uses: nobody else imports it.

waitress is pinned. A unit test holds what is named here against the installed version, so that an upgrade shows where
`Connection`, `serve` and `results` have to be read again (`docs/decisions/0017-the-web-server.md`).
"""

from __future__ import annotations

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.buffers import ReadOnlyFileBasedBuffer, TempfileBasedBuffer
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.receiver import ChunkedReceiver
from waitress.server import BaseWSGIServer, create_server
from waitress.task import ErrorTask, ThreadedTaskDispatcher
from waitress.utilities import Error

__all__ = [
    "ATTRIBUTES",
    "INSTANCE_ATTRIBUTES",
    "LOG",
    "QUEUE_LOG",
    "SIGNATURES",
    "VERSION",
    "Adjustments",
    "ErrorTask",
    "HTTPChannel",
    "HTTPRequestParser",
    "create_server",
    "wasyncore",
]

VERSION = "3.0.2"

#: The methods that are overridden or called, with their parameters.
SIGNATURES = {
    (Adjustments, "__init__"): "(self, **kw)",
    (HTTPChannel, "__init__"): "(self, server, sock, addr, adj, map=None)",
    (HTTPChannel, "received"): "(self, data)",
    (HTTPChannel, "readable"): "(self)",
    (HTTPChannel, "writable"): "(self)",
    (HTTPChannel, "handle_read"): "(self)",
    (HTTPChannel, "handle_write"): "(self)",
    (HTTPChannel, "handle_close"): "(self)",
    (HTTPChannel, "recv"): "(self, buffer_size)",
    (HTTPChannel, "_flush_exception"): "(self, flush, do_close=True)",
    (HTTPChannel, "_flush_some"): "(self, do_close=True)",
    (HTTPRequestParser, "__init__"): "(self, adj)",
    (HTTPRequestParser, "received"): "(self, data)",
    (HTTPRequestParser, "close"): "(self)",
    (ErrorTask, "execute"): "(self)",
    (ErrorTask, "set_close_on_finish"): "(self) -> None",
    (ErrorTask, "write"): "(self, data)",
    (BaseWSGIServer, "add_task"): "(self, task)",
    (BaseWSGIServer, "pull_trigger"): "(self)",
    (ThreadedTaskDispatcher, "shutdown"): "(self, cancel_pending=True, timeout=5)",
    (wasyncore.dispatcher, "close"): "(self)",
    (wasyncore, "loop"): "(timeout=30.0, use_poll=False, map=None, count=None)",
    (wasyncore, "close_all"): "(map=None, ignore_all=False)",
    (ReadOnlyFileBasedBuffer, "get"): "(self, numbytes=-1, skip=False)",  # leaves the file's position as it is
    (ReadOnlyFileBasedBuffer, "skip"): "(self, numbytes, allow_prune=0)",  # moves it, once bytes have left
    (ReadOnlyFileBasedBuffer, "close"): "(self)",
    (TempfileBasedBuffer, "newfile"): "(self)",  # makes the spool, in tempfile's folder
}

#: The attributes of classes that are read or set, with their first values.
ATTRIBUTES = {
    (HTTPChannel, "parser_class"): HTTPRequestParser,
    (HTTPChannel, "error_task_class"): ErrorTask,
    (HTTPChannel, "request"): None,
    (HTTPChannel, "will_close"): False,
    (HTTPChannel, "close_when_flushed"): False,
    (HTTPChannel, "total_outbufs_len"): 0,
    (HTTPRequestParser, "completed"): False,
    (HTTPRequestParser, "empty"): False,
    (HTTPRequestParser, "headers_finished"): False,
    (HTTPRequestParser, "expect_continue"): False,
    (HTTPRequestParser, "error"): None,
    (HTTPRequestParser, "content_length"): 0,
    (HTTPRequestParser, "body_bytes_received"): 0,
    (HTTPRequestParser, "chunked"): False,
    (HTTPRequestParser, "body_rcv"): None,
    (ChunkedReceiver, "control_line"): b"",  # has no limit, as the trailer has none
    (ChunkedReceiver, "trailer"): b"",
    (ChunkedReceiver, "chunk_remainder"): 0,
    (ErrorTask, "status"): "200 OK",
    (ErrorTask, "content_length"): None,
    (BaseWSGIServer, "channel_class"): HTTPChannel,
}

#: The attributes of objects that are read or set, once these are made.
INSTANCE_ATTRIBUTES = {
    Adjustments: ("listen",),
    HTTPChannel: ("requests", "server", "adj", "addr", "socket", "sendbuf_len"),
    HTTPRequestParser: ("headers",),
    ErrorTask: ("request", "channel", "response_headers"),
    BaseWSGIServer: ("task_dispatcher",),
    Error: ("code", "reason"),
}

LOG, QUEUE_LOG = "waitress", "waitress.queue"  #: names of its loggers
