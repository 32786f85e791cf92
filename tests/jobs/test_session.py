"""What every job begins with: its output is locked and may be written, its images are open, and what was saved is at hand."""

import os
import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile

import streamgmm
from streamgmm.errors import ImageReadError, LockedError, NoPixelsError, OptionError, OutputError
from streamgmm.image.array import ArrayImage
from streamgmm.jobs import session as module
from streamgmm.jobs.clock import Clock, unseen
from streamgmm.jobs.passes.sums import Sum
from streamgmm.jobs.passes.tasks import Look
from streamgmm.jobs.resources import Resources
from streamgmm.jobs.session import open_job, open_session
from streamgmm.options import JobOptions, ReadOptions, ResourceOptions
from streamgmm.system.lock import locked

from ..images import smooth, write_tiff
from ..processes import in_child


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with two images of several blocks and a model, where small images have many."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("streamgmm.jobs.passes.blocks.BLOCK_PIXELS", 1 << 10)
    for seed, name in enumerate("ab"):
        write_tiff(tmp_path / f"{name}.tif", smooth(100, 120, seed=seed), tile=(32, 32), compression="deflate")
    (tmp_path / "model.json").write_text("{}", encoding="utf-8")
    return tmp_path


def job(*outputs, sources=("a.tif",), models=(), facts=(), **options):
    return open_job(
        sources, list(map(Path, outputs)), [], JobOptions(threads=1, **options), *facts, models=list(map(Path, models))
    )


def enter(*outputs, **options):
    with job(*outputs, **options) as session:
        return session


@contextmanager
def looking(*sources, **options):
    """A session that only reads."""
    resources = Resources.of(ResourceOptions(threads=2))
    with open_session(sources, ReadOptions(**options), resources, Clock()) as session:
        yield session


def names(folder):
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def begun(folder):
    """What is there before a job and must be there after it."""
    return names(folder)


# --- The output ---


def lock_of_the_output():
    with locked(Path("out.tif")):
        return "not locked"


def test_one_job_at_a_time_has_an_output(folder, begun):
    with job("out.tif"), pytest.raises(LockedError, match=r"out\.tif: host .* pid \d+ is writing it; wait for it with --wait"):
        in_child(lock_of_the_output)
    assert in_child(lock_of_the_output) == "not locked"
    assert names(folder) == begun


def test_a_lock_is_free_again_where_a_job_fails(folder, begun):
    with pytest.raises(ImageReadError, match=r"absent\.tif"):
        enter("out.tif", sources=["absent.tif"])
    assert lock_of_the_output() == "not locked"
    assert names(folder) == begun


@pytest.mark.parametrize("which", [0, 1, 2])
def test_an_output_that_exists_is_kept_unless_it_may_be_replaced(which, folder):
    outputs = ["out.tif", "palette.gpl", "sure.tif"]
    Path(outputs[which]).write_text("precious", encoding="utf-8")
    before = names(folder)
    with pytest.raises(OutputError, match=rf"{outputs[which]}: exists; use --overwrite to replace it"):
        enter(*outputs)
    assert names(folder) == before
    enter(*outputs, overwrite=True)
    assert Path(outputs[which]).read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("outputs", [["a.tif"], ["out.tif", "a.tif"], ["out.tif", "sure.tif", "./a.tif"], ["b.tif"]], ids=str)
def test_an_output_that_is_an_input_is_refused(outputs, overwrite, folder, begun):
    content = Path("a.tif").read_bytes()
    with pytest.raises(OutputError, match=r"[ab]\.tif: is also the input; choose another output"):
        enter(*outputs, sources=["a.tif", "b.tif"], overwrite=overwrite)
    assert (names(folder), Path("a.tif").read_bytes()) == (begun, content)


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_an_output_that_is_an_input_by_another_name_is_refused(link, folder):
    link("a.tif", "other.tif")
    with pytest.raises(OutputError, match=r"other\.tif: is also the input"):
        enter("other.tif", overwrite=True)


@pytest.mark.parametrize("outputs", [["model.json"], ["out.tif", "model.json"]], ids=str)
def test_a_model_is_not_overwritten_either(outputs, folder, begun):
    with pytest.raises(OutputError, match=r"model\.json: is also the input"):
        enter(*outputs, models=["model.json"], overwrite=True)
    assert names(folder) == begun


SAME = [["out.tif", "out.tif"], ["out.tif", "x.gpl", "./x.gpl"], ["out.tif", "deep/../out.tif"]]


@pytest.mark.parametrize("outputs", SAME, ids=str)
def test_two_outputs_of_one_name_are_refused(outputs, folder):
    (folder / "deep").mkdir()
    before = names(folder)
    with pytest.raises(OptionError, match=r"out\.tif: two outputs have one name; give each its own"):
        enter(*outputs, overwrite=True)
    assert names(folder) == before


def test_no_image_is_refused(folder):
    with pytest.raises(OptionError, match="no image to fit; name at least one"):
        enter("out.tif", sources=[])


# --- What was saved ---


def interrupted(*outputs, **options):
    """A job that is interrupted when it has saved something."""
    with pytest.raises(KeyboardInterrupt), job(*outputs, **options) as session:
        save_and_stop(session)


def save_and_stop(session):
    session.checkpoint.step("a").save({"done": 3})
    raise KeyboardInterrupt


def goes_on(*outputs, **options):
    """Whether a job finds what another has saved."""
    with job(*outputs, **options) as session:
        assert session.checkpoint.resumed == (session.checkpoint.step("a").load() is not None)
        return session.checkpoint.resumed


def test_the_same_job_goes_on_and_leaves_nothing(folder, begun):
    assert not goes_on("out.tif")
    interrupted("out.tif")
    assert names(folder) > begun
    assert goes_on("out.tif", chunk_size="1MiB", memory="1GiB", wait=1, strict=True)  # which change nothing of the result
    assert names(folder) == begun
    assert not goes_on("out.tif")


OTHERS = {
    "how it is read": {"nodata": 7},
    "a fact": {"facts": ["another"]},
    "another input": {"sources": ["b.tif"]},
    "more inputs": {"sources": ["a.tif", "b.tif"]},
    "from the beginning": {"resume": False},
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_job_begins_again_and_what_was_saved_goes(other, folder, begun):
    interrupted("out.tif")
    assert not goes_on("out.tif", **OTHERS[other])
    assert names(folder) == begun


@pytest.mark.parametrize("change", ["touched", "other pixels"])
def test_an_input_that_has_changed_is_another_job(change, folder):
    interrupted("out.tif")
    if change == "touched":
        os.utime("a.tif", ns=(10**18, 10**18))
    else:
        status = Path("a.tif").stat()
        data = bytearray(Path("a.tif").read_bytes())
        data[-1] ^= 1
        Path("a.tif").write_bytes(data)
        os.utime("a.tif", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert not goes_on("out.tif")


def test_a_job_that_fails_leaves_nothing(folder, begun):
    with pytest.raises(ZeroDivisionError), job("out.tif") as session:
        session.checkpoint.step("a").save({"done": 1 // (session is None)})
    assert names(folder) == begun


def test_a_job_that_goes_on_may_replace_what_it_has_written(folder):
    interrupted("out.tif", "sure.tif")
    Path("out.tif").write_bytes(b"II*\0...streamgmm 0.1.0\0, by the run before, which was killed before the other")
    assert goes_on("out.tif", "sure.tif")


@pytest.mark.parametrize("name", ["out.tif", "sure.tif"])
def test_a_job_that_goes_on_replaces_nothing_else(name, folder):
    interrupted("out.tif", "sure.tif")
    Path(name).write_text("streamgmm 0.1.0 made a nice picture of this", encoding="utf-8")
    with pytest.raises(OutputError, match=f"{name}: exists"):
        goes_on("out.tif", "sure.tif")
    assert Path(name).read_text(encoding="utf-8").endswith("of this")


def test_of_arrays_nothing_is_saved(folder, begun):
    with job("out.tif", sources=[smooth(30, 40)]) as session:
        assert (session.checkpoint.folder, session.name) == (None, "array")
        assert names(folder) == begun | {".streamgmm.out.tif.lock", ".streamgmm.out.tif.holder"}


# --- Passes ---


def test_a_pass_is_the_next_step_of_its_job_and_says_what_is_masked(folder, monkeypatch):
    monkeypatch.setattr("streamgmm.jobs.passes.checkpoint.INTERVAL", 0)
    monkeypatch.setattr("streamgmm.jobs.passes.checkpoint.SHARE", 0)
    with job("out.tif", sources=["a.tif", "b.tif"]) as session:
        looked = Sum()
        session.reduce(Look(), session.blocks, looked, unseen)
        session.reduce(Look(), session.blocks[:3], Sum(), unseen)
        assert sorted(path.name for path in session.checkpoint.folder.glob("*.npz")) == ["000001-Look.npz", "000002-Look.npz"]
        assert session.n_valid == looked.n_valid == {block.position: block.n_pixels for block in session.blocks}


@pytest.fixture
def reads(monkeypatch):
    """The windows that are read of arrays."""
    windows, read = [], ArrayImage.read
    monkeypatch.setattr(ArrayImage, "read", lambda self, window: windows.append(window) or read(self, window))
    return windows


def masked_at(*places):
    pixels = smooth(100, 120).astype(np.float32)
    for place in places:
        pixels[place] = np.nan
    return pixels


@pytest.mark.parametrize("places", [[], [(0, 0)], [(99, 119)], [(50, 60), (50, 61)]], ids=str)
def test_whether_any_pixel_is_masked_is_known_of_each_image(places, folder):
    with looking(masked_at(*places)) as session:
        assert session.masked() == bool(places)


@pytest.mark.parametrize("n_read", [0, 1, 5, "all"])
def test_only_blocks_that_no_pass_has_read_are_read_for_that(n_read, folder, reads):
    with looking(masked_at()) as session:
        blocks = session.blocks[:] if n_read == "all" else session.blocks[:n_read]
        session.reduce(Look(), blocks, Sum(), unseen)
        reads.clear()
        assert not session.masked()
        assert sorted(reads) == sorted(block.window for block in session.blocks[len(blocks) :])


def test_what_a_pass_has_found_masked_is_not_looked_for(folder, reads):
    with looking(masked_at((0, 0))) as session:
        session.reduce(Look(), session.blocks[:1], Sum(), unseen)
        reads.clear()
        assert session.masked()
        assert reads == []


def test_it_is_read_no_further_than_to_a_masked_pixel(folder, reads):
    with looking(masked_at((0, 0))) as session:
        assert session.masked()
        assert len(reads) < len(session.blocks)
        assert len(session.blocks) > 8


@pytest.mark.parametrize("sources", [[smooth(100, 120)], [smooth(100, 120), masked_at()[:, :, :3].astype(np.uint8)]], ids=len)
def test_what_cannot_be_masked_is_not_read_for_that(sources, folder, reads):
    with looking(*sources) as session:
        assert not session.masked()
        assert reads == []


def test_what_is_absent_in_a_sparse_file_is_masked(folder, reads):
    tiles = (np.full((64, 64), i, np.uint8) if i != 2 else None for i in range(4))
    options = {"shape": (128, 128), "dtype": np.uint8, "tile": (64, 64), "photometric": "minisblack", "metadata": None}
    tifffile.imwrite("sparse.tif", tiles, compression="deflate", **options)
    with looking("sparse.tif") as session:
        assert session.masked()


def test_an_image_that_is_all_masked_is_said_to_be(folder):
    with looking(np.full((4, 5), np.nan)) as session:
        error = session.nothing()
    assert isinstance(error, NoPixelsError)
    assert re.match("array: every pixel is masked .*; there is nothing to fit$", str(error))


def test_a_file_that_changes_while_it_is_open_is_noticed(folder):
    with looking("a.tif", "b.tif") as session:
        session.check_unchanged()
        os.utime("b.tif", ns=(10**18, 10**18))
        with pytest.raises(ImageReadError, match=r"b\.tif: changed"):
            session.check_unchanged()


def test_jobs_of_the_package_are_such_sessions(folder, monkeypatch):
    """A model that is applied is not overwritten, an output that exists is kept: the functions hand on what they are given."""
    mixture, _ = streamgmm.fit_image("a.tif", n_components=2, threads=1)
    for beside in ({"confidence": "model"}, {"palette_out": "model.json"}):
        [model] = beside.values()
        Path(model).write_text(mixture.to_json(), encoding="utf-8")
        with pytest.raises(OutputError, match=f"{model}: is also the input"):
            streamgmm.apply(model, "a.tif", "out.tif", overwrite=True, **beside)
        Path("link").symlink_to(model)
        with pytest.raises(OptionError, match="two outputs have one name"):
            streamgmm.quantize("a.tif", "link", overwrite=True, **beside)
        Path("link").unlink()
    monkeypatch.setattr(module, "resumable", None)  # is not asked
    streamgmm.quantize("a.tif", "out.tif", n_components=2, resume=False)
