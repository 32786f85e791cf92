"""A file appears whole or not at all, and one that must not be written is refused before any work is done."""

import errno
import os
import stat
import threading
from functools import partial
from pathlib import Path

import pytest

from streamgmm.errors import ImageReadError, OutputError
from streamgmm.system.files import beside, check_output, output_errors, replacing

from ..images import file_name
from ..processes import in_child


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "out.tif"
    with replacing(path) as part:
        part.write_bytes(b"new")
        assert not path.exists()
        assert part.parent == path.parent
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def replace_and_fail(path, error):
    with replacing(path) as part:
        part.write_bytes(b"half")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, MemoryError])
def test_what_fails_leaves_nothing(error, tmp_path):
    with pytest.raises(error):
        replace_and_fail(tmp_path / "out.tif", error)
    assert not list(tmp_path.iterdir())


def test_what_fails_keeps_the_file_that_was_there(tmp_path):
    path = tmp_path / "out.tif"
    path.write_bytes(b"old")
    with pytest.raises(ValueError, match="stop"):
        replace_and_fail(path, ValueError("stop"))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_succeeds_replaces_the_file_that_was_there(tmp_path):
    path = tmp_path / "out.tif"
    path.write_bytes(b"old")
    with replacing(path) as part:
        part.write_bytes(b"new")
    assert path.read_bytes() == b"new"


def test_what_the_system_says_names_the_output(tmp_path):
    message = r"out\.tif: cannot be written \(no space left on device\); nothing was left there"
    with pytest.raises(OutputError, match=message):
        replace_and_fail(tmp_path / "out.tif", OSError(28, "No space left on device"))
    assert not list(tmp_path.iterdir())


def test_errors_of_our_own_pass_through(tmp_path):
    with pytest.raises(ImageReadError, match="tile 3"):
        replace_and_fail(tmp_path / "out.tif", ImageReadError("tile 3"))


def test_a_missing_folder_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"), replacing(tmp_path / "absent" / "out.tif"):
        pass


def write_new(path):
    with replacing(path) as part:
        part.write_bytes(b"new")


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077, 0o002])
def test_the_mode_of_a_file_follows_the_umask(umask, tmp_path):
    path = tmp_path / "out.tif"
    assert in_child(partial(os.umask, umask), partial(write_new, path), partial(os.umask, 0)) == umask
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def write_in_threads(folder, n_threads=4, n_files=40):
    """Write files of many names, and over files that are there, from some threads at once."""
    begin = threading.Barrier(n_threads)

    def write_many(thread):
        begin.wait()
        for number in range(n_files):
            write_new(folder / f"{thread}-{number % (n_files // 2)}")

    threads = [threading.Thread(target=write_many, args=(thread,)) for thread in range(n_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_threads_that_write_files_at_once_leave_the_umask_as_it_was(umask, tmp_path):
    assert in_child(partial(os.umask, umask), partial(write_in_threads, tmp_path), partial(os.umask, 0)) == umask
    written = list(tmp_path.iterdir())
    assert len(written) == 4 * 20
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o666 & ~umask}
    assert {path.read_bytes() for path in written} == {b"new"}


def test_a_file_that_a_killed_run_has_left_is_not_gone_on_with(tmp_path):
    path = tmp_path / "out.tif"
    beside(path, "part").write_bytes(b"half of another file")
    with replacing(path) as part:
        assert part == beside(path, "part")
        assert part.read_bytes() == b""
        part.write_bytes(b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_renamed_is_on_the_disk_before_and_its_folder_after(tmp_path, monkeypatch):
    path, calls, replace = tmp_path / "out.tif", [], os.replace

    def sync(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

    def replaced(source, target):
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replaced)
    write_new(path)
    assert calls == ["file", "rename", "folder"]


def test_a_folder_that_cannot_be_synced_does_not_undo_the_file(tmp_path, monkeypatch):
    sync = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_new(tmp_path / "out.tif")
    assert (tmp_path / "out.tif").read_bytes() == b"new"


# --- Names beside an output ---


def test_the_name_beside_an_output_is_hidden_and_the_same_each_time():
    assert beside(Path("there/out.tif"), "part") == beside(Path("there/out.tif"), "part")
    assert beside(Path("there/out.tif"), "part") == Path("there/.streamgmm.out.tif.part")


@pytest.mark.parametrize("name", ["x" * 255, file_name("日" * 85), file_name("é" * 127)])
def test_no_name_beside_an_output_is_longer_than_names_may_be(name, tmp_path):
    for kind in ("part", "lock", "work"):
        path = beside(tmp_path / name, kind)
        assert path.parent == tmp_path
        assert len(os.fsencode(path.name)) <= 255


def test_outputs_of_one_name_have_different_names_in_another_folder(tmp_path):
    names = {beside(Path(folder, "out.tif"), "work", tmp_path) for folder in ("a", "b", "a/../a")}
    assert len(names) == 2
    assert {path.parent for path in names} == {tmp_path}


def test_an_error_without_words_of_the_system_has_its_own():
    with pytest.raises(OutputError, match=r"out: cannot be written \(odd\)"), output_errors(Path("out")):
        raise OSError("Odd")


# The longest names a file system takes are 255 bytes; what stands beside the output for a while must fit too.
@pytest.mark.parametrize(
    "name",
    ["x" * 251 + ".tif", file_name("日" * 83 + ".tif"), file_name("é" * 120 + ".tif"), "-out.tif", " .tif", "a b.tif", ".tif"],
)
def test_any_name_can_be_written(name, tmp_path):
    with replacing(tmp_path / name) as part:
        part.write_bytes(b"new")
    assert (tmp_path / name).read_bytes() == b"new"


# --- What is refused before the work ---


def test_an_output_that_may_be_written_is_accepted(tmp_path):
    (tmp_path / "in.tif").write_bytes(b"in")
    (tmp_path / "old.tif").write_bytes(b"old")
    check_output(tmp_path / "new.tif", [tmp_path / "in.tif"], overwrite=False)
    check_output(tmp_path / "old.tif", [tmp_path / "in.tif", tmp_path / "absent.tif"], overwrite=True)
    assert (tmp_path / "old.tif").read_bytes() == b"old"


@pytest.mark.parametrize("link", ["none", "symlink", "hard link", "dots"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_is_the_input_is_refused(overwrite, link, tmp_path):
    source, output = tmp_path / "in.tif", tmp_path / "out.tif"
    source.write_bytes(b"in")
    if link == "symlink":
        output.symlink_to(source)
    elif link == "hard link":
        output.hardlink_to(source)
    else:
        output = source if link == "none" else tmp_path / ".." / tmp_path.name / "in.tif"
    with pytest.raises(OutputError, match="is also the input; choose another output"):
        check_output(output, [source], overwrite)


def test_an_output_that_exists_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "out.tif").write_bytes(b"old")
    with pytest.raises(OutputError, match=r"out\.tif: exists; use --overwrite to replace it"):
        check_output(tmp_path / "out.tif", [], overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_that_is_a_folder_is_refused(overwrite, tmp_path):
    with pytest.raises(OutputError, match="is a folder; name a file in it"):
        check_output(tmp_path, [], overwrite)


@pytest.mark.parametrize("folder", ["absent", "absent/deeper", "file"])
def test_an_output_without_a_folder_is_refused(folder, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"out\.tif: there is no folder .*; create it first"):
        check_output(tmp_path / folder / "out.tif", [], overwrite=False)


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="is read-only; choose another or change its permissions"):
        check_output(tmp_path / "out.tif", [], overwrite=False)


def test_a_name_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(OutputError, match=r"x\.tif: "):
        check_output(tmp_path / ("x" * 300 + ".tif"), [], overwrite=False)
