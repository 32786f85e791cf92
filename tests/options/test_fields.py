"""Every option once: what its field says is what functions take, type checkers and docstrings know, and what is refused."""

import dataclasses
import inspect
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

import streamgmm
from streamgmm import options
from streamgmm.errors import OptionError
from streamgmm.jobs.batch.run import batch
from streamgmm.options import (
    ClassMapOptions,
    CompareOptions,
    FitOptions,
    ImageOptions,
    OutputOptions,
    ReadOptions,
    ResourceOptions,
    RunOptions,
    WriteOptions,
)
from streamgmm.options.batch import BatchOptions
from streamgmm.options.fields import Options, choices_of, flag_of, flat, option, spec_of
from streamgmm.options.page import PageOptions
from streamgmm.options.palette import PaletteOptions

from ..images import smooth

ROOT = Path(__file__).parents[2]
ALL = [
    PaletteOptions,
    PageOptions,
    BatchOptions,
    *(kind for kind in vars(options).values() if isinstance(kind, type) and issubclass(kind, Options) and kind is not Options),
]
FIELDS = {field.name: field for kind in ALL for field in dataclasses.fields(kind)}
# What public functions are given: values without a default, kinds of options, and what is no option of a command.
FUNCTIONS = {
    streamgmm.quantize: (
        ["src", "dst"],
        [FitOptions, PaletteOptions, ClassMapOptions, ReadOptions, OutputOptions, PageOptions, RunOptions, ResourceOptions],
        {},
    ),
    streamgmm.fit_image: (["sources"], [FitOptions, ReadOptions, ResourceOptions], {}),
    streamgmm.apply: (["model", "src", "dst"], [ReadOptions, OutputOptions, PageOptions, RunOptions, ResourceOptions], {}),
    streamgmm.compare: (["a", "b"], [CompareOptions, ImageOptions, ResourceOptions], {}),
    streamgmm.open_image: (["source"], [ImageOptions], {"budget": None}),
    batch: (
        ["pairs"],
        [
            BatchOptions,
            FitOptions,
            PaletteOptions,
            ClassMapOptions,
            ReadOptions,
            WriteOptions,
            PageOptions,
            RunOptions,
            ResourceOptions,
        ],
        {},
    ),
}
of_each_function = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)


def choices(field):
    """The values a field may have by its type, also where that names other types beside them."""
    return get_args(options.Init) if field.name == "init" else choices_of(field)


# --- What a field says ---


@pytest.mark.parametrize("name", FIELDS)
def test_an_option_is_one_thing_wherever_it_is(name):
    fields = [field for kind in ALL for field in dataclasses.fields(kind) if field.name == name]
    assert len({(str(field.type), repr(field.default), spec_of(field).help) for field in fields}) == 1


def test_no_two_options_have_one_flag():
    flags = [flag for field in FIELDS.values() for flag in {flag_of(field), *spec_of(field).flags, *spec_of(field).values}]
    assert len(set(flags)) == len(flags)


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if not spec_of(field).hidden])
def test_an_option_has_a_line_of_help_that_names_its_choices(name):
    text = spec_of(FIELDS[name]).help
    assert re.fullmatch(r"[^\n]+\.( \[default: [^\]]+\])?", text)
    assert all(re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", text) for choice in choices(FIELDS[name]))
    assert spec_of(FIELDS[name]).alone in (None, *choices(FIELDS[name]))
    assert set(spec_of(FIELDS[name]).values.values()) <= set(choices(FIELDS[name]))


# --- What is refused ---

COMPONENTS = "choose 1 to 65,535"
REFUSED = [
    (FitOptions, "n_components", [0, -1, 65_536], f"components is {{}}; {COMPONENTS}, or auto"),
    (FitOptions, "n_components", ["few", "", "8.5"], f"components is {{!r}}; {COMPONENTS}, or auto"),
    (FitOptions, "target_psnr", [float("nan"), float("inf")], "target-psnr is {}; it must be a number of decibels"),
    (FitOptions, "max_delta_e", [-0.1, float("nan")], "max-delta-e is {}; it must be 0 or more"),
    (FitOptions, "max_components", [0, 65_536], f"max-components is {{}}; {COMPONENTS}"),
    (FitOptions, "covariance_type", ["round", "Full", ""], "covariance is {!r}; choose full, tied, diag, spherical, isotropic"),
    (FitOptions, "method", ["fast"], "method is {!r}; choose auto, exact, stream, minibatch"),
    (FitOptions, "init", ["means"], "init is {!r}; choose kmeans, k-means++, random"),
    (FitOptions, "max_iter", [0, -3], "max-iter is {}; at least 1 is needed"),
    (FitOptions, "tol", [-1e-9, float("nan")], "tol is {}; it must be 0 or more"),
    (FitOptions, "preset", ["photo", ""], "preset is {!r}; choose picture, segment, fidelity"),
    (
        FitOptions,
        "range",
        ["none", "", "1", "1,2,3", "1,2;", "2,1", "1,1", "0,nan", "0,inf", (), (1,), (1, 2, 3), [(1, 2), (3,)], 7, np.zeros(2)],
        "range is {!r}; write auto, type, or LOW,HIGH, or LOW,HIGH;LOW,HIGH;... for each band",
    ),
    (
        FitOptions,
        "reg_covar",
        [-1.0, float("nan"), float("inf"), "none", "", (1, 2)],
        "reg-covar is {!r}; write auto, or a variance of colors in [0, 1], 0 or more",
    ),
    (FitOptions, "fix", ["nocolor", "#12", "", "red,,blue", (1, 2), [(1, 2, 300)], 7.5, ()], "fix is "),
    (FitOptions, "rare_weight", [-0.1, 1.5, float("nan")], "rare-weight is {}; choose 0 to 1"),
    (FitOptions, "seed", [-1], "seed is {}; it must be 0 or more"),
    (FitOptions, "space", ["hsv", "RGB", ""], "space is {!r}; choose rgb, linear, lab, oklab"),
    (FitOptions, "sort", ["size"], "sort is {!r}; choose weight, luminance, hue"),
    (WriteOptions, "output", ["png"], "output is {!r}; choose palette, labels, rgb"),
    (WriteOptions, "palette", ["median"], "palette is {!r}; choose means, centroids"),
    (WriteOptions, "dither", ["floyd-steinberg"], "dither is {!r}; choose none, ordered, blue-noise"),
    (WriteOptions, "compression", ["jpeg"], "compression is {!r}; choose deflate, none, lzw, zstd, packbits"),
    (WriteOptions, "compression_level", [-1, 13], "compression-level is {}; choose 0 to 12"),
    (WriteOptions, "tile_size", [0, -16, 8, 17], "tile-size is {}; TIFF asks for a multiple of 16"),
    (WriteOptions, "layout", ["tiled"], "layout is {!r}; choose chained, subifd, cog"),
    (WriteOptions, "resampling", ["average"], "resampling is {!r}; choose mode, nearest"),
    (WriteOptions, "bigtiff", ["always"], "bigtiff is {!r}; choose auto, yes, no"),
    (WriteOptions, "display_bands", [(), (1, 2), (1, 2, 3, 4)], "display bands are {}; name one, or three"),
    (
        WriteOptions,
        "display_range",
        ["wide", "1", "2,1", "3,3", "0,nan", "0,1;2,3", (1, 0), ((0, 1), (2, 3)), 7, ()],
        "display-range is {!r}; write auto, type, or LOW,HIGH for all bands that are shown",
    ),
    (WriteOptions, "min_psnr", [float("nan"), float("inf")], "min-psnr is {}; it must be a number of decibels"),
    (OutputOptions, "palette_out", ["a", "a.png", Path("gpl")], "{}: what kind of palette?"),
    (PageOptions, "html", ["a", "a.tif", Path("html")], "html is {}; choose a name that ends in .html or .htm"),
    (RunOptions, "work_dir", ["gone", Path("gone")], "work-dir is {}; there is no such folder"),
    (RunOptions, "wait", [-1.0, float("nan")], "wait is {}; it must be 0 or more"),
    (ResourceOptions, "threads", [0, -1], "threads is {}; at least 1 is needed"),
    (BatchOptions, "suffix", ["", "a/b.tif", "/"], "suffix is {!r}; write the end of a file name"),
    (BatchOptions, "shared_palette", ["weight"], "shared-palette is {!r}; choose pixels, files"),
    (BatchOptions, "jobs", [0], "jobs is {}; at least 1 is needed"),
]
NEEDED = {BatchOptions: {"out_dir": Path("out")}}
AUTO = {name: {"n_components": "auto"} for name in ("target_psnr", "max_delta_e", "max_components")}


@pytest.mark.parametrize(
    ("kind", "name", "value", "line"), [(kind, name, value, line) for kind, name, values, line in REFUSED for value in values]
)
def test_a_value_that_cannot_be_is_refused_in_a_line(kind, name, value, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError) as refused:
        kind(**NEEDED.get(kind, {}), **{name: value})
    shown = tuple(value) if isinstance(value, list) else value
    assert str(refused.value).startswith(line.format(shown))
    assert "\n" not in str(refused.value)


def test_whatever_has_choices_or_bounds_is_refused_above():
    limited = {name for name, field in FIELDS.items() if choices(field) or spec_of(field).least is not None}
    assert limited <= {name for _, name, _, _ in REFUSED}


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [(kind, name, choice) for kind, name, _, _ in REFUSED for choice in choices(FIELDS[name])]
    + [(kind, name, bound) for kind, name, _, _ in REFUSED for bound in vars(spec_of(FIELDS[name])).values()
       if isinstance(bound, int | float) and not isinstance(bound, bool)]
    + [(WriteOptions, "compression_level", level) for level in (0, 12)]
    + [(WriteOptions, "tile_size", size) for size in (16, 4096)]
    + [(OutputOptions, "palette_out", f"a{suffix}") for suffix in (".gpl", ".json", ".txt", ".GPL")]
    + [(WriteOptions, "display_bands", bands) for bands in ((2,), (3, 2, 1))],
)  # fmt: skip
def test_choices_and_bounds_are_taken(kind, name, value):
    assert getattr(kind(**NEEDED.get(kind, {}), **AUTO.get(name, {}), **{name: value}), name) == value


@pytest.mark.parametrize(
    ("kind", "given", "line"),
    [
        *(
            (FitOptions, {name: 3}, f"{name.replace('_', '-')} is for components auto; components is 16")
            for name in ("target_psnr", "max_delta_e", "max_components")
        ),
        (
            FitOptions,
            {"n_components": "auto", "init": np.zeros((2, 3))},
            "components is auto; init has a number of them: choose one",
        ),
        (FitOptions, {"like": "a.json", "sort": "hue"}, "like and sort exclude each other: both give an order; choose one"),
        (ReadOptions, {"page": 0, "all_pages": True}, "page and all-pages exclude each other; choose one"),
        (ReadOptions, {"page": 0, "pages_as_bands": "all"}, "page and pages-as-bands exclude each other; choose one"),
        (
            ReadOptions,
            {"all_pages": True, "pages_as_bands": (0, 1)},
            "all-pages and pages-as-bands exclude each other; choose one",
        ),
        (
            FitOptions,
            {"preset": "fidelity", "covariance_type": "tied"},
            "preset fidelity and covariance exclude each other: its components are isotropic; choose one",
        ),
        (
            FitOptions,
            {"preset": "fidelity", "reg_covar": 0.1},
            "preset fidelity and reg-covar exclude each other: its variance is that of its error; choose one",
        ),
        (FitOptions, {"fix": "red,blue", "n_components": 1}, "fix has 2 colors; components is 1, ask for at least as many"),
        (
            FitOptions,
            {"fix": "red", "init": np.zeros((3, 3))},
            "fix and init exclude each other: a start has all its means; choose one",
        ),
        (
            FitOptions,
            {"fix": "red", "range": "0,9"},
            "fix and range exclude each other: colors are of the type of the samples; choose one",
        ),
        (WriteOptions, {"pack": True, "output": "rgb"}, "pack is for palettes and labels; RGB samples have 8 bits"),
        (
            BatchOptions,
            {"shared_palette": "files", "model": "m.json"},
            "shared-palette and model exclude each other; choose one",
        ),
        (WriteOptions, {"compression": "zstd", "compression_level": 0}, "compression-level is 0; choose 1 to 22"),
        (WriteOptions, {"compression": "zstd", "compression_level": 23}, "compression-level is 23; choose 1 to 22"),
        *(
            (WriteOptions, {"compression": codec, "compression_level": 1}, f"compression-level is 1; {codec} has none")
            for codec in ("none", "lzw", "packbits")
        ),
    ],
)
def test_options_that_exclude_each_other_are_refused_in_a_line(kind, given, line):
    with pytest.raises(OptionError) as refused:
        kind(**NEEDED.get(kind, {}), **given)
    assert str(refused.value) == line


# --- What is made of fields ---


@dataclass(frozen=True, kw_only=True)
class Size(Options):
    width: int = option(..., least=1)
    height: int = option(1, "Rows.", "-h", "--rows", least=1, most=1000)


@dataclass(frozen=True, kw_only=True)
class Colors(Options):
    bands: tuple[int, ...] | None = option(None)


@dataclass(frozen=True)
class Picture(Colors, Size):
    name: str


@flat(Picture)
def painted(given: Picture) -> str:
    """Paint it."""
    return f"{given.name}: {given.width} x {given.height}"


def test_a_flat_function_takes_the_fields_as_arguments():
    assert painted("it", width=3) == painted(name="it", height=1, width=3) == "it: 3 x 1"
    assert str(inspect.signature(painted)).endswith("width: int, height: int = 1, bands: tuple[int, ...] | None = None) -> str")
    assert (painted.__name__, painted.__doc__) == ("painted", "Paint it.")
    with pytest.raises(OptionError, match=r"^rows is 1001; choose 1 to 1,000$"):
        painted("it", width=3, height=1001)


def test_a_part_has_what_was_given():
    picture = Picture("it", width=3, height=4, bands=[1, 2])
    assert picture.part(Size) == Size(width=3, height=4)
    assert picture.part(Colors) == Colors(bands=(1, 2))
    assert Size(width=3).part(Picture, "other") == Picture("other", width=3)


def test_options_are_values():
    assert Colors(bands=[2, 1]).bands == (2, 1)  # whose list may change
    with pytest.raises(dataclasses.FrozenInstanceError):
        Size(width=1).width = 2


# --- What functions, docstrings and type checkers know ---


@of_each_function
def test_a_function_shows_the_options_of_its_kinds_as_keywords_with_their_defaults(function):
    needed, kinds, more = FUNCTIONS[function]
    shown = inspect.signature(function).parameters
    defaults = {
        field.name: inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
        for kind in kinds
        for field in dataclasses.fields(kind)
    }
    assert {name: parameter.default for name, parameter in shown.items() if name not in needed} == defaults | more
    assert list(shown)[: len(needed)] == needed
    for name, parameter in shown.items():
        assert (parameter.kind is inspect.Parameter.KEYWORD_ONLY) == (name not in needed)
        assert (parameter.default is inspect.Parameter.empty) == (name in [*needed, "out_dir"])


@of_each_function
def test_a_misspelled_keyword_is_named(function):
    *others, last = FUNCTIONS[function][0]
    with pytest.raises(TypeError) as misspelled:
        function(*others, "a", n_component=3)
    assert "unexpected keyword argument 'n_component'" in str(misspelled.value)
    with pytest.raises(TypeError) as missing:
        function(*others)
    assert re.search(f"missing .*{last!r}", str(missing.value))


def documented(function):
    """Parameters of a docstring in numpydoc's style, by name: what stands behind the colon."""
    section = re.search(r"\n {4}Parameters\n {4}-+\n(.*?)\n\n", function.__doc__, re.S)[1]
    entries = re.findall(r"^ {4}(\w.*?)(?: : (.*))?$", section, re.M)
    return {name: text for names, text in entries for name in names.split(", ")}


@pytest.mark.parametrize("function", [streamgmm.fit_image, streamgmm.apply, streamgmm.compare, streamgmm.open_image])
def test_a_docstring_tells_of_every_keyword_and_its_choices(function):
    told = documented(function)
    assert set(told) == set(inspect.signature(function).parameters)
    for name in set(told) - set(FUNCTIONS[function][0]) - set(FUNCTIONS[function][2]):
        written = re.match(r"\{(.*?)\}", told[name])
        named = tuple(re.findall(r'"(.*?)"', written[1])) if written else ()
        assert named == choices(FIELDS[name])


def test_the_docstring_of_quantize_leaves_its_options_to_those_of_its_halves():
    halves = [streamgmm.fit_image, streamgmm.apply]
    assert all(f":func:`streamgmm.{half.__name__}`" in streamgmm.quantize.__doc__ for half in halves)
    assert set(documented(streamgmm.quantize)) == {"src", "dst", "keep_values", "palette_in"}
    told = {"keep_values", "palette_in"}.union(*map(documented, halves))
    assert set(inspect.signature(streamgmm.quantize).parameters) <= told


CALLS = """
from pathlib import Path

import numpy as np

import streamgmm
from streamgmm.jobs.batch.inputs import Pair
from streamgmm.jobs.batch.run import batch

streamgmm.quantize("a.tif", Path("b.tif"), n_components=4, covariance_type="diag", bands=(1, 2), progress=print)
streamgmm.quantize("a.tif", "b.tif", n_components="auto", target_psnr=30, max_components=64)
streamgmm.quantize(np.zeros((4, 4)), "b.tif", init=np.zeros((2, 1)), memory="1GiB", chunk_size=1 << 20, pyramid=None)
mixture, report = streamgmm.fit_image(["a.tif", Path("b.tif")], init="random", all_pages=True)
streamgmm.fit_image("a.tif", init=mixture)
print(streamgmm.apply(mixture, "a.tif", "b.tif", output="labels", overwrite=True).psnr_db)
print(streamgmm.open_image("a.tif", page=1, budget=10).shape)
for each in batch([Pair(Path("a"), Path("b"))], out_dir=Path("out"), shared_palette="files"):
    print(each.status)

streamgmm.quantize("a.tif", "b.tif", components=4)  # Unexpected keyword argument "components" for "quantize"
streamgmm.quantize("a.tif", "b.tif", covariance_type="round")  # Argument "covariance_type" to "quantize" has incompatible type
streamgmm.quantize("a.tif", "b.tif", n_components="4")  # Argument "n_components" to "quantize" has incompatible type
streamgmm.quantize("a.tif")  # Missing positional argument "dst" in call to "quantize"
streamgmm.quantize("a.tif", "b.tif", 4)  # Too many positional arguments for "quantize"
streamgmm.fit_image("a.tif", overwrite=True)  # Unexpected keyword argument "overwrite" for "fit_image"
streamgmm.apply(mixture, "a.tif", "b.tif", bands=1)  # Argument "bands" to "apply" has incompatible type "int"
streamgmm.open_image("a.tif", all_pages=True)  # Unexpected keyword argument "all_pages" for "open_image"
batch([], out_dir=Path("out"), suffix=1)  # Argument "suffix" to "batch" has incompatible type "int"
report.psnr  # "Report" has no attribute "psnr"
"""


def test_a_type_checker_knows_the_keywords(tmp_path):
    (tmp_path / "calls.py").write_text(CALLS, encoding="utf-8")
    command = ["mypy", "--config-file", ROOT / "pyproject.toml", "--cache-dir", tmp_path / "cache", "--no-error-summary"]
    done = subprocess.run(
        [sys.executable, "-m", *command, "--hide-error-codes", "calls.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    found = {int(line): text for line, text in re.findall(r"^calls\.py:(\d+): error: (.*)$", done.stdout, re.M)}
    lines = {n: line.partition("  # ")[2] for n, line in enumerate(CALLS.splitlines(), 1)}
    expected = {n: complaint for n, complaint in lines.items() if complaint}
    assert done.stderr == ""
    assert {n: text[: len(expected.get(n, text))] for n, text in found.items()} == expected


def test_a_type_checker_is_told_that_the_package_has_types():
    assert (ROOT / "streamgmm" / "py.typed").exists()


# --- What is of another type ---

OF_ANOTHER_TYPE = {
    "n_components": [None, 8.0, "8.0", True, {8}],
    "like": [5, ("a.json",), np.zeros((2, 3))],
    "target_psnr": ["30", True],
    "max_delta_e": ["2"],
    "max_components": [2.5, "256"],
    "max_iter": [1.5, None, float("nan")],
    "seed": [None, 1.5, "0"],
    "tol": [None, "1e-3", True, 1j],
    "rare_weight": ["half"],
    "bands": [2, (1.5,), ["red"], "1,2", (True,)],
    "nodata": ["red", True, b"", {}, "5:3", "1:", (("none",), "0"), ((),)],
    "page": [0.0, "0"],
    "level": [None],
    "all_pages": [1, "yes", None],
    "pages_as_bands": [2, (1.5,), ("red",), "some", "", "0,-1", (), (-1,), (True,), "0;1"],
    "overwrite": [1, None],
    "pyramid": [0, "no"],
    "chunk_size": [1.5, None],
    "memory": [0.5],
    "threads": [True, 2.0, "2"],
    "work_dir": [5, b"in"],
    "palette_out": [5],
    "palette_in": [5, b"a.gpl", True],
    "html": [5, b"a.html", True],
    "wait": ["long"],
    "method": [None, 3, ["exact"]],
    "output": [None],
    "init": [None, 3],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in OF_ANOTHER_TYPE.items() for value in values])
def test_what_is_of_another_type_is_refused_with_its_name_its_value_and_what_would_be_right(name, value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flag = flag_of(FIELDS[name]).lstrip("-")
    with pytest.raises(OptionError, match=rf"\A{flag} is .*; (write|choose) ") as refused:
        streamgmm.quantize(smooth(20, 30), "out.tif", **{name: value})
    assert repr(value)[:8] in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_numbers_of_numpy_are_numbers():
    given = FitOptions(n_components=np.int64(8), tol=np.float32(0.5), max_iter=np.uint8(3))
    assert (given.n_components, given.tol, given.max_iter) == (8, 0.5, 3)
    assert {type(given.n_components), type(given.max_iter)} == {int}
    assert type(FitOptions(tol=1).tol) is float
