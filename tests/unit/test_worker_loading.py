"""How a worker loads other people's tasks, at its start and on purpose, without its process."""

import argparse
import pickle
import sys

import pytest

from Inputs import SingleChoiceInput
from tests.unit.driven_worker import Add, Broken, Raising, Refusing, Unloadable, result_of
from tomaat.devices.need import Need
from tomaat.messages import (
    Begin,
    DeviceUnusable,
    Loaded,
    Loading,
    MakeRoom,
    Measured,
    NotOffered,
    Offered,
    Packed,
    Reload,
    RoomMade,
    WorkerReady,
)
from tomaat.scheduling.kept_tasks import KeptTasks, is_task_file
from tomaat.services import Offer
from tomaat.services.find import find_tasks
from tomaat.services.found import Found
from tomaat.services.kept import import_from_copy
from tomaat.worker import performing
from tomaat.worker.__main__ import find, start


def test_a_task_whose_load_would_end_the_program_is_not_offered_and_the_others_are(worker, monkeypatch):
    monkeypatch.setattr(Raising, "load", lambda *_: sys.exit(3))
    worker.load(Raising, Add)
    problem, offer = worker.offers
    assert problem == NotOffered(reason="Raising: load() failed: SystemExit: 3")
    assert offer.service == "Add"
    assert list(worker.performer.networks.tasks) == ["Add"]


def test_a_task_that_cannot_load_is_reported_and_the_others_serve(worker):
    worker.load(Unloadable, Add)
    problem, offer = worker.offers
    assert problem == NotOffered(reason="Unloadable: load() failed: FileNotFoundError: weights/liver.pt2")
    assert (offer.service, offer.warm, offer.peak_bytes) == ("Add", 1, None)


def test_a_task_that_cannot_load_for_an_error_without_a_text_is_reported_too(worker, monkeypatch):
    monkeypatch.setattr(Raising, "load", lambda *_: (_ for _ in ()).throw(_Mute()))
    worker.load(Raising, Add)
    problem, offer = worker.offers
    assert problem == NotOffered(reason="Raising: load() failed: _Mute: its text cannot be made")
    assert offer.service == "Add"


def test_a_driver_whose_error_has_no_text_is_told_too():
    assert performing.first_line(_Mute()) == "its text cannot be made"


def test_a_service_is_offered_as_soon_as_it_is_loaded_and_its_ticket_comes_before_the_next_network(worker, job):
    made = {task.task_identifier: task() for task in (Add, Broken)}
    worker.performer.take_in(Found(tasks=made, files=dict.fromkeys(made, "tasks.py"), problems=[]))
    assert worker.load_next().service == "Add"
    assert worker.run(job("Add")) == Packed(key="1/1")
    worker.performer.load()
    assert worker.hear()[-1] == WorkerReady()


def test_a_ticket_that_waits_is_performed_before_the_next_network_is_loaded(worker, job, monkeypatch):
    made = {task.task_identifier: task() for task in (Add, Broken)}
    worker.performer.take_in(Found(tasks=made, files=dict.fromkeys(made, "tasks.py"), problems=[]))
    worker.load_next()
    worker.read(job("Add"))

    def take(*_):
        raise InterruptedError

    monkeypatch.setattr(worker.performer, "take", take)
    with pytest.raises(InterruptedError):
        worker.performer.work(worker.packing.to_pack)
    assert worker.performer.order == ["Broken"]


def test_what_loaded_before_is_loaded_first_and_the_quickest_of_it(worker):
    known = {("Broken", 5.0), ("Refusing", 1.0)}
    performer = worker.performer
    tasks = {task.task_identifier: task() for task in (Add, Broken, Refusing)}
    hashes = {name: Offer.of(task).interface_hash for name, task in tasks.items()}
    performer.networks.known = {
        (hashes[name], "1"): Need(network_bytes=1, peak_bytes=None, load_seconds=seconds) for name, seconds in known
    }
    performer.take_in(Found(tasks=tasks, files=dict.fromkeys(tasks, "tasks.py"), problems=[]))
    assert performer.order == ["Refusing", "Broken", "Add"]


class _Mute(Exception):
    """Has no text, and would end the program of whoever wants one."""

    def __str__(self):
        raise SystemExit(4)


class _Talkative(Add):
    task_identifier = "Talkative"
    inputs = (SingleChoiceInput("x", "X", choices=[f"{number:0200}" for number in range(1000)]),)


def test_an_interface_too_long_to_be_told_is_reported_and_the_others_serve(worker):
    worker.load(_Talkative, Add)
    problem, offer = worker.offers
    assert problem.reason.startswith("Talkative: its interface cannot be told")
    assert isinstance(offer, Offered)
    assert offer.service == "Add"


def test_a_device_that_torch_cannot_use_is_told(worker):
    def no_device(_name, _threads):
        raise RuntimeError("no kernel image is available\nand more lines")

    arguments = type("Arguments", (), {"device": "cuda:0", "threads": 1})
    assert start(worker.channel, arguments, no_device) is None
    assert worker.hear() == [DeviceUnusable(reason="torch cannot use cuda:0: no kernel image is available")]


HEAVY = """
from Inputs import FloatInput
from tomaat.services import Task

class _Heavy(Task):
    description = "Takes most of the device."
    inputs = (FloatInput("x", "X"),)

    def load(self, device):
        self.device = device
        if sum(device.held.values()) + 60 > 100:
            raise MemoryError
        device.held[id(self)] = 60

    def __del__(self):
        if hasattr(self, "device"):
            self.device.held.pop(id(self), None)

    def perform(self, x):
        return {}

class First(_Heavy):
    task_identifier = "First"

class Second(_Heavy):
    task_identifier = "Second"
"""


class _Device:
    """Has 100 bytes, which only the end of a task gives back."""

    type = "heavy"
    total_bytes = None

    def __init__(self):
        self.held = {}

    def in_use_bytes(self):
        return sum(self.held.values())

    def free_bytes(self):
        return 100 - self.in_use_bytes()

    def give_back(self):
        pass


@pytest.mark.parametrize(("neighbour", "warm"), [(0, ["Second"]), (60, [])])
def test_networks_that_do_not_fit_together_at_the_start_are_all_offered(worker, tmp_path, monkeypatch, neighbour, warm):
    (tmp_path / "HeavyTask.py").write_text(HEAVY)
    device = _Device()
    device.held["another worker"] = neighbour
    monkeypatch.setattr(sys.modules[start.__module__], "memory_of", lambda *_: device)
    options = {"device": "x", "threads": 1, "tasks": tmp_path, "kept": tmp_path, "services": None, "memory_bytes": None}
    options["shared"] = neighbour > 0
    worker.lane.send(Begin(without=()))
    performer = start(worker.channel, argparse.Namespace(**options), lambda *_: device)
    performer.load()
    performer.load()
    assert [each for each in worker.hear() if isinstance(each, NotOffered)] == []
    assert (list(performer.networks.tasks), list(performer.networks.loaded)) == (["First", "Second"], warm)


# Loading on purpose

VERSION = """
from Inputs import FloatInput
from tomaat.services import Task

class {name}(Task):
    task_identifier = "{name}"
    description = "Says its version."
    inputs = (FloatInput("x", "X"),)

    def load(self, device):
        {load}

    def perform(self, x):
        return {{"version": "{version}"}}
"""


class Shelf:
    """A folder of tasks, and its copy, from which a worker imports."""

    def __init__(self, worker, top, *, wanted=None, loads=None):
        self.worker = worker
        self.folder, self.top = top / "tasks", top
        self.folder.mkdir()
        for service in ("First", "Second"):
            self.write(service, 1, load=(loads or {}).get(service, "pass"))
        self.kept = KeptTasks(self.folder, top / "kept")
        import_from_copy(self.folder, self.kept.copy)
        worker.performer.folder, worker.performer.wanted = self.folder, wanted
        arguments = argparse.Namespace(tasks=self.folder, kept=self.kept.copy, services=wanted)
        worker.performer.take_in(find(worker.channel, arguments, {}, ()))
        worker.hear()
        self.offers = [worker.load_next() for _ in list(worker.performer.order)]
        worker.hear()

    def write(self, name, version, *, load="pass", file=None):
        (self.folder / (file or f"{name}Task.py")).write_text(VERSION.format(name=name, version=version, load=load))

    def reload(self):
        """Load what has changed; return the messages about it."""
        changed = self.kept.changed()
        copy = self.kept.renewed(changed)
        files = sorted(name for name in changed if is_task_file(name))
        self.worker.performer.reload(Reload(copy=copy, files=tuple(files)))
        *told, reloaded = self.worker.hear()
        self.kept.take(copy, reloaded.refused)
        return [each for each in told if not isinstance(each, Loading | Loaded)], reloaded

    def version(self, service):
        return self.worker.performer.networks.tasks[service].perform(1)["version"]


@pytest.fixture
def shelf(worker, tmp_path):
    return Shelf(worker, tmp_path)


def test_a_changed_file_serves_once_it_has_loaded(shelf):
    shelf.write("First", 2)
    assert shelf.version("First") == "1"
    ((offer,), reloaded) = shelf.reload()
    assert (offer.service, reloaded.services, reloaded.refused) == ("First", ("First", "Second"), ())
    assert [shelf.version(service) for service in ("First", "Second")] == ["2", "1"]


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        ("raise OSError('no weights')", "First: load() failed: OSError: no weights"),
        ("raise SystemExit(3)", "First: load() failed: SystemExit: 3"),
        ("this is no Python", "FirstTask.py: SyntaxError"),
    ],
)
def test_a_changed_file_that_fails_leaves_the_former_task(shelf, load, reason):
    shelf.write("First", 2, load=load)
    ((refusal,), reloaded) = shelf.reload()
    assert refusal.reason.startswith(reason)
    assert reloaded.refused == ("FirstTask.py",)
    assert shelf.version("First") == "1"
    assert (shelf.kept.copy / "FirstTask.py").read_text() == VERSION.format(name="First", version=1, load="pass")


def test_a_copy_of_a_file_is_refused_by_its_name_and_the_original_serves_on(shelf):
    shelf.write("First", 2, file="Copy.py")
    ((refusal,), _) = shelf.reload()
    assert refusal.reason == (
        "Copy.py: the task_identifier 'First' is FirstTask.py's, which offers it; give this file its own"
    )
    assert shelf.version("First") == "1"


def test_a_copy_of_a_file_that_is_there_at_the_start_is_refused_too(shelf):
    shelf.write("First", 2, file="ACopy.py")
    found = find_tasks(shelf.folder, offered={"First": "FirstTask.py"})
    assert found.files["First"] == "FirstTask.py"
    assert [each.file for each in found.problems] == ["ACopy.py"]


def test_a_file_that_was_renamed_or_removed_takes_its_service_along(shelf):
    (shelf.folder / "FirstTask.py").unlink()
    shelf.write("Third", 1)
    _, reloaded = shelf.reload()
    assert set(reloaded.services) == {"Second", "Third"}


def test_a_file_whose_service_never_loaded_can_be_mended_and_removed(worker, tmp_path):
    shelf = Shelf(worker, tmp_path, loads={"Second": "raise OSError('no weights')"})
    assert list(worker.performer.networks.tasks) == ["First"]
    shelf.write("Other", 1, file="SecondTask.py")
    assert set(shelf.reload()[1].services) == {"First", "Other"}
    (shelf.folder / "SecondTask.py").unlink()
    _, reloaded = shelf.reload()
    assert (reloaded.services, reloaded.refused) == (("First",), ())
    for service in ("Second", "Other"):
        shelf.write(service, 1, file=f"New{service}.py")
    assert set(shelf.reload()[1].services) == {"First", "Second", "Other"}, "no file that is gone holds on to its own"


def test_a_file_with_services_that_this_source_does_not_offer_can_be_changed(worker, tmp_path):
    shelf = Shelf(worker, tmp_path, wanted=["First"])
    both = VERSION.format(name="First", version=2, load="pass") + VERSION.format(name="Second", version=2, load="pass")
    for text in (both, both + "\n"):
        (shelf.folder / "FirstTask.py").write_text(text)
        (shelf.folder / "SecondTask.py").unlink(missing_ok=True)
        _, reloaded = shelf.reload()
        assert (reloaded.services, reloaded.refused, shelf.version("First")) == (("First",), (), "2")


@pytest.mark.parametrize("file", ["ATask.py", "ZTask.py"])
def test_a_service_may_move_from_one_file_to_another(shelf, file):
    shelf.write("First", 2, file=file)
    shelf.write("Other", 1, file="FirstTask.py")
    _, reloaded = shelf.reload()
    assert (set(reloaded.services), reloaded.refused) == ({"First", "Second", "Other"}, ())
    assert shelf.version("First") == "2"
    (shelf.folder / "FirstTask.py").unlink()
    assert set(shelf.reload()[1].services) == {"First", "Second"}, "its former file takes it along no longer"


@pytest.mark.parametrize("failing", ["First", "Other"])
def test_a_service_that_moves_stays_where_it_was_if_one_of_both_files_fails(shelf, failing):
    loads = {"First": "pass", "Other": "pass"} | {failing: "raise OSError('no weights')"}
    shelf.write("First", 2, file="ATask.py", load=loads["First"])
    shelf.write("Other", 1, file="FirstTask.py", load=loads["Other"])
    shelf.write("Second", 2)
    (told, reloaded) = shelf.reload()
    (refusal,) = (each for each in told if isinstance(each, NotOffered))
    assert refusal.reason == f"{failing}: load() failed: OSError: no weights"
    assert (set(reloaded.services), reloaded.refused) == ({"First", "Second"}, ("ATask.py", "FirstTask.py"))
    assert [shelf.version(service) for service in ("First", "Second")] == ["1", "2"]


def test_a_changed_file_whose_interface_cannot_be_told_leaves_the_former_task(shelf):
    text = VERSION.format(name="First", version=2, load="pass")
    long = 'SingleChoiceInput("x", "X", choices=[f"{number:0200}" for number in range(1000)])'
    text = text.replace('FloatInput("x", "X")', long).replace("import FloatInput", "import SingleChoiceInput")
    (shelf.folder / "FirstTask.py").write_text(text)
    ((refusal,), reloaded) = shelf.reload()
    assert refusal.reason.startswith("First: its interface cannot be told")
    assert (reloaded.services, reloaded.refused) == (("First", "Second"), ("FirstTask.py",))
    assert shelf.version("First") == "1"


def test_a_helper_that_has_changed_comes_with_the_task_that_imports_it(shelf, monkeypatch):
    monkeypatch.syspath_prepend(str(shelf.folder))
    (shelf.folder / "_helper.py").write_text("VERSION = 1")
    shelf.write("First", "a", load="import _helper; self.helper = _helper.VERSION")
    shelf.reload()
    helper = lambda: shelf.worker.performer.networks.tasks["First"].helper  # noqa: E731
    assert helper() == 1
    (shelf.folder / "_helper.py").write_text("VERSION = 2")
    shelf.write("First", "b", load="import _helper; self.helper = _helper.VERSION")
    shelf.reload()
    assert helper() == 2
    sys.modules.pop("_helper")


def test_a_task_finds_its_own_classes_after_another_file_was_loaded_anew(shelf):
    shelf.write("First", 2)
    shelf.reload()
    for task in shelf.worker.performer.networks.tasks.values():
        pickle.dumps(task)


def test_a_task_whose_new_file_is_refused_finds_its_own_classes(shelf):
    shelf.write("First", 2, load="raise OSError")
    shelf.write("Second", 2)
    assert shelf.reload()[1].refused == ("FirstTask.py",)
    for task in shelf.worker.performer.networks.tasks.values():
        pickle.dumps(task)


def test_tasks_whose_new_files_are_all_refused_find_their_helper(shelf, monkeypatch):
    monkeypatch.syspath_prepend(str(shelf.folder))
    (shelf.folder / "_helper.py").write_text("VERSION = 1")
    shelf.write("First", "a", load="import _helper")
    shelf.reload()
    (shelf.folder / "_helper.py").write_text("this is no Python")
    shelf.write("First", "b", load="import _helper")
    _, reloaded = shelf.reload()
    assert reloaded.refused == ("FirstTask.py",)
    assert sys.modules.pop("_helper").VERSION == 1


def test_a_text_that_has_changed_is_not_read_before_it_is_asked_for(shelf):
    shelf.write("First", 2)
    found = find_tasks(shelf.folder, kept=shelf.kept.copy)
    assert found.tasks["First"].perform(1) == {"version": "1"}


@pytest.mark.parametrize("gone", [False, True], ids=["changed", "removed"])
def test_a_result_is_labelled_with_the_task_that_made_it_though_a_reload_came_before_it_was_packed(shelf, job, gone):
    worker, performed = shelf.worker, job("First")
    worker.read(performed)
    worker.perform()
    former = shelf.worker.performer.networks.tasks["First"].version
    if gone:
        (shelf.folder / "FirstTask.py").unlink()
    else:
        shelf.write("First", 2, load="type(self).version = 'another'")
    shelf.reload()
    worker.pack()
    assert worker.hear()[-1] == Packed(key="1/1")
    assert result_of(performed)[0]["version"] == former


def test_a_worker_makes_room_for_another_between_two_tickets_and_says_so(worker, job):
    worker.load(Add)
    assert worker.run(job("Add")) == Packed(key="1/1")
    asked = worker.performer.to_perform
    asked.put(MakeRoom())
    asked.put(None)
    with pytest.raises(TypeError):  # a thread that performs ends by nothing else
        worker.performer.work(worker.packing.to_pack)
    measured, made = [message for message in worker.hear() if isinstance(message, Measured | RoomMade)]
    assert (measured.service, measured.warm, made) == ("Add", (), RoomMade())
    assert worker.run(job("Add", key="2/1")) == Packed(key="2/1")
