"""Find the tasks in a folder, its files' and its network folders'; a fault is told, and stops no other task."""

from __future__ import annotations

import importlib.util
import inspect
import re
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from Inputs import Input, InputRefused
from tomaat.contents.network_folder import is_network_folder
from tomaat.processes.log import text_of
from tomaat.refusals import shown
from tomaat.services.example import check_example
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.folder_task import CHANGED, FolderTask
from tomaat.services.folders.kinds import make_task
from tomaat.services.found import Found
from tomaat.services.kept import OF_TASKS, loader_of
from tomaat.services.own_texts import LONGEST_VERSION, MOST_SECONDS, fault_of_texts
from tomaat.services.task import Task
from tomaat.services.task_problem import TaskProblem

IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
LONGEST_DESCRIPTION = 2000  #: characters


def find_tasks(
    folder: Path,
    *,
    kept: Path | None = None,
    without: Collection[str] = (),
    offered: Mapping[str, str] | None = None,
    begin: Callable[[str], None] = lambda _: None,
) -> Found:
    """Import each ``*.py`` of ``folder`` (not ``_*.py``), and make one instance of each task class in it.

    A network folder in it makes one task. Where a copy of ``folder`` was ``kept``, that one tells what there is, and
    ``import_from_copy`` lets the files be read; a network folder is read where it lies.

    Only a worker does this: tasks are other people's code. The files ``without`` are left out; the other arguments are
    those of ``find_tasks_in``.
    """
    paths = sorted(folder / name for name in _names_in(folder, kept))
    if not paths:
        reason = "the folder holds no tasks (*.py)" if folder.is_dir() else "there is no such folder"
        return Found(tasks={}, files={}, problems=[TaskProblem(file=str(folder), reason=reason)])
    return find_tasks_in([path for path in paths if path.name not in without], kept=kept, offered=offered, begin=begin)


def find_tasks_in(
    paths: Sequence[Path],
    *,
    kept: Path | None = None,
    offered: Mapping[str, str] | None = None,
    begin: Callable[[str], None] = lambda _: None,
) -> Found:
    """Make one instance of each task class in some files, and of each network folder; ``begin`` hears each name before.

    Of two files with one ``task_identifier``, the one that ``offered`` it before, by service, keeps it. A network
    folder has to be as it was when the copy was ``kept``.
    """
    problems: list[TaskProblem] = []
    by_identifier: dict[str, list[tuple[str, Task]]] = defaultdict(list)
    for path in paths:
        begin(path.name)
        try:
            tasks = _tasks_of(_import(path)) if path.suffix == ".py" else [_task_of_folder(path, kept)]
            faults = [(task, fault_of(task)) for task in tasks]
        except FolderRefused as refused:
            problems.append(TaskProblem(file=path.name, reason=str(refused)))
            continue
        except BaseException as error:  # noqa: BLE001 (a file may also exit)
            problems.append(TaskProblem(file=path.name, reason=_where(error, path)))
            continue
        for task, fault in faults:
            if fault is None:
                by_identifier[task.task_identifier].append((path.name, task))
            else:
                problems.append(TaskProblem(file=path.name, reason=f"{type(task).__name__}: {fault}"))
    taken: dict[str, tuple[str, Task]] = {}
    for identifier, found in by_identifier.items():
        before = [each for each in found if each[0] == (offered or {}).get(identifier)]
        if len(found) == 1 or len(before) == 1:
            taken[identifier] = (before or found)[0]
        problems += _doubled(identifier, [file for file, _ in found], taken.get(identifier, ("",))[0])
    return Found(
        tasks={identifier: task for identifier, (_, task) in taken.items()},
        files={identifier: file for identifier, (file, _) in taken.items()},
        problems=problems,
    )


def _doubled(identifier: str, files: Sequence[str], kept: str) -> list[TaskProblem]:
    """Tell that several files hold one identifier, if so, each that is refused by its name."""
    if len(files) == 1:
        return []
    if not kept:
        reason = (
            f"the task_identifier {identifier!r} is in {' and '.join(sorted(files))}; none is offered: "
            "give each its own"
        )
        return [TaskProblem(file=files[0], reason=reason)]
    reason = f"the task_identifier {identifier!r} is {kept}'s, which offered it before; give this file its own"
    return [TaskProblem(file=file, reason=reason) for file in files if file != kept]


def _names_in(folder: Path, kept: Path | None) -> list[str]:
    """Name the files of tasks and the network folders; of a network folder a copy has a file with its name."""
    if kept is not None:
        names = [each.name for each in kept.iterdir() if each.is_file()]
    else:
        names = [each.name for each in folder.glob("*") if each.suffix == ".py" or is_network_folder(each)]
    return [name for name in names if not name.startswith(("_", "."))]


def _task_of_folder(path: Path, kept: Path | None) -> FolderTask:
    task = make_task(path)
    if kept is not None and (kept / path.name).read_text(encoding="utf-8", errors="surrogateescape") != task.state:
        raise FolderRefused(CHANGED.format(name=path.name))
    return task


def _import(path: Path) -> ModuleType:
    """Import a file of tasks, which may import the helper modules beside it."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # last, so that no file of tasks hides a module that others need
    name = f"{OF_TASKS}{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=loader_of(name, path))
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _tasks_of(module: ModuleType) -> list[Task]:
    classes = [
        each
        for each in vars(module).values()
        if inspect.isclass(each)
        and issubclass(each, Task)
        and each.__module__ == module.__name__
        and not each.__name__.startswith("_")
    ]
    if not classes:
        raise TypeError("no class in it extends tomaat.services.task; name helper modules _*.py")
    return [each() for each in classes]


def _where(error: BaseException, path: Path) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    place = f" (line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {text_of(error)}{place}"


def fault_of(task: Task) -> str | None:
    """Say what is wrong with a task's declaration, and how to mend it; ``None`` if nothing is."""
    return _fault_of_facts(task) or fault_of_texts(task) or _fault_of_inputs(task)


def _fault_of_facts(task: Task) -> str | None:
    identifier: Any = getattr(task, "task_identifier", None)
    description: Any = getattr(task, "description", None)
    version: Any = task.version
    deadline: Any = task.deadline_seconds
    to_load: Any = 1.0 if task.load_deadline_seconds is None else task.load_deadline_seconds
    weights: Any = task.weights
    if not isinstance(identifier, str) or not IDENTIFIER.fullmatch(identifier):
        return (
            f"task_identifier is {identifier!r}; set it to a name of letters, digits, '_' and '-', "
            'for example task_identifier = "LiverSegmentation"'
        )
    if not isinstance(description, str) or not description.strip() or len(description) > LONGEST_DESCRIPTION:
        return (
            f"description must be a text of 1 to {LONGEST_DESCRIPTION} characters; write one sentence: "
            'description = "Marks the liver in a CT scan."'
        )
    if not isinstance(version, str) or not 1 <= len(version) <= LONGEST_VERSION or not version.isprintable():
        return (
            f"version is {shown(version)}; write a text of at most {LONGEST_VERSION} printable characters, such as "
            'version = "1.2"'
        )
    for name, seconds in (("deadline_seconds", deadline), ("load_deadline_seconds", to_load)):
        if not _is_seconds(seconds):
            return f"{name} is {seconds!r}; write a number of seconds above 0, and below {MOST_SECONDS:g}"
    if weights is not None and not isinstance(weights, Path):
        return f'weights is {weights!r}; write a path: weights = Path("weights/liver.pt2")'
    return None


def _is_seconds(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, float)) and 0 < value < MOST_SECONDS


def _fault_of_inputs(task: Task) -> str | None:
    declared: Any = getattr(task, "inputs", None)
    if not isinstance(declared, (list, tuple)) or not all(isinstance(each, Input) for each in declared):
        return 'inputs must be a list of inputs, for example inputs = [VolumeInput("scan", "CT scan")]'
    ids = [each.id for each in declared]
    doubled = {id for id in ids if ids.count(id) > 1}
    if doubled:
        return f"two inputs have the id {', '.join(sorted(doubled))}; give each its own"
    return None if isinstance(task, FolderTask) else _fault_of_perform(task, ids) or _fault_of_example(task)


def _fault_of_example(task: Task) -> str | None:
    example: Any = task.example
    inputs = {declared.id: declared for declared in task.inputs}
    if not isinstance(example, Mapping) or not example.keys() <= inputs.keys():
        return f"example is {example!r}; write values by inputs' ids: example = {{{next(iter(inputs), 'x')!r}: …}}"
    for id, value in example.items():
        try:
            check_example(inputs[id], value)
        except InputRefused as refusal:
            return f"its own example is refused: {refusal.detail}"
    return None


def _fault_of_perform(task: Task, ids: list[str]) -> str | None:
    mended = f"write def perform({', '.join(['self', *ids])})"
    if type(task).perform is Task.perform:
        return f"perform() is missing; {mended}"
    if inspect.iscoroutinefunction(task.perform) or inspect.isgeneratorfunction(task.perform):
        return f"perform() is a coroutine or a generator, which nobody awaits; {mended} without async or yield"
    taken = inspect.signature(task.perform).parameters
    plain = [name for name, each in taken.items() if each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY}]
    lacking = [id for id in ids if id not in plain]
    surplus = [name for name in taken if name not in ids]
    if not lacking and not surplus:
        return None
    faults = []
    if lacking:
        faults.append(f"lacks {', '.join(map(repr, lacking))}, which inputs declares")
    if surplus:
        faults.append(f"takes {', '.join(map(repr, surplus))}, which inputs does not declare")
    return f"perform() {' and '.join(faults)}; {mended}"
