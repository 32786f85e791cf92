"""Which files a batch reads, and which it writes."""

import os
import shutil
from pathlib import Path

import pytest
import tifffile

from streamgmm.jobs.batch.inputs import find
from streamgmm.options import BatchOptions

from ...batches import run, work_here
from ...images import file_name, smooth, write_tiff

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    return tmp_path_factory.mktemp("empty")


@pytest.fixture
def made(monkeypatch):
    """What a batch makes of inputs, its work done in this process."""
    work_here(monkeypatch)
    return run


def touch(*names):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()


def image(*names):
    for name in names:
        touch(name)
        write_tiff(name, smooth(20, 30))


def found(*inputs, out="out", suffix=".tif", recursive=False):
    """Outputs by inputs, in order, of those that have no complaint."""
    pairs = find(inputs, BatchOptions(out_dir=Path(out), suffix=suffix, recursive=recursive))
    return {str(pair.source): str(pair.target) for pair in pairs if pair.complaint is None}


# --- Files, folders, patterns ---


def test_a_file_is_taken_whatever_its_suffix():
    touch("scan.DAT", "plain", "in.b/a.tif")
    outputs = {"scan.DAT": "out/scan.tif", "plain": "out/plain.tif", "in.b/a.tif": "out/a.tif"}
    assert found("scan.DAT", "plain", "in.b/a.tif") == outputs


def test_a_file_that_is_not_there_is_an_input_too():
    assert found("gone.tif", Path("gone", "b.png")) == {"gone.tif": "out/gone.tif", "gone/b.png": "out/b.tif"}


def test_of_a_folder_the_images_are_taken_by_name():
    touch("in/b.PNG", "in/a.tiff", "in/c.jpg", "in/notes.txt", "in/model.json", "in/plain", "in/.hidden.tif", "in/d.svs")
    touch("in/deeper/e.tif")
    assert list(found("in")) == ["in/a.tiff", "in/b.PNG", "in/c.jpg", "in/d.svs"]


def test_recursive_keeps_the_tree():
    touch("in/b.tif", "in/2/a.tif", "in/1/deep/a.tif", "in/1/a.tif", "in/.hidden/a.tif")
    assert found("in", recursive=True) == {
        "in/b.tif": "out/b.tif",
        "in/1/a.tif": "out/1/a.tif",
        "in/1/deep/a.tif": "out/1/deep/a.tif",
        "in/2/a.tif": "out/2/a.tif",
    }


def test_recursive_writes_the_tree(made):
    image("in/1/deep/a.tif", "in/2/a.tif")
    reports = made("in", out_dir=Path("new/out"), recursive=True, suffix="-2.tif")
    assert [each.output for each in reports] == ["new/out/1/deep/a-2.tif", "new/out/2/a-2.tif"]
    assert all(tifffile.imread(each.output).shape == (20, 30) for each in reports)


def test_a_pattern_names_files_and_folders():
    touch("in/a1.tif", "in/a2.txt", "in/b1.tif", "in/a3/x.tif", "in/a3/x.txt")
    assert list(found("in/a*")) == ["in/a1.tif", "in/a2.txt", "in/a3/x.tif"]
    assert list(found("in/**/*.tif")) == ["in/a1.tif", "in/a3/x.tif", "in/b1.tif"]
    assert found("in/z*") == {}


def test_a_file_with_the_name_of_a_pattern_is_that_file():
    touch("a[1].tif", "a1.tif", "b*.tif", "b2.tif")
    assert list(found("a[1].tif", "b*.tif")) == ["a[1].tif", "b*.tif"]


def test_inputs_are_taken_in_the_order_they_are_named():
    touch("in/b.tif", "c.tif", "a.tif")
    assert list(found("c.tif", "in", "a.tif")) == ["c.tif", "in/b.tif", "a.tif"]


def test_a_folder_that_cannot_be_listed_is_not_passed_over(made, monkeypatch):
    image("in/a.tif", "in/closed/b.tif")
    listed = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    done, closed = made("in", recursive=True)
    assert (done.status, closed.status, closed.exit_code) == ("done", "failed", 3)
    assert "closed" in closed.error


# --- One input, one output ---


def test_an_input_that_is_named_twice_is_taken_once():
    touch("in/a.tif", "in/b.tif")
    Path("alias").symlink_to("in")
    assert found("in/a.tif", "in", "./in/../in/b.tif", "alias") == {"in/a.tif": "out/a.tif", "in/b.tif": "out/b.tif"}


def test_inputs_that_would_have_one_output():
    touch("in/a.png", "in/a.tif", "in/b.tif", "other/b.tif")
    pairs = find(["in", "other"], BatchOptions(out_dir=Path("out")))
    complaints = [pair.complaint for pair in pairs]
    assert [str(pair.source) for pair in pairs] == ["in/a.png", "in/a.tif", "in/b.tif", "other/b.tif"]
    assert complaints == [
        None,
        "in/a.tif: its output out/a.tif is that of in/a.png; rename one of them",
        None,
        "other/b.tif: its output out/b.tif is that of in/b.tif; rename one of them",
    ]


def test_a_collision_costs_only_the_second_of_both(made):
    image("in/a.tif", "in/a.tiff", "in/b.tif")  # also where both are the same image
    for status in ("done", "skipped"):
        reports = made("in", skip_existing=status == "skipped")
        assert [(each.input, each.exit_code) for each in reports if each.status == "failed"] == [("in/a.tiff", 2)]
        assert {each.status for each in reports} == {"failed", status}


@pytest.mark.parametrize("out", ["in/out", "./in/../in/out", "alias"])
def test_outputs_inside_the_folder_of_the_inputs_are_no_inputs(out):
    touch("in/a.tif", "in/b/c.tif", "in/out/a.tif", "in/out/b/c.tif")
    Path("alias").symlink_to("in/out")
    assert list(found("in", out=out, recursive=True)) == ["in/a.tif", "in/b/c.tif"]


@pytest.mark.parametrize(
    ("names", "suffix"),
    [
        (["a.tif", "b.png"], "-out.tif"),
        (["a.png", "b.jpg"], ".tif"),
        (["a.tiff", "b.webp"], ".tif"),  # which come after their outputs
        (["a.tif", "z/a.tif"], "-1.tif"),
    ],
)
def test_outputs_beside_the_inputs_are_no_inputs(names, suffix):
    touch(*(f"in/{name}" for name in names))
    first = found("in", out="in", suffix=suffix, recursive=True)
    assert sorted(first) == sorted(f"in/{name}" for name in names)
    touch(*first.values())
    assert found("in", out="in", suffix=suffix, recursive=True) == first


def test_an_input_is_never_its_own_output(made):
    image("in/a.tif", "in/b.tif", "in/c.tif")
    before = Path("in/a.tif").read_bytes()
    Path("out").mkdir()
    Path("out/b.tif").symlink_to("../in/b.tif")
    os.link("in/c.tif", "out/c.tif")
    for out in ("in", "out"):
        reports = made("in", out_dir=Path(out), overwrite=True)
        refused = [each.input for each in reports if each.exit_code == 4 and "is also the input" in each.error]
        assert refused == [f"in/{name}.tif" for name in ("abc" if out == "in" else "bc")]
    assert [Path(f"in/{name}.tif").read_bytes() for name in "abc"] == [before] * 3


# --- Names and links ---

NAMES = [
    "two words.tif",
    file_name("日本 ü.tif"),
    file_name("e\u0301.tif"),
    "x" * 196 + ".tif",
    "-k.tif",
    "new\nline.tif",
    "\udcfe.tif",
    "'quoted\".tif",
]


@pytest.mark.parametrize("how", ["names", "folder"])
def test_any_name(how, made, monkeypatch):
    image(*(f"in/{name}" for name in NAMES))
    monkeypatch.chdir("in")
    inputs = NAMES if how == "names" else ["."]
    reports = made(*inputs, out_dir=Path("../out"))
    assert {(each.input, each.output, each.status) for each in reports} == {(name, f"../out/{name}", "done") for name in NAMES}
    assert {path.name for path in Path("../out").iterdir()} == set(NAMES)
    assert {each.status for each in made(*inputs, out_dir=Path("../out"), skip_existing=True)} == {"skipped"}


def test_an_output_whose_name_is_too_long_costs_only_itself(made):
    image("in/" + "x" * 251 + ".tif", "in/z.tif")
    long, short = made("in", suffix="-palette.tif")
    assert (long.exit_code, short.exit_code) == (4, 0)
    assert "file name too long" in long.error


def test_links_to_files_are_followed(made):
    image("store/a.tif")
    Path("in").mkdir()
    Path("in/link.tif").symlink_to("../store/a.tif")
    assert found("in") == {"in/link.tif": "out/link.tif"}
    assert [each.status for each in made("in")] == ["done"]
    assert not Path("out/link.tif").is_symlink()


def test_links_to_folders_are_followed_where_they_are_named():
    touch("store/a.tif", "in/b.tif")
    Path("in/link").symlink_to("../store")
    assert list(found("in", recursive=True)) == ["in/b.tif"]
    assert list(found("in/link", "in/link/")) == ["in/link/a.tif"]


def test_a_loop_of_folders_ends():
    touch("in/deep/a.tif")
    Path("in/deep/up").symlink_to("..")
    assert list(found("in", recursive=True)) == ["in/deep/a.tif"]


@pytest.mark.parametrize("target", ["gone.tif", "self.tif"])
def test_a_link_to_nowhere_costs_only_itself(target, made):
    image("in/a.tif")
    Path("in/self.tif").symlink_to(target)
    assert [(each.input, each.exit_code) for each in made("in")] == [("in/a.tif", 0), ("in/self.tif", 3)]


def test_a_folder_may_be_named_from_anywhere(made, folder, monkeypatch):
    image("in/a.tif")
    [report] = made(folder / "in", out_dir=folder / "out")
    assert (report.status, report.output) == ("done", str(folder / "out" / "a.tif"))
    shutil.rmtree("out")
    monkeypatch.chdir("in")
    [report] = made("..//in/./a.tif", out_dir=Path("../out"))
    assert (report.status, report.output) == ("done", "../out/a.tif")


def test_a_missing_file_is_named(made):
    [report] = made("gone.tif")
    assert (report.status, report.exit_code) == ("failed", 3)
    assert report.error.startswith("gone.tif: ")
