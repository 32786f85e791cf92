"""Which files a batch reads, and which it writes."""

import json
import os
import shutil
from pathlib import Path

import pytest
import tifffile

from streamgmm.cli import main
from streamgmm.jobs.batch.inputs import find
from streamgmm.jobs.batch.run import run as batch

from .images import file_name, smooth, write_tiff


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(monkeypatch):
    """The command, its work done in this process: returns the exit code and the report."""

    def run(*arguments):
        with pytest.raises(SystemExit) as left:
            main(["batch", "--report", "run.jsonl", "-k", "2", *arguments])
        return left.value.code, [json.loads(line) for line in Path("run.jsonl").read_text(encoding="utf-8").splitlines()]

    monkeypatch.setattr(batch, "in_processes", lambda function, tasks, size: ((task, function(task)) for task in tasks))
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
    items = find(inputs, Path(out), suffix, recursive)
    return {str(item.source): str(item.target) for item in items if item.complaint is None}


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


def test_recursive_writes_the_tree(command):
    image("in/1/deep/a.tif", "in/2/a.tif")
    code, lines = command("in", "--out-dir", "new/out", "--recursive", "--suffix", "-2.tif")
    assert (code, [line["output"] for line in lines]) == (0, ["new/out/1/deep/a-2.tif", "new/out/2/a-2.tif"])
    assert all(tifffile.imread(line["output"]).shape == (20, 30) for line in lines)


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


def test_nothing_to_do_is_no_error(command, capsys):
    Path("in").mkdir()
    assert command("in", "--out-dir", "out") == (0, [])
    assert command("in/*.tif", "--out-dir", "out") == (0, [])
    assert capsys.readouterr() == ("", "")


def test_a_folder_that_cannot_be_listed_is_not_passed_over(command, monkeypatch):
    image("in/a.tif", "in/closed/b.tif")
    listed = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    code, lines = command("in", "--out-dir", "out", "--recursive")
    assert code == 1
    assert [(line["status"], line["exit_code"]) for line in lines] == [("done", 0), ("failed", 3)]
    assert "closed" in lines[1]["error"]


# --- One input, one output ---


def test_an_input_that_is_named_twice_is_taken_once():
    touch("in/a.tif", "in/b.tif")
    Path("alias").symlink_to("in")
    assert found("in/a.tif", "in", "./in/../in/b.tif", "alias") == {"in/a.tif": "out/a.tif", "in/b.tif": "out/b.tif"}


def test_inputs_that_would_have_one_output():
    touch("in/a.png", "in/a.tif", "in/b.tif", "other/b.tif")
    items = find(["in", "other"], Path("out"), ".tif", False)
    complaints = [item.complaint for item in items]
    assert [str(item.source) for item in items] == ["in/a.png", "in/a.tif", "in/b.tif", "other/b.tif"]
    assert complaints == [
        None,
        "in/a.tif: its output out/a.tif is that of in/a.png; rename one of them",
        None,
        "other/b.tif: its output out/b.tif is that of in/b.tif; rename one of them",
    ]


def test_a_collision_costs_only_the_second_of_both(command):
    image("in/a.tif", "in/a.tiff", "in/b.tif")  # also where both are the same image
    for more in ([], ["--skip-existing"]):
        code, lines = command("in", "--out-dir", "out", *more)
        failed = [(line["input"], line["exit_code"]) for line in lines if line["status"] == "failed"]
        assert (code, failed) == (1, [("in/a.tiff", 2)])
        assert {line["status"] for line in lines} == {"failed", "skipped" if more else "done"}


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


def test_an_input_is_never_its_own_output(command):
    image("in/a.tif", "in/b.tif", "in/c.tif")
    before = Path("in/a.tif").read_bytes()
    Path("out").mkdir()
    Path("out/b.tif").symlink_to("../in/b.tif")
    os.link("in/c.tif", "out/c.tif")
    for out in ("in", "out"):
        code, lines = command("in", "--out-dir", out, "--overwrite")
        assert code == 1
        refused = [line["input"] for line in lines if line["exit_code"] == 4 and "is also the input" in line["error"]]
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
def test_any_name(how, command, monkeypatch):
    image(*(f"in/{name}" for name in NAMES))
    monkeypatch.chdir("in")
    inputs = NAMES if how == "names" else ["."]
    code, lines = command("--out-dir", "../out", "--", *inputs)
    assert (code, {line["input"] for line in lines}) == (0, set(NAMES))
    assert {line["output"] for line in lines} == {f"../out/{name}" for name in NAMES}
    assert {path.name for path in Path("../out").iterdir()} == set(NAMES)
    code, lines = command("--out-dir", "../out", "--skip-existing", "--", *inputs)
    assert (code, {line["status"] for line in lines}) == (0, {"skipped"})


def test_a_name_that_is_an_option_is_a_file_behind_two_dashes(command):
    image("-v", "--overwrite.tif")
    code, lines = command("--out-dir", "out", "--", "-v", "--overwrite.tif")
    assert (code, [line["output"] for line in lines]) == (0, ["out/-v.tif", "out/--overwrite.tif"])


def test_an_output_whose_name_is_too_long_costs_only_itself(command):
    image("in/" + "x" * 251 + ".tif", "in/z.tif")
    code, lines = command("in", "--out-dir", "out", "--suffix", "-palette.tif")
    assert (code, [line["exit_code"] for line in lines]) == (1, [4, 0])
    assert "file name too long" in lines[0]["error"]


def test_links_to_files_are_followed(command):
    image("store/a.tif")
    Path("in").mkdir()
    Path("in/link.tif").symlink_to("../store/a.tif")
    assert found("in") == {"in/link.tif": "out/link.tif"}
    code, _ = command("in", "--out-dir", "out")
    assert code == 0
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
def test_a_link_to_nowhere_costs_only_itself(target, command):
    image("in/a.tif")
    Path("in/self.tif").symlink_to(target)
    code, lines = command("in", "--out-dir", "out")
    assert (code, [(line["input"], line["exit_code"]) for line in lines]) == (1, [("in/a.tif", 0), ("in/self.tif", 3)])


def test_a_folder_may_be_named_from_anywhere(command, folder, monkeypatch):
    image("in/a.tif")
    code, lines = command(str(folder / "in"), "--out-dir", str(folder / "out"))
    assert (code, lines[0]["output"]) == (0, str(folder / "out" / "a.tif"))
    shutil.rmtree("out")
    monkeypatch.chdir("in")
    code, lines = command("..//in/./a.tif", "--out-dir", "../out")
    assert (code, lines[0]["output"]) == (0, "../out/a.tif")


def test_a_missing_file_is_named(command):
    code, lines = command("gone.tif", "--out-dir", "out")
    assert (code, lines[0]["exit_code"]) == (1, 3)
    assert lines[0]["error"].startswith("gone.tif: ")
