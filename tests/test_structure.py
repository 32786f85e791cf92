"""The house stands as the design says: imports point one way, files and functions stay small."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import streamgmm

PACKAGE = Path(streamgmm.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
NAIVE = Path(__file__).parent / "naive.py"

# What the files of each room may import from the package; a door may import anything but another door.
ROOMS = {
    "errors": set(),
    "model": {"errors", "model"},
    "image": {"errors", "image"},
    "jobs": {"errors", "model", "image", "jobs"},
}
DOORS = {"cli", "estimator", "__main__", "__init__"}

FILE_LINES = 400
FUNCTION_LINES = 60


def name(path):
    return str(path.relative_to(PACKAGE))


def room(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path):
    """Absolute names of the modules a file imports, wherever in it."""
    here = ("streamgmm", *path.relative_to(PACKAGE).parts[:-1]) if PACKAGE in path.parents else ()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            module = (*base, *([node.module] if node.module else ()))
            yield ".".join(module)
            yield from (".".join((*module, alias.name)) for alias in node.names)


def rooms_imported(path):
    rooms = {room(module) for module in MODULES}
    parts = [module.split(".") for module in imported(path)]
    return {part[1] for part in parts if part[0] == "streamgmm" and len(part) > 1 and part[1] in rooms}


def functions():
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield pytest.param(node, id=f"{name(path)}:{node.name}")


def lines_without_docstring(function):
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    return lines - (function.body[0].end_lineno - function.body[0].lineno + 1)


def test_every_file_is_in_a_room_or_is_a_door():
    assert {room(path) for path in MODULES} <= ROOMS.keys() | DOORS
    assert ROOMS.keys() <= {room(path) for path in MODULES}


@pytest.mark.parametrize("path", [path for path in MODULES if room(path) in ROOMS], ids=name)
def test_imports_point_one_way(path):
    assert rooms_imported(path) <= ROOMS[room(path)]


def test_the_rooms_do_import_one_another():
    assert rooms_imported(PACKAGE / "jobs" / "fit.py") >= {"errors", "model", "image", "jobs"}
    assert rooms_imported(PACKAGE / "cli" / "commands.py") >= {"errors", "jobs"}


@pytest.mark.parametrize("path", [path for path in MODULES if room(path) == "model" and path.stem != "code_folder"], ids=name)
def test_the_model_opens_no_file_and_starts_no_threads(path):
    tree = ast.parse(path.read_text())
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert "open" not in called
    assert not {"pathlib", "concurrent", "concurrent.futures", "tifffile", "multiprocessing"} & set(imported(path))


@pytest.mark.parametrize("path", [path for path in MODULES if name(path) != "model/jit.py"], ids=name)
def test_numba_is_decorated_with_in_one_place(path):
    allowed = {"numba", "numba.prange"} if name(path) == "model/kernels.py" else set()
    assert {module for module in imported(path) if module.split(".")[0] == "numba"} <= allowed
    assert not any(word in path.read_text() for word in ("njit", "@jit", "vectorize"))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_nothing_of_numba_is_private(path):
    assert not any(module.startswith(("numba.core", "llvmlite")) for module in imported(path))
    for node in ast.walk(ast.parse(path.read_text())) if room(path) == "model" else ():
        if isinstance(node, ast.Attribute) and re.match("_(?!_)", node.attr):
            assert ast.unparse(node.value) in {"self", "lookup"}  # and no object of Numba


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= FILE_LINES


@pytest.mark.parametrize("function", list(functions()))
def test_functions_stay_small(function):
    assert lines_without_docstring(function) <= FUNCTION_LINES


def test_the_naive_twin_imports_numpy_and_nothing_else():
    assert list(imported(NAIVE)) == ["numpy"]


def test_importing_the_package_is_free():
    script = "import streamgmm, sys; print(*sorted({module.split('.')[0] for module in sys.modules}))"
    loaded = set(subprocess.check_output([sys.executable, "-c", script], text=True, cwd=PACKAGE.parent).split())
    assert "streamgmm" in loaded
    assert not {"numba", "numpy", "tifffile", "imagecodecs", "PIL", "click", "rich", "scipy"} & loaded


@pytest.mark.parametrize("public", streamgmm.__all__)
def test_public_names_are_there_on_first_use(public):
    assert getattr(streamgmm, public).__name__ == public
    assert public in dir(streamgmm)


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="module 'streamgmm' has no attribute 'fit_imagee'"):
        _ = streamgmm.fit_imagee
