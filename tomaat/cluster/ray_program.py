"""The program that joins a Ray cluster for TaskScheduling, and lets each of its nodes serve.

It reads one line of JSON, and ends once nothing more can come. It writes a line for each node that has begun to serve.
Whatever it has started on the nodes ends with it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
import structlog
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from tomaat.cluster.ray_holder import RayHolder
from tomaat.processes.dying import die_with_parent
from tomaat.processes.log import configure_logging

log = structlog.get_logger()

LOOK_SECONDS = 1.0
START_SECONDS = 60.0  #: within which a node's actor has to run: Ray may have its GPUs given to others
AGAIN_SECONDS = 2.0  #: after which a node that failed is tried again, twice as long each time
LONGEST_AGAIN_SECONDS = 60.0  #: after which it is tried at the latest; whoever served longer has not failed


@dataclass
class AtNode:
    """What runs on one node."""

    name: str
    host: str
    actor: Any
    beginning: Any  #: Ray's promise of the node's answer; ``None`` once it came
    ended: Any  #: Ray's promise that is kept once the node serves no longer
    since: float


class RayProgram:
    """Looks at the cluster every second."""

    def __init__(self, told: Mapping[str, Any], out: int) -> None:
        self.told = told
        self.out = out
        self.at: dict[str, AtNode] = {}  #: by Ray's id of the node
        self.again_at: dict[str, float] = {}
        self.failures: dict[str, int] = {}

    def look(self) -> None:
        """Let nodes that joined serve, forget those that left, and tell of those that serve by now."""
        alive = {each["NodeID"]: each for each in ray.nodes() if each["Alive"]}
        for id in self.at.keys() - alive.keys():
            log.warning("node.gone", node=self.at.pop(id).name)
        for id, node in alive.items():
            if id in self.at:
                self._look_at(id, self.at[id])
            elif time.monotonic() >= self.again_at.get(id, 0.0):
                self._begin(id, node)

    def _begin(self, id: str, node: Mapping[str, Any]) -> None:
        self._try_again(id)
        name, host = node.get("NodeName") or node["NodeManagerAddress"], node["NodeManagerAddress"]
        if "/" in name or any(map(str.isspace, name)) or name in {each.name for each in self.at.values()}:
            reason = "another node has this name, or had it a moment ago, or it holds / or blanks"
            log.error("node.refused", node=name, reason=reason, then="it is tried again")
            return
        actor = (
            ray.remote(RayHolder)
            .options(
                num_cpus=0,
                num_gpus=node["Resources"].get("GPU", 0),  # so that Ray gives none of them to anybody else
                max_restarts=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node_id=id, soft=False),
            )
            .remote()
        )
        told = {"host": host, "port": self.told["port"], "top": self.told["top"], "secret": self.told["secret"]}
        now = time.monotonic()
        self.at[id] = AtNode(name, host, actor, actor.begin.remote(told), actor.wait.remote(), now)

    def _look_at(self, id: str, at: AtNode) -> None:
        if at.beginning is not None and _is_kept(at.beginning):
            said = _answer(at.beginning)
            at.beginning = None
            if "port" in said:
                self._tell(node=at.name, host=at.host, port=said["port"])
                return
            self._end(id, at, said["failed"])
        elif at.beginning is not None and time.monotonic() > at.since + START_SECONDS:
            self._end(id, at, f"Ray has not started it within {START_SECONDS:g} s; are its GPUs free?")
        elif at.beginning is None and _is_kept(at.ended):
            self._end(id, at, _answer(at.ended).get("failed", "it serves no longer"))

    def _end(self, id: str, at: AtNode, reason: str) -> None:
        log.warning("node.ended", node=at.name, reason=reason, then="it is tried again")
        if time.monotonic() > at.since + LONGEST_AGAIN_SECONDS:
            self.failures[id] = 0
        self._try_again(id)
        del self.at[id]
        ray.kill(at.actor)

    def _try_again(self, id: str) -> None:
        failures = self.failures.get(id, 0)
        self.again_at[id] = time.monotonic() + min(LONGEST_AGAIN_SECONDS, AGAIN_SECONDS * 2**failures)
        self.failures[id] = failures + 1

    def _tell(self, **words: object) -> None:
        os.write(self.out, json.dumps(words).encode() + b"\n")


def _is_kept(promise: Any) -> bool:
    ready, _ = ray.wait([promise], timeout=0)
    return bool(ready)


def _answer(promise: Any) -> dict[str, Any]:
    try:
        answer = ray.get(promise)
    except Exception as error:  # noqa: BLE001 (whatever Ray says of a node ends that node's part alone)
        return {"failed": str(error).strip().splitlines()[-1][:500]}
    return dict(answer)


def main() -> None:
    """Join the cluster, and look after its nodes until TaskScheduling ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    die_with_parent(parser.parse_args().parent, signal.SIGKILL)
    told = json.loads(sys.stdin.buffer.readline())
    out = os.dup(1)
    os.dup2(2, 1)  # Ray writes there
    configure_logging("ray", told["log_format"], told["log_level"])
    over = threading.Event()

    def end_with_input() -> None:
        while os.read(0, 4096):
            pass
        over.set()

    threading.Thread(target=end_with_input, daemon=True).start()
    ray.init(address=told["address"], log_to_driver=False, logging_level="warning")
    log.info("ray.joined", address=told["address"], nodes=len(ray.nodes()))
    program = RayProgram(told, out)
    while not over.wait(LOOK_SECONDS):
        program.look()
    ray.shutdown()


if __name__ == "__main__":
    main()
