"""The house stands as the design says: imports point one way, files and functions stay small."""

import ast
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
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            module = (*base, *([node.module] if node.module else ()))
            yield ".".join(module)
            yield from (".".join((*module, alias.name)) for alias in node.names)


def names_called(path):
    """Names of the functions that a file calls by their bare name."""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    return {function.id for function in calls if isinstance(function, ast.Name)}


def rooms_imported(path):
    rooms = {room(module) for module in MODULES}
    parts = [module.split(".") for module in imported(path)]
    return {part[1] for part in parts if part[0] == "streamgmm" and len(part) > 1 and part[1] in rooms}


def functions():
    """All functions of the package, with where they are and what they are called."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name(path)}:{node.lineno} {node.name}", node


def lines_without_docstring(function):
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    return lines - (function.body[0].end_lineno - function.body[0].lineno + 1)


def test_every_file_is_in_a_room_or_is_a_door():
    assert {room(path) for path in MODULES} <= ROOMS.keys() | DOORS
    assert ROOMS.keys() <= {room(path) for path in MODULES}


def test_imports_point_one_way():
    wrong = {name(path): rooms_imported(path) - ROOMS[room(path)] for path in MODULES if room(path) in ROOMS}
    assert {path: rooms for path, rooms in wrong.items() if rooms} == {}


def test_the_rooms_do_import_one_another():
    assert rooms_imported(PACKAGE / "jobs" / "fit.py") >= {"errors", "model", "image", "jobs"}
    assert rooms_imported(PACKAGE / "cli" / "commands.py") >= {"errors", "jobs"}


def test_the_model_opens_no_file_and_starts_no_threads():
    model = [path for path in MODULES if room(path) == "model"]
    assert len(model) > 5
    assert [name(path) for path in model if "open" in names_called(path)] == []
    outside = {"pathlib", "concurrent", "concurrent.futures", "tifffile", "multiprocessing"}
    assert [name(path) for path in model if outside & set(imported(path))] == []


def test_numba_is_decorated_with_in_one_place():
    allowed = {"model/kernels.py": {"numba", "numba.prange"}}
    for path in MODULES:
        if name(path) != "model/jit.py":
            numba = {module for module in imported(path) if module.split(".")[0] == "numba"}
            assert numba <= allowed.get(name(path), set()), name(path)
            text = path.read_text(encoding="utf-8")
            assert [word for word in ("njit", "@jit", "vectorize") if word in text] == [], name(path)


def test_files_stay_small():
    lines = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: n for path, n in lines.items() if n > FILE_LINES} == {}
    assert len(lines) > 30


def test_functions_stay_small():
    lines = {place: lines_without_docstring(function) for place, function in functions()}
    assert {place: n for place, n in lines.items() if n > FUNCTION_LINES} == {}
    assert len(lines) > 300


def test_the_naive_twin_imports_numpy_and_nothing_else():
    assert list(imported(NAIVE)) == ["numpy"]


def test_importing_the_package_is_free():
    script = "import streamgmm, sys; print(*sorted({module.split('.')[0] for module in sys.modules}))"
    loaded = set(subprocess.check_output([sys.executable, "-c", script], encoding="utf-8", cwd=PACKAGE.parent).split())
    assert "streamgmm" in loaded
    assert not {"numba", "numpy", "tifffile", "imagecodecs", "PIL", "click", "rich", "scipy"} & loaded


def test_public_names_are_there_on_first_use():
    assert [name for name in streamgmm.__all__ if getattr(streamgmm, name).__name__ != name] == []
    assert set(streamgmm.__all__) <= set(dir(streamgmm))


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="module 'streamgmm' has no attribute 'fit_imagee'"):
        _ = streamgmm.fit_imagee
