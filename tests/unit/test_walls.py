"""The rooms and walls of the design, kept by reading every import of the code."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOORS = ("WebService.py", "QueueManager.py", "TaskScheduling.py")
EVERYWHERE = {"tomaat.processes", "tomaat.refusals"}  #: what every room but the client may import
#: Each room, and the rooms that it may import beside those.
ROOMS = {
    "tomaat.backup": {"tomaat.tickets", "tomaat.storage", "tomaat.postgres", "tomaat.database", "tomaat.contents"},
    "tomaat.doctor": {
        *("tomaat.scheduling", "tomaat.tickets", "tomaat.access", "tomaat.storage", "tomaat.services"),
        *("tomaat.reader", "tomaat.devices", "tomaat.database", "tomaat.contents"),
    },
    "tomaat.launch": {
        *("tomaat.doctor", "tomaat.tickets", "tomaat.storage", "tomaat.postgres", "tomaat.database"),
        *("tomaat.services", "tomaat.cluster", "tomaat.scheduling", "tomaat.devices"),
    },
    "tomaat.cluster": {
        *("tomaat.scheduling", "tomaat.storage", "tomaat.messages", "tomaat.devices", "tomaat.contents"),
    },
    "tomaat.web": {
        *("tomaat.tickets", "tomaat.access", "tomaat.storage", "tomaat.services"),
        *("tomaat.archives", "tomaat.database", "Inputs"),
    },
    "tomaat.manager": {"tomaat.tickets", "tomaat.storage", "tomaat.devices", "tomaat.database"},
    "tomaat.scheduling": {
        *("tomaat.tickets", "tomaat.storage", "tomaat.messages", "tomaat.devices", "tomaat.database"),
        "tomaat.contents",
    },
    "tomaat.worker": {
        *("tomaat.services", "tomaat.storage", "tomaat.messages", "tomaat.devices"),
        *("tomaat.reader", "tomaat.volumes", "tomaat.archives", "tomaat.contents"),
    },
    "tomaat.tickets": {"tomaat.storage", "tomaat.devices", "tomaat.database"},
    "tomaat.access": {"tomaat.tickets", "tomaat.database"},
    "tomaat.services": {
        *("Inputs", "tomaat.reader", "tomaat.volumes", "tomaat.headers", "tomaat.archives", "tomaat.contents"),
    },
    "tomaat.storage": {"tomaat.contents"},
    "tomaat.contents": set(),
    "tomaat.messages": {"tomaat.devices"},
    "tomaat.devices": set(),
    "Inputs": {"tomaat.headers"},
    "tomaat.reader": {"tomaat.volumes", "tomaat.headers"},
    "tomaat.volumes": {"tomaat.headers"},
    "tomaat.headers": set(),
    "tomaat.archives": {"tomaat.headers"},  # how a DICOM file begins, in a zip as in a folder
    "tomaat.postgres": {"tomaat.storage", "tomaat.database"},
    "tomaat.database": set(),
    "tomaat.processes": set(),
    "tomaat.refusals": set(),
    "tomaat.client": set(),
    "CustomTasks": {"tomaat.services", "tomaat.volumes", "Inputs"},
    "networks": {"CustomTasks", "tomaat.services", "tomaat.volumes"},
}
SQL = ("tomaat/tickets/", "tomaat/access/", "tomaat/database/")
HTTP = ("tomaat/web/", "tomaat/client/", "tomaat/launch/", "tomaat/doctor/")
READ_SETTINGS = (
    *("tomaat/launch/", "tomaat/doctor/"),
    *("tomaat/access/__main__.py", "tomaat/backup/__main__.py", "tomaat/manager/__main__.py"),
)
OLDEST_PYTHON_OF_THE_CLIENT = (3, 9)  #: 3D Slicer's
TORCH = {
    "tomaat/worker/__main__.py",
    "tomaat/services/__main__.py",
    "tomaat/doctor/ask_torch.py",
    *(f"tomaat/services/folders/nnunet_{module}.py" for module in ("load", "network", "tiles", "way_back")),
    "tomaat/services/folders/card_task.py",
    "tomaat/services/folders/onnx_network.py",
    "tomaat/services/folders/torch_network.py",
    "tomaat/volumes/tensors.py",
    "tomaat/volumes/volume.py",
    "tomaat/services/folders/bundle_reading.py",
    "tomaat/services/folders/bundle_run.py",
    "tomaat/services/folders/bundle_walls.py",
    "tomaat/services/folders/bundle_weights.py",
}
HEAVY = {"torch", "numpy", "SimpleITK", "pydicom", "highdicom", "CustomTasks"}


def sources(*places: str) -> list[Path]:
    """List the files of rooms; a room may be one file."""
    found = []
    for place in places:
        one = REPOSITORY / f"{place}.py"
        found += [one] if one.is_file() else sorted((REPOSITORY / place).rglob("*.py"))
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def module_of(path: Path) -> str:
    return name_of(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Name the modules that a file imports at run time, anywhere in it; of a package, its modules by their names."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {each for each in modules if each in MODULES} or {node.module}
    return found


MODULES = {module_of(path) for path in sources("tomaat", "Inputs", "CustomTasks", "networks")}


def room_of(module: str) -> str | None:
    return next((room for room in ROOMS if module == room or module.startswith(room + ".")), None)


def loaded_by(module: str) -> set[str]:
    """Import a module in a new process; name all modules that are loaded then."""
    program = f"import sys, {module}; print(*sorted(sys.modules))"
    command = [sys.executable, "-c", program]
    return set(subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout.split())


def rooms_in(modules: set[str]) -> set[str | None]:
    return {room_of(module) for module in modules}


@pytest.mark.parametrize("room", ROOMS)
def test_imports_between_rooms_run_downward_only(room):
    common = set() if room == "tomaat.client" else EVERYWHERE
    for path in sources("tomaat", "Inputs", "CustomTasks", "networks"):
        for module in imports(path) if room_of(module_of(path)) == room else ():
            other = room_of(module)
            assert other in {None, room} | common | ROOMS[room], f"{name_of(path)} imports {module}"


def test_every_file_belongs_to_a_room():
    loose = [name_of(path) for path in sources("tomaat", "Inputs") if room_of(module_of(path)) is None]
    assert loose == ["tomaat/__init__.py"]


def test_no_two_files_import_each_other_not_even_by_a_detour():
    reached = {}
    for path in sources("tomaat", "Inputs"):
        if path.name != "__init__.py":
            reached[module_of(path)] = imports(path) & MODULES - {module_of(path)}
    for _ in reached:
        grown = {
            module: others.union(*(reached.get(other, set()) for other in others)) for module, others in reached.items()
        }
        if grown == reached:
            break
        reached = grown
    assert [module for module, others in reached.items() if module in others] == []


def test_only_the_worker_and_the_tasks_import_torch():
    for path in sources("tomaat", "Inputs"):
        if any(module.split(".")[0] == "torch" for module in imports(path)):
            assert name_of(path) in TORCH, name_of(path)


def test_nothing_outside_web_and_client_speaks_http():
    for path in [*sources("tomaat", "Inputs", "CustomTasks"), *(REPOSITORY / door for door in DOORS)]:
        if name_of(path).startswith(HTTP):
            continue
        libraries = {"flask", "werkzeug", "waitress", "http", "urllib", "requests"}
        spoken = {module.split(".")[0] for module in imports(path)} & libraries
        assert not spoken, f"{name_of(path)} imports {spoken}"


def test_the_client_needs_requests_and_nothing_else():
    for path in sources("tomaat/client"):
        for module in imports(path):
            first = module.partition(".")[0]
            known = first in sys.stdlib_module_names or first == "requests" or room_of(module) == "tomaat.client"
            assert known, f"{name_of(path)} imports {module}"


def test_the_client_is_written_in_the_python_of_3d_slicer():
    for path in sources("tomaat/client"):
        tree = ast.parse(path.read_text(), feature_version=OLDEST_PYTHON_OF_THE_CLIENT)
        deferred = any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)
        assert deferred or path.name == "__init__.py", f"{path.name}: annotations are read when it is imported"


def test_the_headers_need_the_standard_library_alone():
    for path in [*sources("tomaat/headers"), *sources("Inputs")]:
        for module in imports(path):
            assert module.partition(".")[0] in sys.stdlib_module_names or room_of(module), name_of(path)


def test_only_the_stores_and_the_database_speak_sql():
    statement = re.compile(r"\b(SELECT .* FROM|INSERT INTO|UPDATE \w+ SET|DELETE FROM)\b")
    for path in [*sources("tomaat", "Inputs", "CustomTasks"), *(REPOSITORY / door for door in DOORS)]:
        if not name_of(path).startswith(SQL) and name_of(path) != "tomaat/postgres/private_postgres.py":
            assert not statement.search(path.read_text()), name_of(path)


def test_the_code_takes_no_explicit_locks():
    forbidden = re.compile(
        r"LOCK TABLE|FOR (NO KEY )?UPDATE\b|FOR SHARE|advisory|"
        r"\b(threading|multiprocessing)\.(R?Lock|Condition|(Bounded)?Semaphore)|fcntl\.(flock|lockf)|filelock"
    )
    for path in [*sources("tomaat", "Inputs", "CustomTasks", "tools"), *(REPOSITORY / door for door in DOORS)]:
        assert not forbidden.search(path.read_text()), name_of(path)
    for path in (REPOSITORY / "tomaat/database/migrations").glob("*.sql"):
        assert not forbidden.search(path.read_text()), path.name


def test_rooms_are_handed_values_and_read_no_settings():
    for path in sources("tomaat", "Inputs", "CustomTasks"):
        if not name_of(path).startswith(READ_SETTINGS):
            assert "TOMAATSettings" not in imports(path), name_of(path)


@pytest.mark.parametrize("door", ["WebService", "QueueManager"])
def test_the_light_doors_import_no_task_and_nothing_heavy(door):
    assert not HEAVY & {module.split(".")[0] for module in loaded_by(door)}


def test_webservice_loads_no_choosing_and_no_lane():
    unwanted = {"tomaat.manager", "tomaat.scheduling", "tomaat.worker", "tomaat.messages", "tomaat.postgres"}
    assert not unwanted & rooms_in(loaded_by("WebService"))


def test_queuemanager_loads_no_lane_and_no_page():
    assert not {"tomaat.scheduling", "tomaat.worker", "tomaat.web"} & rooms_in(loaded_by("QueueManager"))


def test_taskscheduling_loads_no_choosing_and_no_page():
    assert not {"tomaat.manager", "tomaat.worker", "tomaat.web"} & rooms_in(loaded_by("TaskScheduling"))


def test_a_file_of_what_users_see_holds_the_class_of_its_name():
    for path in sources("Inputs", "CustomTasks"):
        if path.name[0].isupper():
            classes = {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)}
            assert path.stem in classes, name_of(path)


def test_files_of_rooms_are_lower_case():
    assert [name_of(path) for path in sources("tomaat") if path.name != path.name.lower()] == []


def test_a_door_fits_on_one_page():
    for door in DOORS:
        assert len((REPOSITORY / door).read_text().splitlines()) <= 100, door
