"""The rooms and walls of the design, kept by reading every import of the code."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOORS = ("WebService.py", "QueueManager.py", "TaskScheduling.py")
ROOMS = {
    "tomaat.backup": {"tomaat.tickets", "tomaat.database"},
    "tomaat.doctor": {
        "tomaat.compute",
        "tomaat.tickets",
        "tomaat.services",
        "tomaat.volumes",
        "tomaat.database",
    },
    "tomaat.launch": {"tomaat.database", "tomaat.tickets"},
    "tomaat.web": {"tomaat.tickets", "tomaat.services", "tomaat.archives", "tomaat.database", "Inputs"},
    "tomaat.compute": {"tomaat.tickets", "tomaat.services", "tomaat.volumes", "tomaat.archives", "tomaat.database"},
    "tomaat.tickets": {"tomaat.database"},
    "tomaat.services": {"Inputs", "tomaat.volumes", "tomaat.archives", "tomaat.database"},
    "Inputs": {"tomaat.volumes"},
    "tomaat.volumes": set(),
    "tomaat.archives": set(),
    "tomaat.database": set(),
    "tomaat.client": set(),
    "CustomTasks": {"tomaat.services", "tomaat.volumes", "Inputs"},
    "networks": {"CustomTasks", "tomaat.services", "tomaat.volumes"},
}
OLDEST_PYTHON_OF_THE_CLIENT = (3, 9)  #: 3D Slicer's
TASKS_AND_WORKER = {"tomaat/worker/__main__.py", "tomaat/services/__main__.py", "tomaat/doctor/ask_torch.py"}


def sources(*places: str) -> list[Path]:
    return sorted(path for place in places for path in (REPOSITORY / place).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Name the modules that a file imports at run time, anywhere in it."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def room_of(module: str) -> str | None:
    return next((room for room in ROOMS if module == room or module.startswith(room + ".")), None)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_between_rooms_run_downward_only(room):
    for path in sources(room.replace(".", "/")):
        for module in imports(path):
            other = room_of(module)
            assert other in {None, room} | ROOMS[room], f"{path.relative_to(REPOSITORY)} imports {module}"


def test_only_the_worker_and_the_tasks_import_torch():
    for path in sources("tomaat", "Inputs"):
        name = str(path.relative_to(REPOSITORY))
        if any(module.split(".")[0] == "torch" for module in imports(path)):
            assert name in TASKS_AND_WORKER | {"tomaat/volumes/volume.py"}, name


def test_nothing_outside_web_and_client_speaks_http():
    for path in [*sources("tomaat", "Inputs", "CustomTasks"), *(REPOSITORY / door for door in DOORS)]:
        name = str(path.relative_to(REPOSITORY))
        if name.startswith(("tomaat/web/", "tomaat/client/", "tomaat/launch/", "tomaat/doctor/")):
            continue
        spoken = {module.split(".")[0] for module in imports(path)} & {
            "flask",
            "werkzeug",
            "waitress",
            "http",
            "urllib",
            "requests",
        }
        assert not spoken, f"{name} imports {spoken}"


def test_the_client_needs_requests_and_nothing_else():
    for path in sources("tomaat/client"):
        for module in imports(path):
            first = module.partition(".")[0]
            known = first in sys.stdlib_module_names or first == "requests" or room_of(module) == "tomaat.client"
            assert known, f"{path.relative_to(REPOSITORY)} imports {module}"


def test_the_client_is_written_in_the_python_of_3d_slicer():
    for path in sources("tomaat/client"):
        tree = ast.parse(path.read_text(), feature_version=OLDEST_PYTHON_OF_THE_CLIENT)
        deferred = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)
        assert deferred or path.name == "__init__.py", f"{path.name}: annotations are read when it is imported"


def test_nothing_outside_tickets_and_database_speaks_sql():
    statement = re.compile(r"\b(SELECT .* FROM|INSERT INTO|UPDATE \w+ SET|DELETE FROM)\b")
    for path in [*sources("tomaat", "Inputs", "CustomTasks"), *(REPOSITORY / door for door in DOORS)]:
        name = str(path.relative_to(REPOSITORY))
        if not name.startswith(("tomaat/tickets/", "tomaat/database/")):
            assert not statement.search(path.read_text()), name


def test_the_code_takes_no_explicit_locks():
    forbidden = re.compile(
        r"LOCK TABLE|FOR (NO KEY )?UPDATE\b|FOR SHARE|advisory|"
        r"\b(threading|multiprocessing)\.(R?Lock|Condition|(Bounded)?Semaphore)|fcntl\.(flock|lockf)|filelock"
    )
    for path in [*sources("tomaat", "Inputs", "CustomTasks", "tools"), *(REPOSITORY / door for door in DOORS)]:
        assert not forbidden.search(path.read_text()), path.relative_to(REPOSITORY)
    for path in (REPOSITORY / "tomaat/database/migrations").glob("*.sql"):
        assert not forbidden.search(path.read_text()), path.name


def test_rooms_are_handed_values_and_read_no_settings():
    for path in sources("tomaat", "Inputs", "CustomTasks"):
        name = str(path.relative_to(REPOSITORY))
        if name.startswith(("tomaat/launch/", "tomaat/doctor/")):
            continue
        if name in {"tomaat/access/__main__.py", "tomaat/backup/__main__.py"}:
            continue
        assert "TOMAATSettings" not in imports(path), name


@pytest.mark.parametrize("module", ["WebService", "QueueManager"])
def test_the_light_doors_import_no_task_and_nothing_heavy(module):
    program = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "numpy", "SimpleITK", "pydicom", "highdicom", "CustomTasks"} & set(loaded)


def test_a_capital_file_holds_the_class_of_its_name():
    for path in sources("tomaat", "Inputs", "CustomTasks"):
        if path.name[0].isupper():
            classes = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}
            assert path.stem in classes, path.relative_to(REPOSITORY)


def test_a_door_fits_on_one_page():
    for door in DOORS:
        assert len((REPOSITORY / door).read_text().splitlines()) <= 100, door
