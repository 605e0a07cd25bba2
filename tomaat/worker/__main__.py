"""The program that holds one compute source's device, keeps the networks warm, and runs tasks.

It runs other people's networks, so it gets a folder and a channel, and no credentials. Its lane asks; it answers:

====================  ==============================================================================================
lane                  worker
====================  ==============================================================================================
(start)               ``problem``…, ``offer``…, then ``ready`` or ``unusable``
``perform``           ``progress``…, ``performed`` (the device is free), ``progress``…, ``done``; or, wherever it ends
                      early, ``refused``, ``crashed``, ``outgrown``, ``cancelled`` or ``disk_full``; meanwhile
                      ``needs``, whenever something new of them was measured
``prepare``           (reads a waiting ticket's inputs ahead of its claim, and holds them instead of others)
``forget``            (lets go what was read ahead)
``cancel``            (the task's next ``progress()`` raises ``Cancelled``)
``estimate``          ``estimated``
====================  ==============================================================================================

A job passes three stages, each in a thread of its own: ``Reading``, ``Performer`` in the main thread, ``Packing``. So
the device performs one ticket while the next one is read and the last one packed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import signal
import socket
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from structlog.contextvars import bound_contextvars

from tomaat.devices.need import Need
from tomaat.messages.channel import Channel, ChannelClosed
from tomaat.processes.log import configure_logging
from tomaat.reader import VolumeReader
from tomaat.services.find import find_tasks
from tomaat.worker.cuda_memory import CudaMemory
from tomaat.worker.device_memory import DeviceMemory
from tomaat.worker.job import MOST_UNDER_WAY, Job
from tomaat.worker.networks import Known
from tomaat.worker.packing import Packing
from tomaat.worker.performing import Performer
from tomaat.worker.process_memory import ProcessMemory
from tomaat.worker.reading import Ahead, Reading
from tomaat.worker.report import Report

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Let the kernel end this process with its parent, so that no orphan keeps a GPU."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent is gone already")


def listen(channel: Channel, performer: Performer, reading: Reading) -> None:
    """Take the lane's messages while other threads work; end the process when the lane is gone."""
    jobs: deque[Job] = deque(maxlen=MOST_UNDER_WAY)
    while True:
        try:
            message = channel.receive()
        except ChannelClosed:
            os._exit(0)
        if message["do"] == "perform":
            job = Job(
                key=message["key"],
                service=message["service"],
                inputs=Path(message["inputs"]),
                out=Path(message["out"]),
                source=message["source"],
                report=Report(channel, message["key"]),
            )
            jobs.append(job)
            reading.asked.put(job)
        elif message["do"] == "prepare":
            reading.asked.put(Ahead(service=message["service"], inputs=Path(message["inputs"])))
        elif message["do"] == "forget":
            reading.asked.put(None)
        elif message["do"] == "cancel":
            for job in jobs:
                job.report.cancelled |= job.key == message["key"]
        elif message["do"] == "estimate":
            seconds = {}
            for ticket, service, inputs in message["tickets"]:
                with bound_contextvars(ticket=int(ticket)):
                    seconds[ticket] = performer.estimate(service, Path(inputs))
            channel.send({"is": "estimated", "seconds": seconds})


def work_for_life(work: Callable[[], None]) -> None:
    """Run a stage; what ends it ends the process, so that no ticket waits for a thread that is gone."""
    try:
        work()
    except BaseException:  # noqa: BLE001 (SystemExit too: in a thread it would end this thread only)
        traceback.print_exc()
    finally:
        os._exit(1)


def prepare_device(name: str, threads: int) -> Any:
    """Import torch, bounded in threads, and use the device once, so that a broken one shows at the start."""
    import torch  # noqa: PLC0415 (after CUDA_VISIBLE_DEVICES; only this program and the tasks import torch)

    torch.set_num_threads(threads)
    device = torch.device(name)
    torch.zeros(1, device=device).add_(1).cpu()
    return device


def memory_of(device: Any, limit_bytes: int | None) -> DeviceMemory:
    """Choose what measures the device's memory."""
    import torch  # noqa: PLC0415 (as above)

    return CudaMemory(torch.cuda, device, limit_bytes) if device.type == "cuda" else ProcessMemory(limit_bytes)


def known_needs(told: str) -> Known:
    """Read what earlier workers of this source have measured, as ``SourceStore.needs_of`` gives it."""
    return {
        (interface_hash, version): Need(network_bytes=network, peak_bytes=peak, load_seconds=seconds)
        for interface_hash, version, network, peak, seconds in json.loads(told)
    }


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
    memory = memory_of(device, arguments.memory_bytes)
    performer = Performer(channel, device, memory, known_needs(arguments.needs))
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
    parser.add_argument("--memory-bytes", type=int)
    parser.add_argument("--needs", required=True)
    parser.add_argument("--largest-volume-bytes", type=int, required=True)
    parser.add_argument("--log-format", required=True)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    configure_logging("worker", arguments.log_format)
    channel = Channel(socket.socket(fileno=arguments.channel))
    performer = start(channel, arguments, prepare_device)
    if performer is None:
        return
    reader = VolumeReader(largest_voxel_bytes=arguments.largest_volume_bytes)
    reading = Reading(channel, reader, performer.networks, performer.asked)
    performer.networks.make_way = lambda: reading.asked.put(None)
    packing = Packing(channel, performer.networks)
    for work in (lambda: listen(channel, performer, reading), reading.work, packing.work):
        threading.Thread(target=work_for_life, args=(work,), daemon=True).start()
    performer.work(packing.asked)


if __name__ == "__main__":
    main()
