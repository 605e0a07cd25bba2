"""The tasks of a worker and their networks, warm on the device, performed within its memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from tomaat.contents.digest import sha256_of_weights, size_of
from tomaat.devices.need import Need
from tomaat.messages import Expected, Loaded, Loading, Measured
from tomaat.processes.log import text_of
from tomaat.processes.proc import machine_memory_bytes
from tomaat.refusals import WrongType
from tomaat.services import ExpectedMemory, Offer, Task
from tomaat.services.expected_memory import NoRoom
from tomaat.worker.device_memory import DeviceMemory
from tomaat.worker.errors import facts_of

log = structlog.get_logger()

FORGOTTEN = 0.1  #: of how far the known peak lies above the newest one, with each ticket
WEIGHT = 0.3  #: of the newest loading in the moving mean of its seconds
NOTICED = 0.05  #: a peak that changed by less, or by less than ``NOTICED_BYTES``, is not told
NOTICED_BYTES = 16 * 1024**2

Known = Mapping[tuple[str, str], Need]  #: by interface hash and version, of which any other is another service


@dataclass(frozen=True, kw_only=True)
class Fresh:
    """A task whose network was loaded while its former version still serves."""

    task: Task
    file: str  #: that holds it
    held_bytes: int
    seconds: float
    sha256: str | None  #: of its weights


class OutOfMemory(Exception):
    """A ticket needs more memory than its compute source has."""

    def __init__(self, needed_bytes: int | None, total_bytes: int | None, *, now: bool = False) -> None:
        super().__init__(f"needs {needed_bytes} of {total_bytes} bytes")
        self.needed_bytes = needed_bytes  #: as measured before, or expected; ``None``: the device ran out
        self.total_bytes = total_bytes
        self.now = now  #: these are the bytes that are free now


class Networks:
    """Keeps the tasks and their networks; used by the thread that performs (any thread may read ``tasks``).

    Networks stay warm. Where one does not fit beside the others, others are let go, least recently used first, by the
    bytes that were measured. Each loading and each ticket teaches how much a service needs; the lane is told.
    """

    def __init__(
        self,
        device: Any,
        report: Callable[[float, str], None],
        *,
        memory: DeviceMemory,
        known: Known,
        tell: Callable[[Measured | Expected | Loading | Loaded], None],
        shared: bool = False,
    ) -> None:
        """Keep networks on ``device``; ``report`` takes the tasks' progress, ``tell`` loadings and measurements.

        A ``shared`` device has other workers, which may leave no room even for the first network.
        """
        self.shared = shared
        self.device = device
        self.report = report
        self.memory = memory
        self.known = known
        self.tell = tell
        #: asks the other threads to free the memory that they can spare
        self.make_way: Callable[[], None] = lambda: None
        self.tasks: dict[str, Task] = {}
        self.files: dict[str, str] = {}  #: that hold them
        self.loaded: dict[str, int] = {}  #: the bytes that each warm network holds, least recently used first
        self.needs: dict[str, Need] = {}
        self.shares: dict[str, float] = {}  #: of what each service's task guesses of its layers, the part that it took
        self.told_peaks: dict[str, int | None] = {}
        self.told_warm: set[str] = set()
        self.weights: dict[str, tuple[Path, str]] = {}  #: the file or folder of each network, and its SHA-256

    def expected_loading(self, task: Task) -> float:
        """Tell the seconds in which a task's network was loaded before; infinitely many, if it never was."""
        try:
            need = self._known_need(task)
        except Exception:  # noqa: BLE001 (other people's code may raise anything; it is told when the task is loaded)
            return math.inf
        return math.inf if need is None else need.load_seconds

    def _known_need(self, task: Task) -> Need | None:
        offer = Offer.of(task)
        return self.known.get((offer.interface_hash, offer.version))

    def load(self, service: str, task: Task, file: str = "") -> None:
        """Take a task in, before the first ticket, and load its network.

        One that does not fit beside those before it stays cold: it is loaded for its first ticket. Raises any error
        of ``task.load``, also alone on the device.
        """
        need = self._known_need(task)
        if need is not None:
            self.needs[service] = need
        self.tasks[service], self.files[service] = task, file
        del task  # one that runs out of memory is made afresh, and the old one's memory must come back
        try:
            self._take_in(service)
        except BaseException:
            self.drop(service)
            raise

    def _take_in(self, service: str) -> None:
        self._hash_weights(service)
        wanted = self._wanted_bytes(service)
        if (self.loaded or self.shared) and wanted > self.memory.free_bytes():
            log.info("network.cold", service=service, wanted_bytes=wanted)
            return
        try:
            self._load_network(service, warm_up=True)
        except Exception as error:
            if not self.shared or not is_out_of_memory(error):
                raise
            log.info("network.cold", service=service, wanted_bytes=wanted)

    def load_beside(self, kind: type[Task], file: str) -> Fresh:
        """Make and load a new version of a task; where memory runs out, let all other networks but the former's go.

        Raises any error of ``load``; then the former version is as it was.
        """
        try:
            return self._load_fresh(kind(), file)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        self._let_go(self._others(kind.task_identifier))
        return self._load_fresh(kind(), file)  # the one that ran out of memory is gone

    def _load_fresh(self, task: Task, file: str) -> Fresh:
        in_use, began = self.memory.in_use_bytes(), time.monotonic()
        self.tell(Loading(name=task.task_identifier, deadline_seconds=task.load_deadline_seconds))
        try:
            task.load(self.device)
            self._warm_up(task)
            seconds = time.monotonic() - began
            sha256 = None if task.weights is None else sha256_of_weights(task.weights)
        finally:
            self.tell(Loaded())
        held = max(0, self.memory.in_use_bytes() - in_use)
        return Fresh(task=task, file=file, held_bytes=held, seconds=seconds, sha256=sha256)

    def take_fresh(self, fresh: Fresh) -> None:
        """Let a new version serve instead of the former one, if there is one, whose memory comes back."""
        task, service = fresh.task, fresh.task.task_identifier
        self.loaded.pop(service, None)
        self.tasks[service], self.files[service] = task, fresh.file
        self.loaded[service] = fresh.held_bytes
        self.needs[service] = Need(network_bytes=fresh.held_bytes, peak_bytes=None, load_seconds=fresh.seconds)
        self.shares.pop(service, None)
        self.weights.pop(service, None)
        if task.weights is not None and fresh.sha256 is not None:
            self.weights[service] = (task.weights, fresh.sha256)
        self.memory.give_back()

    def drop(self, service: str) -> None:
        """Forget a task that cannot be offered, if it is there."""
        for each in (self.tasks, self.files, self.loaded):
            each.pop(service, None)
        self.shares.pop(service, None)

    def weights_sha256(self, service: str) -> str | None:
        """Tell the SHA-256 of a service's weights; ``None`` where the task names none."""
        return self.weights[service][1] if service in self.weights else None

    def facts(self, service: str) -> dict[str, Any]:
        """Give a service's measurements, and its place among the warm networks, the least recently used first."""
        need = self.needs.get(service)
        return {
            "network_bytes": None if need is None else need.network_bytes,
            "peak_bytes": None if need is None else need.peak_bytes,
            "load_seconds": None if need is None else need.load_seconds,
            "warm": list(self.loaded).index(service) + 1 if service in self.loaded else None,
        }

    def perform(self, service: str, arguments: Mapping[str, Any]) -> Any:
        """Perform; where the device's memory does not suffice, let all other networks go and try once more.

        For want of the machine's memory the other threads free what they can spare, and it is tried once more as well.

        Raises ``OutOfMemory`` when that does not help, or the ticket is expected not to fit; ``NoRoom`` for want of the
        machine's memory; and any other error of the task.
        """
        try:
            return self._perform(service, arguments)
        except NoRoom:
            let_go: list[str] = []
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            let_go = self._others(service)
            log.warning("memory.exhausted", service=service, let_go=let_go)
        self.make_way()
        self._let_go(let_go)
        try:
            return self._perform(service, arguments)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            log.error("memory.insufficient", service=service, **facts_of(error))
        self.memory.give_back()
        raise OutOfMemory(None, self.memory.total_bytes)

    def _perform(self, service: str, arguments: Mapping[str, Any]) -> Any:
        expected = self._expect(service, arguments)
        task = self._warm(service, self._as_learned(service, expected))
        in_use = self.memory.in_use_bytes()
        self.memory.start_peak()
        outputs = task.perform(**arguments)
        beside_bytes = max(0, self.memory.peak_bytes() - in_use)
        self._learn_peak(service, beside_bytes)
        self._learn_share(service, expected, beside_bytes)
        return outputs

    def _expect(self, service: str, arguments: Mapping[str, Any]) -> ExpectedMemory | None:
        """Ask a task what a ticket will need; one that cannot say costs nothing."""
        gpu_bytes = self.memory.total_bytes if self._on_gpu else None
        try:
            return foretold(self.tasks[service].expected_memory(arguments, gpu_bytes=gpu_bytes))
        except Exception as error:  # noqa: BLE001 (other people's code may raise anything; performing tells it)
            log.warning("expectation.failed", service=service, **facts_of(error))
            return None

    @property
    def _on_gpu(self) -> bool:
        return getattr(self.device, "type", "cpu") != "cpu"

    def _warm(self, service: str, expected: ExpectedMemory | None) -> Task:
        """Give a task whose network is loaded, with room for what is expected, and for what was measured.

        Raises ``OutOfMemory`` for what is known not to fit, ``NoRoom`` for want of the machine's memory, and any error
        of ``load``.
        """
        self._make_room(service, expected)
        if expected is not None:
            expected.demand_room(machine_memory_bytes("MemAvailable"))
        if service not in self.loaded:
            self.report(0.0, "loading")
            self._tell(service, loading_seconds=self._load_network(service))
        self.loaded[service] = self.loaded.pop(service)  # the most recently used is the last
        self._tell_expected(service, expected)
        task = self.tasks[service]
        task.report = self.report
        return task

    # Loading, and letting go

    def _load_network(self, service: str, *, warm_up: bool = False) -> float:
        """Load a network; where memory runs out, let all others go and try once more. Returns the seconds it took.

        One that is loaded for a ticket is warmed up by that ticket.
        """
        began = time.monotonic()
        try:
            self._load_and_measure(service, warm_up=warm_up)
        except Exception as error:
            if not is_out_of_memory(error) or not self.loaded:
                raise
            log.warning("memory.exhausted", service=service, let_go=self._others(service))
        else:
            return time.monotonic() - began
        self._let_go(self._others(service))
        self._load_and_measure(service, warm_up=warm_up)
        return time.monotonic() - began

    def _load_and_measure(self, service: str, *, warm_up: bool) -> None:
        in_use, began = self.memory.in_use_bytes(), time.monotonic()
        self.tell(Loading(name=service, deadline_seconds=self.tasks[service].load_deadline_seconds))
        try:
            self.tasks[service].load(self.device)
            if warm_up:
                self._warm_up(self.tasks[service])
            seconds = time.monotonic() - began
            self._hash_weights(service)
        except BaseException:
            self._make_afresh(service)  # what it has loaded already must not stay
            raise
        finally:
            self.tell(Loaded())
        held = max(0, self.memory.in_use_bytes() - in_use)
        self.loaded[service] = held
        need = self.needs.get(service)
        if need is None:
            self.needs[service] = Need(network_bytes=held, peak_bytes=None, load_seconds=seconds)
        else:
            mean = (1 - WEIGHT) * need.load_seconds + WEIGHT * seconds
            self.needs[service] = replace(need, network_bytes=held, load_seconds=mean)

    def _warm_up(self, task: Task) -> None:
        """Let a task do what is slow at the first time; what it took goes back, so that it counts as nobody's.

        A task that cannot do so serves all the same.
        """
        if type(task).warm_up is Task.warm_up:
            return
        try:
            task.warm_up()
        except BaseException as error:  # noqa: BLE001 (other people's code may raise anything, SystemExit too)
            log.warning("network.not_warmed_up", service=task.task_identifier, **facts_of(error))
        self.memory.give_back()

    def _hash_weights(self, service: str) -> None:
        """Hash the weights once; some tasks know only when they have loaded where these lie."""
        weights = self.tasks[service].weights
        if weights is not None and (service not in self.weights or self.weights[service][0] != weights):
            self.weights[service] = (weights, sha256_of_weights(weights))

    def _make_room(self, service: str, expected: ExpectedMemory | None) -> None:
        """Let networks go until there is the free memory that a ticket is known to need, if letting go can do it.

        Raises ``OutOfMemory`` where it cannot fit; where it may once other workers are done, only on a shared device.
        """
        need, total = self.needs.get(service), self.memory.total_bytes
        network = 0 if need is None else need.network_bytes
        sure = network + self._sure_bytes(expected)
        most = max(sure, 0 if need is None else need.most_bytes)
        if total is not None and most > total:
            raise OutOfMemory(most, total)
        held, layers = self.loaded.get(service, 0), 0 if expected is None else expected.layers_bytes or 0
        wanted = self._wanted_bytes(service)
        wanted = max(wanted, (wanted if need is None else network - held) + self._sure_bytes(expected) + layers)
        while (short := wanted - self.memory.free_bytes()) > 0:
            chosen = to_let_go({name: self.loaded[name] for name in self._others(service)}, short)
            if not chosen:
                break
            log.info("networks.let_go", services=chosen, short_bytes=short, wanted_by=service)
            self._let_go(chosen)
        free = self.memory.free_bytes() + held
        if self.shared and self._on_gpu and expected is not None and sure > free:
            raise OutOfMemory(sure, free, now=True)

    def _sure_bytes(self, expected: ExpectedMemory | None) -> int:
        """Tell what a ticket surely takes of the device beside the network; a CPU has the machine's memory."""
        if expected is None:
            return 0
        return expected.gpu_bytes if self._on_gpu else expected.machine_bytes

    def _tell_expected(self, service: str, expected: ExpectedMemory | None) -> None:
        """Tell the lane what a ticket takes at most, unless too little is known for others to start beside it."""
        need = self.needs[service]
        if expected is None or (expected.layers_bytes is None and need.peak_bytes is None):
            return
        peak = need.network_bytes + self._sure_bytes(expected) + (expected.layers_bytes or 0)
        self.tell(Expected(service=service, peak_bytes=max(peak, need.most_bytes)))

    def _wanted_bytes(self, service: str) -> int:
        """Tell how many more bytes a service needs, as far as is known; before it was measured, its weights' size."""
        need, weights = self.needs.get(service), self.tasks[service].weights
        if need is not None:
            return need.most_bytes - self.loaded.get(service, 0)
        return 0 if weights is None else size_of(weights)

    def _others(self, service: str) -> list[str]:
        return [name for name in self.loaded if name != service]

    def _let_go(self, services: list[str]) -> None:
        for name in services:
            del self.loaded[name]
            self._make_afresh(name)
        self.memory.give_back()

    def let_all_go(self) -> None:
        """Let all networks go, and tell that none is warm."""
        let_go = list(self.loaded)
        self._let_go(let_go)
        if let_go:
            self._tell(let_go[-1], loading_seconds=0.0)

    def _make_afresh(self, service: str) -> None:
        """Replace a task by a new one, without a network."""
        self.tasks[service] = type(self.tasks[service])()

    # Learning

    def _learn_peak(self, service: str, beside_bytes: int) -> None:
        """Learn from a ticket that ended well how much it took beside the network.

        The known peak follows a larger one at once and a smaller one slowly, so that one large ticket is forgotten. It
        ended well, so it fits: the peak counts at most as all that there is.
        """
        need = self.needs[service]
        peak = need.network_bytes + beside_bytes
        if need.peak_bytes is not None:
            peak = max(peak, round(need.peak_bytes - FORGOTTEN * (need.peak_bytes - peak)))
        if self.memory.total_bytes is not None:
            peak = min(peak, self.memory.total_bytes)
        self.needs[service] = replace(need, peak_bytes=peak)
        self._tell(service, loading_seconds=0.0)

    def _learn_share(self, service: str, expected: ExpectedMemory | None, beside_bytes: int) -> None:
        """Learn which part of what was guessed a ticket took: a guess must not count for ever against what is measured.

        The part follows a larger one at once and a smaller one slowly, as the peak does.
        """
        if expected is None or not expected.layers_bytes:
            return
        share = min(1.0, max(0, beside_bytes - self._sure_bytes(expected)) / expected.layers_bytes)
        known = self.shares.get(service, share)
        self.shares[service] = max(share, known - FORGOTTEN * (known - share))

    def _as_learned(self, service: str, expected: ExpectedMemory | None) -> ExpectedMemory | None:
        """Cut a guess to the part that the tickets before took of theirs."""
        if expected is None or expected.layers_bytes is None:
            return expected
        return replace(expected, layers_bytes=round(self.shares.get(service, 1.0) * expected.layers_bytes))

    def _tell(self, service: str, *, loading_seconds: float) -> None:
        """Tell a service's measurements and which networks are warm, if that is news."""
        peak, told = self.needs[service].peak_bytes, self.told_peaks.get(service)
        least = max(NOTICED_BYTES, NOTICED * (told or 0))
        same = peak == told or (peak is not None and told is not None and abs(peak - told) < least)
        if same and not loading_seconds and self.told_warm == self.loaded.keys():
            return
        self.told_peaks[service], self.told_warm = peak, set(self.loaded)
        need = asdict(self.needs[service])
        self.tell(Measured(service=service, **need, warm=tuple(self.loaded), loading_seconds=loading_seconds))


def foretold(expected: Any) -> ExpectedMemory | None:
    """Check what a task foretells. Raises ``WrongType`` for anything else."""
    if expected is not None and not isinstance(expected, ExpectedMemory):
        raise WrongType("expected_memory() returned {}; return an ExpectedMemory, or None", expected)
    return expected


def to_let_go(sizes: Mapping[str, int], short_bytes: int) -> list[str]:
    """Choose the networks to let go for ``short_bytes``, among ``sizes`` with the least recently used first.

    The least recently used go, as many as it takes; of these the later ones stay that are not needed for it.

    >>> to_let_go({"old": 3, "older than new": 4, "new": 5}, 6)
    ['old', 'older than new']
    >>> to_let_go({"small": 1, "large": 9, "new": 9}, 8)
    ['large']
    """
    chosen: dict[str, int] = {}
    for name, size in sizes.items():
        if sum(chosen.values()) >= short_bytes:
            break
        if size:
            chosen[name] = size
    for name in reversed(list(chosen)):
        if sum(chosen.values()) - chosen[name] >= short_bytes:
            del chosen[name]
    return list(chosen)


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether the device's, or the machine's, memory was exhausted; torch says so in its own ways."""
    words = text_of(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in words
        or "CUDA out of memory" in words
    )
