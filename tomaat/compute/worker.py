"""The program that holds one compute source's device, keeps the networks warm, and runs tasks.

It runs other people's networks, so it gets a folder and a channel, and no credentials. Its lane asks; it answers:

====================  =====================================================================
lane                  worker
====================  =====================================================================
(start)               ``problem``…, ``offer``…, then ``ready`` or ``unusable``
``perform``           ``progress``…, then ``done``, ``refused``, ``crashed`` or ``cancelled``
``cancel``            (the task's next ``progress()`` raises ``Cancelled``)
``estimate``          ``estimated``
====================  =====================================================================
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tomaat.compute.Channel import Channel, ChannelClosed
from tomaat.compute.Job import Job
from tomaat.compute.Performer import Performer
from tomaat.log import configure_logging
from tomaat.services.find import find_tasks
from tomaat.volumes import VolumeReader

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Let the kernel end this process with its parent, so that no orphan keeps a GPU."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent is gone already")


def listen(channel: Channel, performer: Performer, jobs: SimpleQueue[Job]) -> None:
    """Take the lane's messages while the main thread performs; end the process when the lane is gone."""
    while True:
        try:
            message = channel.receive()
        except ChannelClosed:
            os._exit(0)
        if message["do"] == "perform":
            jobs.put(
                Job(
                    key=message["key"],
                    service=message["service"],
                    inputs=Path(message["inputs"]),
                    out=Path(message["out"]),
                    source=message["source"],
                )
            )
        elif message["do"] == "cancel":
            performer.cancelled_key = message["key"]
        elif message["do"] == "estimate":
            seconds = {key: performer.estimate(service, Path(inputs)) for key, service, inputs in message["tickets"]}
            channel.send({"is": "estimated", "seconds": seconds})


def prepare_device(name: str, threads: int) -> Any:
    """Import torch, bounded in threads, and use the device once, so that a broken one shows at the start."""
    import torch  # noqa: PLC0415 (after CUDA_VISIBLE_DEVICES; only this program and the tasks import torch)

    torch.set_num_threads(threads)
    device = torch.device(name)
    torch.zeros(1, device=device).add_(1).cpu()
    return device


def start(channel: Channel, arguments: argparse.Namespace, find_device: Callable[[str, int], Any]) -> Performer | None:
    """Prepare the device, find and load the tasks, and offer them; ``None`` when the device is unusable."""
    try:
        device = find_device(arguments.device, arguments.threads)
    except Exception as error:  # noqa: BLE001 (a driver may raise anything)
        reason = str(error).strip().splitlines() or [type(error).__name__]
        channel.send({"is": "unusable", "reason": f"torch cannot use {arguments.device}: {reason[0]}"})
        return None
    found = find_tasks(arguments.tasks)
    for trouble in found.problems:
        channel.send({"is": "problem", "reason": f"{trouble.file}: {trouble.reason}"[:4000]})
    wanted = set(found.tasks) if arguments.services == "*" else set(arguments.services.split(","))
    for missing in sorted(wanted - set(found.tasks)):
        channel.send({"is": "problem", "reason": f"{missing}: no task in {arguments.tasks.name} has this identifier"})
    performer = Performer(channel, VolumeReader(largest_voxel_bytes=arguments.largest_volume_bytes), device)
    performer.load({name: task for name, task in found.tasks.items() if name in wanted})
    performer.offer()
    channel.send({"is": "ready"})
    return performer


def main() -> None:
    """Start, then perform job after job until the lane ends this process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--services", required=True)
    parser.add_argument("--largest-volume-bytes", type=int, required=True)
    parser.add_argument("--log-format", required=True)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    configure_logging("worker", arguments.log_format)
    channel = Channel(socket.socket(fileno=arguments.channel))
    performer = start(channel, arguments, prepare_device)
    if performer is None:
        return
    jobs: SimpleQueue[Job] = SimpleQueue()
    threading.Thread(target=listen, args=(channel, performer, jobs), daemon=True).start()
    while True:
        channel.send(performer.run(jobs.get()))


if __name__ == "__main__":
    main()
