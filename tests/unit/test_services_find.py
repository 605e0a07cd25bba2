"""Files that somebody dropped into CustomTasks."""

import sys

import pytest

from tomaat.services.find import find_tasks

GOOD = """
from Inputs import FloatInput, VolumeInput
from tomaat.services import Task

class {name}(Task):
    task_identifier = "{identifier}"
    description = "Does something."
    inputs = [FloatInput("x", "X")]
    {more}
    def perform(self, x):
        return {{}}
"""


@pytest.fixture(autouse=True)
def forget_modules():
    yield
    for name in [name for name in sys.modules if name.startswith("custom_tasks_")]:
        del sys.modules[name]


def good(name="GoodTask", identifier="Good", more=""):
    return GOOD.format(name=name, identifier=identifier, more=more)


def reasons(found):
    return [f"{problem.file}: {problem.reason}" for problem in found.problems]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("def (", "broken.py: SyntaxError: invalid syntax"),
        ("import no_such_library", "broken.py: ModuleNotFoundError: No module named 'no_such_library' (line 1)"),
        ("x = 1\n\ny = 1 / 0", "broken.py: ZeroDivisionError: division by zero (line 3)"),
        ("import sys\nsys.exit(3)", "broken.py: SystemExit: 3 (line 2)"),
        (
            "class Mute(Exception):\n    def __str__(self): raise KeyError\nraise Mute",
            "broken.py: Mute: its text cannot be made (line 3)",
        ),
        (good(more="inputs = property(lambda self: 1 / 0)"), "broken.py: ZeroDivisionError: division by zero (line 9)"),
        ("x = 1", "broken.py: TypeError: no class in it extends tomaat.services.task; name helper modules _*.py"),
        (good(more="def __init__(self): raise OSError('no weights')"), "broken.py: OSError: no weights (line 9)"),
        (good(identifier="a b"), "broken.py: GoodTask: task_identifier is 'a b'; set it to a name of letters"),
        (good(more="description = ''"), "broken.py: GoodTask: description must be a text of 1 to 2000 characters"),
        (good(more="version = 2"), "broken.py: GoodTask: version is 2; write a text of at most 200 printable"),
        (
            good(more="version = '1\\0'"),
            "broken.py: GoodTask: version is '1\\x00'; write a text of at most 200 printable",
        ),
        (good(more="version = '1' * 201"), "broken.py: GoodTask: version is '1111"),
        (good(more="deadline_seconds = 1e300"), "broken.py: GoodTask: deadline_seconds is 1e+300; write a number of"),
        (good(more="trial = 1"), "broken.py: GoodTask: trial is 1; write True for a service that is only to try with"),
        (good(more="licence = None"), "broken.py: GoodTask: licence must be a text of at most 200 printable"),
        (good(more="contact = 'a' * 201"), "broken.py: GoodTask: contact must be a text of at most 200 printable"),
        (good(more="intended_use = 'two\\nlines'"), "broken.py: GoodTask: intended_use must be a text of at most 2000"),
        (good(more="deadline_seconds = 0"), "broken.py: GoodTask: deadline_seconds is 0; write a number of seconds"),
        (good(more="weights = 'a.pt'"), "broken.py: GoodTask: weights is 'a.pt'; write a path"),
        (good(more="inputs = FloatInput('x', 'X')"), "broken.py: GoodTask: inputs must be a list of inputs"),
        (
            good(more="inputs = [FloatInput('x', 'X'), FloatInput('x', 'Y')]"),
            "broken.py: GoodTask: two inputs have the id x; give each its own",
        ),
        (
            good().replace("(self, x)", "(self, y)"),
            "broken.py: GoodTask: perform() lacks 'x', which inputs declares and takes 'y', which inputs does not "
            "declare; write def perform(self, x)",
        ),
        (
            good().replace("(self, x)", "(self, **inputs)"),
            "broken.py: GoodTask: perform() lacks 'x', which inputs declares and takes 'inputs', which inputs does not "
            "declare; write def perform(self, x)",
        ),
        (
            good().replace("(self, x)", "(self, x, /)"),
            "broken.py: GoodTask: perform() lacks 'x', which inputs declares; write def perform(self, x)",
        ),
        (
            good().replace("def perform", "def run"),
            "broken.py: GoodTask: perform() is missing; write def perform(self, x)",
        ),
        (
            good().replace("def perform", "async def perform"),
            "broken.py: GoodTask: perform() is a coroutine or a generator, which nobody awaits; write def perform(self",
        ),
        (
            good(more="example = {'y': 1}"),
            "broken.py: GoodTask: example is {'y': 1}; write values by inputs' ids",
        ),
        (good(more="example = [1]"), "broken.py: GoodTask: example is [1]; write values by inputs' ids"),
        (good(more="example = {'x': 'a'}"), "broken.py: GoodTask: its own example is refused: x: 'a' is not a number."),
        (
            good(more="inputs = [VolumeInput('x', 'X')]; example = {'x': {'file': '../x.nii', 'about': 'A head.'}}"),
            "broken.py: GoodTask: its own example is refused: x: an example of a volume is",
        ),
        (
            good(more="inputs = [FloatInput('x', 'X', default=True)]"),
            "broken.py: ValueError: FloatInput('x'): its own default is refused: x: true is not a number. (line 9)",
        ),
    ],
)
def test_a_broken_file_is_reported_by_name_and_stops_nothing_else(tmp_path, broken, reason):
    (tmp_path / "broken.py").write_text(broken)
    (tmp_path / "fine.py").write_text(good("FineTask", "Fine"))
    found = find_tasks(tmp_path)
    assert list(found.tasks) == ["Fine"]
    assert len(found.problems) == 1
    assert reasons(found)[0].startswith(reason)


def test_two_tasks_of_one_identifier_are_both_refused(tmp_path):
    (tmp_path / "a.py").write_text(good())
    (tmp_path / "b.py").write_text(good())
    found = find_tasks(tmp_path)
    assert found.tasks == {}
    assert reasons(found) == [
        "a.py: the task_identifier 'Good' is in a.py and b.py; none is offered: give each its own"
    ]


def test_helpers_and_imported_classes_are_no_tasks(tmp_path):
    (tmp_path / "_helper.py").write_text("raise RuntimeError")
    (tmp_path / "mine.py").write_text(good() + good("_BaseTask", "Base"))
    (tmp_path / "notes.txt").write_text("no Python")
    found = find_tasks(tmp_path)
    assert (list(found.tasks), found.problems) == (["Good"], [])


def test_an_empty_folder_is_reported(tmp_path):
    assert reasons(find_tasks(tmp_path)) == [f"{tmp_path}: the folder holds no tasks (*.py)"]
    assert reasons(find_tasks(tmp_path / "nope")) == [f"{tmp_path / 'nope'}: there is no such folder"]


def test_a_task_imports_the_helper_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "_numbers_of_one.py").write_text("ONE = 1")
    (tmp_path / "GoodTask.py").write_text("import _numbers_of_one\n" + good())
    found = find_tasks(tmp_path)
    assert (len(found.tasks), found.problems) == (1, [])
