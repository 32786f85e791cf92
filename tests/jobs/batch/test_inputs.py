"""Which files a batch reads, and which it writes."""

import os
import re
import shutil
from pathlib import Path

import pytest
import tifffile
from PIL import Image as Pillow

from streamgmm.errors import OptionError
from streamgmm.jobs.batch.inputs import find
from streamgmm.options.batch import BatchOptions

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
    with pytest.raises(OptionError, match=r"in/z\*: no file matches this pattern"):
        found("in/z*")


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
    complaints = [pair.complaint and str(pair.complaint) for pair in pairs]
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


# --- Nothing that is an input is written to ---


def pair():
    """A master and a picture of it, and what of them must stay."""
    image("photos/x.tif")
    Pillow.fromarray(smooth(20, 30)).save("photos/x.jpg")
    return {path.name: path.read_bytes() for path in Path("photos").iterdir()}


@pytest.mark.parametrize("options", [{}, {"skip_existing": True}, {"overwrite": True}])
def test_a_master_beside_its_picture_is_not_taken_for_an_output(options, made):
    before = pair()
    for _ in range(2):
        reports = made("photos", out_dir=Path("photos"), **options)
        assert [(each.input, each.status, each.exit_code) for each in reports] == [
            ("photos/x.jpg", "failed", 4),
            ("photos/x.tif", "failed", 4),
        ]
        assert reports[0].error == "photos/x.tif: is also the input photos/x.tif; choose another --suffix or --out-dir"
        assert {path.name: path.read_bytes() for path in Path("photos").iterdir()} == before


def test_the_remedy_helps(made):
    before = pair()
    for status in ("done", "skipped"):
        reports = made("photos", out_dir=Path("photos"), suffix="-16.tif", skip_existing=True)
        assert [(each.output, each.exit_code) for each in reports] == [("photos/x-16.tif", 0), ("photos/x-16.tif", 2)]
        assert reports[0].status == status
    assert all(Path("photos", name).read_bytes() == data for name, data in before.items())


@pytest.mark.parametrize("link", [False, True])
def test_an_input_of_another_folder_is_not_written_to(link, made):
    image("a/x.png.tif", "b/x.tif")
    Path("a/x.png.tif").rename("a/x.tiff")
    before = Path("b/x.tif").read_bytes()
    if link:
        Path("out").mkdir()
        Path("out/x.tif").symlink_to("../b/x.tif")
    first, second = made("a", "b", out_dir=Path("out" if link else "b"), overwrite=True)
    assert (first.exit_code, "is also the input" in first.error) == (4, True)
    assert (second.exit_code, "is also the input" in second.error) == (4, True)
    assert Path("b/x.tif").read_bytes() == before


def test_what_a_run_has_made_is_an_output_and_no_input(made):
    Path("photos").mkdir()
    Pillow.fromarray(smooth(20, 30)).save("photos/x.jpg")
    for options in ({}, {"skip_existing": True}, {"overwrite": True}):
        [report] = made("photos", out_dir=Path("photos"), **options)
        assert (report.input, report.exit_code) == ("photos/x.jpg", 0)


# --- Every name has its output ---


def test_links_to_one_file_have_an_output_each(made):
    image("store/1.tif", "store/2.tif")
    links = {"in/a/blank.tif": "1", "in/b/blank.tif": "1", "in/b/page7.tif": "1", "in/b/page8.tif": "2"}
    for name, target in links.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).symlink_to(f"../../store/{target}.tif")
    Path("in/hard.tif").hardlink_to("store/1.tif")
    reports = made("in", recursive=True)
    assert {each.input: each.status for each in reports} == dict.fromkeys(["in/hard.tif", *links], "done")
    assert all(Path(each.output).is_file() and not Path(each.output).is_symlink() for each in reports)
    assert len({each.output for each in reports}) == 5


# --- What is no image ---


@pytest.mark.parametrize("missing", ["gone", "gone/", "gone/deeper", "gone.tif/", "in/gone"])
def test_a_folder_that_is_not_there_is_refused(missing):
    image("in/a.tif")
    with pytest.raises(OptionError, match=f"{missing}: there is no such file or folder"):
        found("in", missing)


def test_a_pipe_costs_only_itself(made):
    image("in/b.tif")
    os.mkfifo("in/a.tif")
    pipe, image_ = made("in")
    assert (pipe.status, pipe.exit_code, image_.status) == ("failed", 3, "done")
    assert pipe.error.startswith("in/a.tif: not a regular file")


def told(caplog, *inputs, **options):
    caplog.clear()
    with caplog.at_level("INFO", "streamgmm"):
        found(*inputs, **options)
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_a_folder_with_nothing_to_work_on_is_told_of(caplog):
    touch("in/notes.txt", "in/raw.cr3", "in/.hidden", "in/deep/a.tif", "in/.git/a.tif", "in/out/b.tif")
    assert told(caplog, "in/deep") == []
    [(level, text)] = told(caplog, "in", out="in/out")
    assert (level, text) == (
        "WARNING",
        "in: no image in it; passed over 2 files of no known suffix, 1 folder; take folders with --recursive",
    )
    Path("in/a.tif").touch()
    assert told(caplog, "in") == [("INFO", "in: passed over 2 files of no known suffix, 2 folders")]
    assert told(caplog, "in", recursive=True) == [("INFO", "in: passed over 2 files of no known suffix")]
    Path("in/link").symlink_to("../elsewhere")
    Path("elsewhere").mkdir()
    assert told(caplog, "in", recursive=True) == [("INFO", "in: passed over 2 files of no known suffix, 1 link to a folder")]
    touch("texts/a.txt")
    [(level, text)] = told(caplog, "texts")
    assert re.fullmatch(r"texts: no image in it; passed over 1 file of no known suffix; known are \.bif, .*\.webp", text)


def test_an_empty_folder_is_a_night_without_scans(caplog):
    Path("in").mkdir()
    assert told(caplog, "in") == []
    touch("in/.hidden.tif")
    assert told(caplog, "in") == []
