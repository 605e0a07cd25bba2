"""Chooses TaskScheduling's engine by the settings: this machine, or the nodes of a Ray cluster."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from tomaat.devices.compute_source import ComputeSource
from tomaat.devices.device_watch import DeviceWatch
from tomaat.devices.sources import find_sources, threads_of_each
from tomaat.processes.misconfigured import Misconfigured
from tomaat.scheduling.beside import MOST_LANES
from tomaat.scheduling.engine import Engine
from tomaat.scheduling.local_engine import LocalEngine
from tomaat.scheduling.scheduler import BEATS_PER_LEASE
from tomaat.scheduling.worker_user import WorkerUser
from TOMAATSettings import HOME, Settings

SECRET_BYTES = 32


def sources_here(settings: Settings) -> list[ComputeSource]:
    """Find the compute sources of this machine; none where those of a cluster are used."""
    if settings.RAY_ADDRESS is not None:
        return []
    return find_sources(
        settings.HOST_NAME,
        wanted=settings.COMPUTE_SOURCES,
        devices=settings.COMPUTE_DEVICES,
        memory_bytes=settings.COMPUTE_MEMORY_BYTES,
    )


def most_lanes(settings: Settings) -> int:
    """Tell how many lanes a source may come to have."""
    return (settings.lanes or MOST_LANES) + len(set(settings.ENVIRONMENTS.values()))


def make_engine(
    settings: Settings, found: Sequence[ComputeSource], *, user: WorkerUser | None, wake_main: Callable[[], None]
) -> Engine:
    """Make the engine. Raises ``Misconfigured``."""
    options = [
        *("--task-errors", settings.TASK_ERRORS),
        *("--largest-volume-bytes", str(settings.LARGEST_VOLUME_BYTES)),
        *("--log-format", settings.LOG_FORMAT, "--log-level", settings.LOG_LEVEL),
    ]
    if settings.RAY_ADDRESS is not None:
        return _on_ray(settings, settings.RAY_ADDRESS, options, user=user, wake_main=wake_main)
    threads = threads_of_each(found, most_lanes(settings))
    return LocalEngine(
        ["--tasks", str(settings.CUSTOM_TASKS_DIR), "--threads", str(threads), *options],
        folder=HOME,
        wake_main=wake_main,
        user=user,
        keeps_spare=settings.SPARE_WORKER,
        found=found,
        watch=DeviceWatch(found, every_seconds=settings.LEASE_SECONDS / BEATS_PER_LEASE),
    )


def _on_ray(
    settings: Settings,
    address: str,
    options: Sequence[str],
    *,
    user: WorkerUser | None,
    wake_main: Callable[[], None],
) -> Engine:
    # only who wants a cluster has its code
    from tomaat.cluster.ray_nodes import RayNodes  # noqa: PLC0415
    from tomaat.cluster.remote_engine import NodeWishes, RemoteEngine  # noqa: PLC0415

    if user is not None:
        raise Misconfigured("TOMAAT_WORKER_USER: workers on a Ray cluster run as who has started Ray there; unset it")
    secret = secrets.token_bytes(SECRET_BYTES)
    wishes = NodeWishes(
        wanted=settings.COMPUTE_SOURCES,
        devices=settings.COMPUTE_DEVICES,
        memory_bytes=settings.COMPUTE_MEMORY_BYTES,
        options=options,
        most_lanes=most_lanes(settings),
        keeps_spare=settings.SPARE_WORKER,
        log_format=settings.LOG_FORMAT,
        log_level=settings.LOG_LEVEL,
        beat_seconds=settings.LEASE_SECONDS / BEATS_PER_LEASE,
        silent_seconds=settings.LEASE_SECONDS,
        tasks=settings.CUSTOM_TASKS_DIR,
        shared_disk=settings.RAY_SHARED_DISK,
    )
    engine = RemoteEngine(wishes, secret, wake_main=wake_main)
    engine.finder = RayNodes(
        address,
        secret,
        top=settings.RAY_NODE_DIR,
        port=settings.RAY_NODE_PORT,
        log_format=settings.LOG_FORMAT,
        log_level=settings.LOG_LEVEL,
        join=engine.join,
    )
    return engine
