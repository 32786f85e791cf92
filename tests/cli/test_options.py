"""The commands have the options of the fields, with their types, defaults and help, and each is that of the library."""

import dataclasses
import json
import re

import click
import numpy as np
import pytest

import streamgmm
from streamgmm.cli.commands import cli
from streamgmm.cli.options import Numbers, start_of
from streamgmm.errors import OptionError
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
from streamgmm.options.fields import choices_of, flag_of, spec_of
from streamgmm.options.page import PageOptions
from streamgmm.options.palette import PaletteOptions

from .commands import leave, write_model, write_pages

# What a command is given of the library's options, and what it has of its own.
KINDS = {
    "quantize": (
        FitOptions,
        PaletteOptions,
        ClassMapOptions,
        ReadOptions,
        OutputOptions,
        PageOptions,
        RunOptions,
        ResourceOptions,
    ),
    "fit": (FitOptions, ReadOptions, RunOptions, ResourceOptions),
    "apply": (ReadOptions, OutputOptions, PageOptions, RunOptions, ResourceOptions),
    "batch": (
        BatchOptions,
        FitOptions,
        PaletteOptions,
        ClassMapOptions,
        ReadOptions,
        WriteOptions,
        PageOptions,
        RunOptions,
        ResourceOptions,
    ),
    "compare": (CompareOptions, ImageOptions, ResourceOptions),
    "info": (ImageOptions,),
    "warmup": (),
}
TOLD = {"--report", "-q", "--quiet", "-v", "--verbose"}
OWN = {
    "quantize": TOLD,
    "fit": TOLD | {"-o", "--output"},
    "apply": TOLD,
    "batch": TOLD | {"--log-file", "--metrics-file", "--config"},
    "compare": {"--json", "-q", "--quiet", "-v", "--verbose"},
    "info": {"--json", "-v", "--verbose"},
    "warmup": {"-v", "--verbose"},
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_pages(tmp_path_factory.mktemp("cli"))


@pytest.fixture(scope="module")
def model(source):
    return write_model(source)


def fields_of(command):
    """The fields a command has options for, by name."""
    return {field.name: field for kind in KINDS[command] for field in dataclasses.fields(kind) if not spec_of(field).hidden}


def names_of(field):
    """All names the option of a field has on the command line."""
    flag = flag_of(field)
    opposite = {f"--no-{flag[2:]}"} if field.type in (bool, bool | None) and field.default is not False else set()
    return {flag, *spec_of(field).flags, *spec_of(field).values} | opposite


def options_of(command):
    """The options of a command, but for its help."""
    return [param for param in cli.commands[command].params if isinstance(param, click.Option)]


# --- Options are made from fields ---


def test_every_command_is_looked_at_here():
    assert set(cli.commands) == set(KINDS) == set(OWN)


@pytest.mark.parametrize("command", KINDS)
def test_a_command_has_the_options_of_the_fields_and_a_few_of_its_own(command):
    names = [name for option in options_of(command) for name in (*option.opts, *option.secondary_opts)]
    assert sorted(names) == sorted(OWN[command].union(*map(names_of, fields_of(command).values())))


@pytest.mark.parametrize("command", KINDS)
def test_an_option_has_the_name_default_and_help_of_its_field(command):
    fields = fields_of(command)
    own = [option.name for option in options_of(command) if OWN[command].issuperset(option.opts)]
    assert own == [name for name in own if name not in fields or command == "fit"]
    for option in options_of(command):
        if OWN[command].issuperset(option.opts):
            continue
        field = fields[option.name]
        if set(option.opts) <= set(spec_of(field).values):
            assert spec_of(field).values == {option.opts[0]: option.flag_value}
            continue
        assert option.required == (field.default is dataclasses.MISSING)
        assert option.help == spec_of(field).help
        if not option.required:
            assert option.get_default(click.Context(cli.commands[command])) == field.default


@pytest.mark.parametrize("command", KINDS)
def test_help_names_every_option_with_its_default_and_its_choices(command, capsys):
    assert leave(command, "--help") == 0
    text = capsys.readouterr().out
    squeezed = "".join(text.split())  # lines may break anywhere
    for field in fields_of(command).values():
        assert all(re.search(rf"(?<![\w-]){name}(?![\w-])", text) for name in names_of(field))
        assert "".join(spec_of(field).help.split()) in squeezed
        assert all(choice in spec_of(field).help for choice in choices_of(field))
        if isinstance(field.default, str | int | float) and not isinstance(field.default, bool):
            assert f"[default:{field.default}]" in squeezed
    assert "Exitcodes:0done" in squeezed or not fields_of(command)


@pytest.mark.parametrize("command", ["quantize", "fit", "apply"])
def test_options_that_are_not_given_have_the_defaults_of_the_library(command, source, model, tmp_path, monkeypatch):
    given = []
    for job in ("quantize.quantize_image", "fit.fit_to_file", "apply.apply_to_image"):
        monkeypatch.setattr(f"streamgmm.jobs.{job}", lambda options: given.append(vars(options)))
    paths = {
        "quantize": [source, tmp_path / "o"],
        "fit": [source, "-o", tmp_path / "o"],
        "apply": [model, source, tmp_path / "o"],
    }
    assert leave(command, *paths[command]) == 0
    [options] = given
    assert {name: options[name] for name in fields_of(command)} == {
        name: field.default for name, field in fields_of(command).items()
    }


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1", (1,)), ("4,3,2", (4, 3, 2)), (" 1, 2", (1, 2)), ("", None), ("1,", None), ("red", None), ("1.5", None)],
)
def test_numbers_are_separated_by_commas(text, numbers):
    if numbers is not None:
        assert Numbers().convert(text, None, None) == numbers
        return
    with pytest.raises(click.BadParameter, match="is not numbers separated by commas, such as 4,3,2"):
        Numbers().convert(text, None, None)


def test_a_start_is_a_way_or_a_model(model, tmp_path):
    assert start_of("k-means++") == "k-means++"
    assert start_of("anything") == "anything"  # which is refused by who knows the ways
    np.testing.assert_array_equal(start_of(str(model)).means, json.loads(model.read_text(encoding="utf-8"))["means"])
    for path in (tmp_path / "gone.json", tmp_path / "damaged.json"):
        (tmp_path / "damaged.json").write_text("{}", encoding="utf-8")
        with pytest.raises(OptionError, match=rf"init: .*{path.name}: "):
            start_of(str(path))


@pytest.mark.parametrize(
    "arguments",
    ["-k 0", "--tol -1", "--covariance round", "--init fast", "--init gone.json", "--tile-size 17", "--threads 0",
     "--memory much", "--chunk-size 0", "--compression-level 13", "--output png", "--palette-out colors", "--work-dir gone",
     "--page 1 --all-pages"],
)  # fmt: skip
def test_a_value_that_is_refused_is_a_usage_error_in_one_line(arguments, source, tmp_path, capsys):
    assert leave("quantize", source, tmp_path / "out.tif", *arguments.split()) == 2
    output, error = capsys.readouterr()
    assert (output, error.count("\n")) == ("", 1)
    assert error.startswith("streamgmm: ")
    assert list(tmp_path.iterdir()) == []


# --- Options do what the library does ---

FIT_OPTIONS = {
    "-k 5": {"n_components": 5},
    "--components 5": {"n_components": 5},
    "-k auto": {"n_components": "auto"},
    "-k auto --target-psnr 22": {"n_components": "auto", "target_psnr": 22},
    "-k auto --max-delta-e 7.5": {"n_components": "auto", "max_delta_e": 7.5},
    "-k auto --max-components 5": {"n_components": "auto", "max_components": 5},
    "--covariance tied": {"covariance_type": "tied"},
    "--covariance diag": {"covariance_type": "diag"},
    "--method stream": {"method": "stream"},
    "--method exact": {"method": "exact"},
    "--method minibatch": {"method": "minibatch"},
    "--init random": {"init": "random"},
    "--init k-means++": {"init": "k-means++"},
    "--max-iter 1 --tol 1e-9": {"max_iter": 1, "tol": 1e-9},
    "--tol 0.1": {"tol": 0.1},
    "--reg-covar 0.01": {"reg_covar": 0.01},
    "--seed 7 --init random --max-iter 1": {"seed": 7, "init": "random", "max_iter": 1},
    "--sort hue": {"sort": "hue"},
    "--space oklab": {"space": "oklab"},
    "--chunk-size 1MiB": {"chunk_size": "1MiB"},
    "--chunk-size 1Mpx": {"chunk_size": "1Mpx"},
    "--threads 2": {"threads": 2},
}

READ_OPTIONS = {
    "--bands 2,1,3": {"bands": (2, 1, 3)},
    "--nodata 77": {"nodata": 77.0},
    "--page 1": {"page": 1},
    "--level 1": {"level": 1},
    "--page 2 --level 0": {"page": 2},
    "--all-pages": {"all_pages": True},
    "--pages-as-bands 2": {"pages_as_bands": (2,)},
    "--pages-as-bands 0,0 --bands 6,2,1": {"pages_as_bands": (0, 0), "bands": (6, 2, 1)},
}

WRITE_OPTIONS = {
    "--labels": {"output": "labels"},
    "--output rgb": {"output": "rgb"},
    "--compression-level 9": {"compression_level": 9},
    "--tile-size 16 --pyramid": {"tile_size": 16, "pyramid": True},
    "--layout subifd --tile-size 16 --pyramid": {"layout": "subifd", "tile_size": 16, "pyramid": True},
    "--layout cog --tile-size 16": {"layout": "cog", "tile_size": 16},
    "--layout cog --tile-size 16 --no-pyramid": {"layout": "cog", "tile_size": 16, "pyramid": False},
    "--tile-size 16 --pyramid --resampling nearest": {"tile_size": 16, "pyramid": True, "resampling": "nearest"},
    "--pack": {"pack": True},
    "--bigtiff yes": {"bigtiff": "yes"},
    "--display-bands 3,2,1": {"display_bands": (3, 2, 1)},
    "--display-bands 2": {"display_bands": (2,)},
    "--display-range -5,99.5": {"display_range": (-5, 99.5)},
    "--display-range type": {"display_range": "type"},
    "--palette centroids": {"palette": "centroids"},
    "--compression lzw": {"compression": "lzw"},
    "--compression none": {"compression": "none"},
    "--compression zstd": {"compression": "zstd"},
    "--tile-size 64": {"tile_size": 64},
}

OPTIONS = FIT_OPTIONS | READ_OPTIONS | WRITE_OPTIONS


@pytest.fixture
def less_seeding(monkeypatch):
    """Seed in less time, where it does not matter from what."""
    monkeypatch.setattr("streamgmm.model.seeding.STARTS", 1)
    monkeypatch.setattr("streamgmm.model.seeding.STARTS", 1)
    monkeypatch.setattr("streamgmm.model.seeding.LONG", 10)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_of_quantize_is_that_of_the_library(option, source, tmp_path, less_seeding):
    streamgmm.quantize(source, tmp_path / "expected.tif", **{"n_components": 3, "threads": 1} | OPTIONS[option])
    assert leave("quantize", source, tmp_path / "out.tif", "-k", 3, "--threads", 1, *option.split()) == 0
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "expected.tif").read_bytes()


@pytest.mark.parametrize("option", FIT_OPTIONS | READ_OPTIONS)
def test_an_option_of_fit_is_that_of_the_library(option, source, tmp_path, less_seeding):
    mixture, _ = streamgmm.fit_image(source, **{"n_components": 3, "threads": 1} | OPTIONS[option])
    assert leave("fit", source, "-o", tmp_path / "model.json", "-k", 3, "--threads", 1, *option.split()) == 0
    assert (tmp_path / "model.json").read_text(encoding="utf-8") == mixture.to_json()


@pytest.mark.parametrize("option", [*READ_OPTIONS, *WRITE_OPTIONS, "--chunk-size 1MiB", "--threads 2"])
def test_an_option_of_apply_is_that_of_the_library(option, source, model, tmp_path):
    streamgmm.apply(model, source, tmp_path / "expected.tif", **OPTIONS[option])
    assert leave("apply", model, source, tmp_path / "out.tif", *option.split()) == 0
    assert (tmp_path / "out.tif").read_bytes() == (tmp_path / "expected.tif").read_bytes()


# --- What is called otherwise elsewhere ---


@pytest.mark.parametrize(
    ("command", "written", "meant"),
    [
        ("quantize", "--force", "--overwrite"),
        ("apply", "-f", "--overwrite"),
        ("fit", "--n-components", "--components"),
        ("quantize", "--covariance-type", "--covariance"),
        ("batch", "--workers", "--jobs"),
        ("batch", "--output-dir", "--out-dir"),
        ("quantize", "--overwritten", "--overwrite"),  # as ever
    ],
)
def test_the_option_that_is_meant_is_suggested(command, written, meant, capfd):
    assert leave(command, "a", "b", written) == 2
    assert f"Did you mean '{meant}'?" in capfd.readouterr().err


def test_no_option_is_suggested_that_a_command_does_not_have(capfd):
    assert leave("info", "a", "--force") == 2
    assert "--overwrite" not in capfd.readouterr().err
