"""The house: imports run one way, rooms keep to their work, and nothing is left over."""

import ast
from pathlib import Path
from statistics import median
from typing import Any

import pytest

import kros_pipeline

HOUSE = Path(kros_pipeline.__file__).parent
PACKAGE = HOUSE.name
MODULES = {file.relative_to(HOUSE).with_suffix("").as_posix(): file for file in sorted(HOUSE.rglob("*.py"))}
FOLDERS = {"core", "source", "archive", "steps", "operations", "browser", "sandbox"}
# Dagster's, and the command line's.
ENTRY_POINTS = ("definitions", "pipeline_location", "operator_location", "__main__")
# What a room may know of ours, besides itself. The package's root speaks Dagster; the entry points wire it.
MAY_KNOW: dict[str, set[str]] = {
    "core": set(),
    "source": {"core"},
    "archive": {"core"},
    "steps": {"core", "source", "archive"},
    "operations": {"core", "source", "archive", "steps"},
    "browser": {"core", "archive"},
    "root": {"core", "source", "archive", "steps", "operations"},
    "entry": {"core", "source", "archive", "steps", "operations", "browser", "root"},
    "sandbox": set(),
}


def room_of(module: str) -> str:
    """The room of a module's path: its folder, `entry`, or `root`."""
    folder = module.split("/")[0]
    return "entry" if module in ENTRY_POINTS else folder if folder in FOLDERS else "root"


def imports_of(module: str) -> set[str]:
    """Every module that a file imports anywhere in it, absolute and dotted."""
    found: set[str] = set()
    package = [PACKAGE, *module.split("/")[:-1]]
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = (
                ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
                if node.level
                else node.module
            )
            found |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            assert ast.unparse(node.func) not in ("__import__", "importlib.import_module"), (
                f"{module} imports by a name"
            )
    return found


def rooms_known_to(module: str) -> set[str]:
    """The rooms of ours that a module imports from."""
    paths = [name.split(".")[1:] for name in imports_of(module) if name.split(".")[0] == PACKAGE]
    return {room_of("/".join(path)) for path in paths if path}


def names_in(module: str) -> set[str]:
    """Names and attributes that a module's code mentions."""
    nodes = ast.walk(ast.parse(MODULES[module].read_text("utf-8")))
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in nodes
        if isinstance(node, ast.Name | ast.Attribute)
    }


def calls_in(module: str) -> set[str]:
    """Names of the functions and methods that a module's code calls."""
    nodes = [
        node.func for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))) if isinstance(node, ast.Call)
    ]
    return {getattr(func, "attr", getattr(func, "id", "")) for func in nodes}


every_module = pytest.mark.parametrize("module", MODULES)
in_folders = pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) in FOLDERS])
of_core = pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) == "core"])


def test_the_package_has_exactly_the_known_folders() -> None:
    assert {path.name for path in HOUSE.iterdir() if path.is_dir() and path.name != "__pycache__"} == FOLDERS
    assert {"definitions", "assets", "schedules", "partitions", "resources", "failures"} <= set(MODULES)


@every_module
def test_imports_run_one_way(module: str) -> None:
    room = room_of(module)
    assert rooms_known_to(module) <= {room} | MAY_KNOW[room]


@in_folders
def test_no_module_inside_a_folder_imports_dagster(module: str) -> None:
    assert not [name for name in imports_of(module) if name.split(".")[0].startswith("dagster")]


@pytest.mark.parametrize(
    "module", [module for module in MODULES if "/" not in module and module not in ("__init__", "__main__")]
)
def test_every_module_at_the_root_imports_dagster(module: str) -> None:
    assert "dagster" in imports_of(module)


@of_core
def test_core_has_no_io_and_no_clock(module: str) -> None:
    pure = {
        "base64",
        "collections",
        "concurrent",
        "contextlib",
        "dataclasses",
        "datetime",
        "difflib",
        "enum",
        "functools",
        "hashlib",
        "hmac",
        "html",
        "ipaddress",
        "itertools",
    }
    pure |= {
        "json",
        "math",
        "re",
        "statistics",
        "threading",
        "typing",
        "unicodedata",
        "urllib",
        "numpy",
        "phonenumbers",
        "pyarrow",
        "pydantic",
        "pyreqwest",
        "pydantic_core",
        "yaml",
        PACKAGE,
    }
    assert {name.split(".")[0] for name in imports_of(module)} <= pure
    assert not {
        name for name in imports_of(module) if name.startswith("urllib.") and not name.startswith("urllib.parse.")
    }
    assert not calls_in(module) & {"now", "utcnow", "today", "open", "read_text", "print", "input", "sleep"}


@every_module
def test_only_the_entry_points_read_the_environment(module: str) -> None:
    if room_of(module) not in ("entry", "sandbox") and module != "steps/process":  # it sets a variable for Arrow
        assert not names_in(module) & {"environ", "getenv", "EnvVar"}


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) not in ("browser", "sandbox")])
def test_a_pool_of_threads_ends_with_the_run_that_it_works_for(module: str) -> None:
    """A plain pool does all that it was given before a terminated run ends: `core/worker_threads.py` drops it."""
    if module != "core/worker_threads":
        assert not calls_in(module) & {"ThreadPoolExecutor", "ProcessPoolExecutor"}


@every_module
def test_folders_are_one_level_deep(module: str) -> None:
    assert module.count("/") <= 1


@every_module
def test_no_module_has_a_name_for_leftovers(module: str) -> None:
    words = {word for part in module.split("/") for word in part.split("_")}
    assert not words & {"utils", "util", "lib", "libs", "helpers", "helper", "common", "misc", "shared"}


@every_module
def test_every_module_says_what_it_is_for(module: str) -> None:
    assert ast.get_docstring(ast.parse(MODULES[module].read_text("utf-8")))


@every_module
def test_no_private_module_is_imported(module: str) -> None:
    assert not [name for name in imports_of(module) if name.startswith("dagster._") or "._" in name]


def line_counts() -> dict[str, int]:
    """Lines of each module."""
    return {module: file.read_text("utf-8").count("\n") for module, file in MODULES.items()}


def test_no_module_has_more_than_300_lines_and_half_of_them_at_most_110() -> None:
    counts = line_counts()
    assert not {module: lines for module, lines in counts.items() if lines > 300}
    assert median(lines for lines in counts.values() if lines > 1) <= 110


@pytest.mark.parametrize("module", [module for module in MODULES if room_of(module) == "steps"])
def test_a_step_gets_the_parts_that_it_uses_and_not_the_run_context(module: str) -> None:
    if module != "steps/run_context":
        assert not [name for name in imports_of(module) if name.startswith(f"{PACKAGE}.steps.run_context")]


@pytest.mark.parametrize(
    "module", [module for module in MODULES if room_of(module) in ("core", "source", "archive", "browser")]
)
def test_the_wings_get_their_clock(module: str) -> None:
    read = {f"{node.value.id}.{node.attr}" for node in attributes_in(module)}
    assert not read & {"time.sleep", "time.monotonic", "time.time", "datetime.now", "datetime.utcnow", "date.today"}


def attributes_in(module: str) -> list[Any]:
    """Each `name.attribute` of a module's code."""
    nodes = ast.walk(ast.parse(MODULES[module].read_text("utf-8")))
    return [node for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]


@every_module
def test_no_module_changes_how_others_are_imported(module: str) -> None:
    assert not names_in(module) & {"meta_path", "path_hooks"}
