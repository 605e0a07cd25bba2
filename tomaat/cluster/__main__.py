"""The program of a node: ``python -m tomaat.cluster``, which whoever finds nodes starts on each of them.

It reads one line of JSON, keeps reading, and ends when nothing more can come. So it ends with the program that started
it. It writes one line of JSON: its port, or why it cannot serve.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from tomaat.cluster.node import Node
from tomaat.cluster.node_files import NodeFiles
from tomaat.cluster.node_log import NodeLog
from tomaat.processes.dying import die_with_parent
from tomaat.processes.log import configure_logging
from tomaat.processes.misconfigured import Misconfigured
from tomaat.processes.stop import Stop


def end_with(stdin: int) -> None:
    """End this program in order once nothing more can come."""
    while os.read(stdin, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def say(**words: object) -> None:
    """Tell the program that started this one."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Serve until the program that started this one, or TaskScheduling, goes away."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    die_with_parent(parser.parse_args().parent, signal.SIGKILL)
    stop = Stop()
    told = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=end_with, args=(sys.stdin.fileno(),), name="parent", daemon=True).start()
    os.umask(0o077)
    configure_logging("node", "text")
    host = told["host"]
    try:
        files = NodeFiles(Path(told["top"]))
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, told["port"]), family=family, backlog=64)
    except Misconfigured as error:
        say(failed=str(error))
        return 2
    except OSError as error:
        say(failed=f"{host} port {told['port']}: {error.strerror}")
        return 1
    lines = NodeLog()
    say(port=listener.getsockname()[1])
    Node(listener, bytes.fromhex(told["secret"]), files, lines, stop).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
