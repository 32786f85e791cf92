"""The house stands as the design says: imports point one way, in no circle, and every file holds one idea."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import streamgmm

PACKAGE = Path(streamgmm.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = Path(__file__).parent

# What the files of each room may import from the package; a door may import anything but another door.
ROOMS = {
    "errors": set(),
    "options": {"errors"},
    "system": {"errors"},
    "model": {"errors", "options"},
    "image": {"errors", "options", "system"},
    "page": {"errors", "options", "system", "model", "image"},
    "jobs": {"errors", "options", "system", "model", "image", "page"},
}
DOORS = {"cli", "estimator", "__main__", "__init__"}

FILE_LINES, FUNCTION_LINES = 300, 50


def name(path):
    return path.relative_to(PACKAGE).as_posix()


def room(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def module(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_for_type_checkers(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imported(path):
    """Absolute names of the modules a file imports, wherever in it but where only type checkers look."""
    here = ("streamgmm", *path.relative_to(PACKAGE).parts[:-1]) if PACKAGE in path.parents else ()
    whole = tree(path)
    unseen = {each for node in ast.walk(whole) if is_for_type_checkers(node) for each in ast.walk(node)}
    for node in ast.walk(whole):
        if node in unseen:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else ()
            parts = (*base, *([node.module] if node.module else ()))
            yield ".".join(parts)
            yield from (".".join((*parts, alias.name)) for alias in node.names)


def rooms_imported(path):
    rooms = {room(each) for each in MODULES}
    parts = [each.split(".") for each in imported(path)]
    return {part[1] for part in parts if part[0] == "streamgmm" and len(part) > 1 and part[1] in rooms}


def called(path):
    """What a file calls by a name of its own or of Python's."""
    calls = (node.func for node in ast.walk(tree(path)) if isinstance(node, ast.Call))
    return {function.id for function in calls if isinstance(function, ast.Name)}


def functions():
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name(path)}:{node.name}", node


def lines_without_docstring(function):
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    return lines - (function.body[0].end_lineno - function.body[0].lineno + 1)


def test_every_file_is_in_a_room_or_is_a_door():
    assert {room(path) for path in MODULES} <= ROOMS.keys() | DOORS
    assert {room(path) for path in MODULES} >= ROOMS.keys()


def test_imports_point_one_way():
    upward = {name(path): rooms_imported(path) - ROOMS[room(path)] - {room(path)} for path in MODULES if room(path) in ROOMS}
    assert {path: rooms for path, rooms in upward.items() if rooms} == {}
    assert rooms_imported(PACKAGE / "jobs" / "labeling.py") >= {"errors", "options", "system", "model", "image"}


def test_no_imports_run_in_a_circle():
    files = {module(path): path for path in MODULES}
    edges = {name: {files[each] for each in imported(path) if each in files} - {path} for name, path in files.items()}
    reached = {}
    for start, path in files.items():
        seen, rest = set(), [path]
        while rest:
            new = edges[module(rest.pop())] - seen
            seen |= new
            rest += new
        reached[start] = seen
    assert [start for start, path in files.items() if path in reached[start]] == []
    assert sum(map(len, edges.values())) > 2 * len(files)


def test_the_model_opens_no_file_and_starts_no_threads():
    model = [path for path in MODULES if room(path) == "model" and path.stem != "code_folder"]
    outside = {"pathlib", "concurrent", "concurrent.futures", "tifffile", "multiprocessing"}
    assert [name(path) for path in model if "open" in called(path) or outside & set(imported(path))] == []
    assert len(model) > 10


def test_numba_is_decorated_with_in_one_place_and_by_public_means():
    allowed = {"model/kernels.py": {"numba", "numba.prange"}, "model/jit.py": {"numba", "numba.config"}}
    for path in MODULES:
        numba = {each for each in imported(path) if each.split(".")[0] in ("numba", "llvmlite")}
        assert numba <= allowed.get(name(path), set()), name(path)
        if name(path) != "model/jit.py":
            assert [word for word in ("njit", "@jit", "vectorize(") if word in path.read_text(encoding="utf-8")] == [], name(
                path
            )
    private = [node for node in ast.walk(tree(PACKAGE / "model" / "jit.py")) if isinstance(node, ast.Attribute)]
    assert [node.attr for node in private if node.attr.startswith("_") and not node.attr.startswith("__")] == []


def test_no_function_looks_at_all_its_names_at_once():
    assert [name(path) for path in MODULES if "locals" in called(path)] == []


def test_files_stay_small():
    lines = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path for path, n in lines.items() if n > FILE_LINES} == set()


def test_functions_stay_small():
    lines = {place: lines_without_docstring(function) for place, function in functions()}
    assert {place: n for place, n in lines.items() if n > FUNCTION_LINES} == {}
    assert len(lines) > 300


def test_every_module_has_tests_of_its_name():
    tests = {path.relative_to(TESTS).as_posix() for path in TESTS.rglob("test_*.py")}
    modules = [path.relative_to(PACKAGE) for path in MODULES if path.stem not in ("__init__", "__main__")]
    assert [str(path) for path in modules if (path.parent / f"test_{path.name}").as_posix() not in tests] == []


def test_the_naive_twin_imports_numpy_and_nothing_else():
    assert list(imported(TESTS / "naive.py")) == ["numpy"]


def loaded(script):
    """The packages that a script loads."""
    script += "\nimport sys; print(*sorted({module.split('.')[0] for module in sys.modules}))"
    return set(subprocess.check_output([sys.executable, "-c", script], text=True, cwd=PACKAGE.parent).split())


def test_importing_the_package_is_free():
    packages = loaded("import streamgmm")
    assert "streamgmm" in packages
    assert not {"numba", "numpy", "tifffile", "imagecodecs", "PIL", "click", "rich", "scipy"} & packages


def test_help_loads_what_is_shown_and_nothing_more():
    packages = loaded("from streamgmm.cli import main\ntry: main(['quantize', '--help'])\nexcept SystemExit: pass")
    assert not {"numba", "numpy", "tifffile", "imagecodecs", "PIL", "scipy"} & packages


def test_opening_an_array_loads_no_reader_of_files():
    packages = loaded("import numpy, streamgmm; streamgmm.open_image(numpy.zeros((2, 2)))")
    assert not {"numba", "tifffile", "PIL"} & packages


def test_public_names_are_there_on_first_use():
    assert [public for public in streamgmm.__all__ if getattr(streamgmm, public).__name__ != public] == []
    assert set(streamgmm.__all__) <= set(dir(streamgmm))


def test_other_names_are_not():
    with pytest.raises(AttributeError, match="module 'streamgmm' has no attribute 'fit_imagee'"):
        _ = streamgmm.fit_imagee
