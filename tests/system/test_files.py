"""A file appears whole or not at all, and one that must not be written is refused before any work is done."""

import errno
import os
import socket
import stat
import struct
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from streamgmm.errors import ImageReadError, OutputError
from streamgmm.system.files import (
    ACL,
    appearing,
    beside,
    check_output,
    is_stream,
    open_input,
    output_errors,
    read_text,
    replacing,
    size_of,
    write_text,
)

from ..images import file_name
from ..processes import NOBODY, in_child


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
    with replacing(path, beside(path, "part")) as part:
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


# --- Rights ---


@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o444, 0o755])
def test_a_file_that_is_replaced_keeps_its_mode(mode, umask, tmp_path):
    path = tmp_path / "out.tif"
    path.write_bytes(b"old")
    path.chmod(mode)
    assert in_child(partial(os.umask, umask), partial(write_new, path), partial(os.umask, 0)) == umask
    assert (stat.S_IMODE(path.stat().st_mode), path.read_bytes()) == (mode, b"new")


def test_nobody_else_reads_what_will_replace_a_private_file(tmp_path):
    path = tmp_path / "out.tif"
    path.write_bytes(b"old")
    path.chmod(0o600)
    with replacing(path) as part:
        assert stat.S_IMODE(part.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_is_replaced_keeps_its_owner(tmp_path):
    path = tmp_path / "out.tif"
    path.write_bytes(b"old")
    os.chown(path, NOBODY, NOBODY)
    write_new(path)
    assert (path.stat().st_uid, path.stat().st_gid, path.read_bytes()) == (NOBODY, NOBODY, b"new")


def access_list(*entries):
    """An access control list as Linux stores it: tags, rights and ids."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ANYONE = 0xFFFFFFFF
# Of the owner, of one more user, of the group, the mask, of others.
SHARED = access_list((1, 6, ANYONE), (2, 6, 4711), (4, 4, ANYONE), (16, 6, ANYONE), (32, 0, ANYONE))


def set_list(path, name, value):
    try:
        os.setxattr(path, f"system.posix_acl_{name}", value)
    except OSError as error:
        pytest.skip(f"no access control lists here ({error.strerror})")


def test_a_new_file_has_the_rights_that_its_folder_grants(tmp_path):
    set_list(tmp_path, "default", SHARED)
    write_new(tmp_path / "out.tif")
    (tmp_path / "plain").write_bytes(b"")  # as open() makes files here
    granted = [os.getxattr(tmp_path / name, ACL) for name in ("out.tif", "plain")]
    assert granted[0] == granted[1]
    assert struct.pack("<HHI", 2, 6, 4711) in granted[0]


def test_a_file_that_is_replaced_keeps_its_access_control_list(tmp_path):
    set_list(tmp_path, "default", access_list((1, 7, ANYONE), (4, 7, ANYONE), (16, 7, ANYONE), (32, 7, ANYONE)))
    for name, own in (("a.tif", SHARED), ("b.tif", None)):
        (tmp_path / name).write_bytes(b"old")
        if own:
            set_list(tmp_path / name, "access", own)
        else:
            os.removexattr(tmp_path / name, ACL)
            (tmp_path / name).chmod(0o600)
        write_new(tmp_path / name)
    assert os.getxattr(tmp_path / "a.tif", ACL) == SHARED
    assert ACL not in os.listxattr(tmp_path / "b.tif")
    assert stat.S_IMODE((tmp_path / "b.tif").stat().st_mode) == 0o600


# --- Links, pipes, devices, descriptors ---


@pytest.mark.parametrize("there", [True, False])
def test_what_a_link_leads_to_is_replaced_and_the_link_stays(there, tmp_path):
    (tmp_path / "store").mkdir()
    target, link = tmp_path / "store" / "1.tif", tmp_path / "out.tif"
    if there:
        target.write_bytes(b"old")
        target.chmod(0o640)
    link.symlink_to("store/1.tif")
    check_output(link, [], overwrite=True)
    with replacing(link) as part:
        part.write_bytes(b"new")
        assert part.parent == target.parent
    assert os.readlink(link) == "store/1.tif"  # noqa: PTH115
    assert target.read_bytes() == b"new"
    assert not there or stat.S_IMODE(target.stat().st_mode) == 0o640
    assert list(target.parent.iterdir()) == [target]


def test_a_link_is_written_as_what_it_leads_to(tmp_path):
    (tmp_path / "1.tif").write_bytes(b"in")
    (tmp_path / "out.tif").symlink_to("1.tif")
    with pytest.raises(OutputError, match="exists; use --overwrite"):
        check_output(tmp_path / "out.tif", [], overwrite=False)
    with pytest.raises(OutputError, match="is also the input"):
        check_output(tmp_path / "out.tif", [tmp_path / "1.tif"], overwrite=True)
    assert beside(tmp_path / "out.tif", "lock") == tmp_path / ".streamgmm.1.tif.lock"


@pytest.fixture
def terminal():
    """A character device: our end of it, and its name."""
    ours, theirs = os.openpty()
    yield ours, Path(os.ttyname(theirs))
    os.close(ours)
    os.close(theirs)


def fifo(folder):
    os.mkfifo(folder / "pipe")
    return folder / "pipe"


def test_a_text_is_written_into_a_device(terminal):
    ours, path = terminal
    assert is_stream(path)
    check_output(path, [], overwrite=False, stream=True)
    write_text(path, "a text")
    assert os.read(ours, 100) == b"a text"
    assert stat.S_ISCHR(path.stat().st_mode)


def test_a_text_is_written_into_a_pipe_and_its_reader_gets_it(tmp_path):
    path = fifo(tmp_path)
    reader = subprocess.Popen(["cat", path], stdout=subprocess.PIPE)
    write_text(path, "a text")
    assert reader.communicate(timeout=30)[0] == b"a text"
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert list(tmp_path.iterdir()) == [path]


# What stands before and behind it in the file that standard output is stays, too.
INTO_A_DESCRIPTOR = """
import os, sys
from pathlib import Path
from streamgmm.system.files import check_output, write_text

os.write(1, b"before, ")
for name in sys.argv[1:]:
    check_output(Path(name), [], overwrite=False, stream=True)
    write_text(Path(name), "a text, ")
os.write(1, b"after")
"""


@pytest.mark.parametrize("place", ["a file", "the end of a file", "a pipe"])
def test_a_text_is_written_into_a_descriptor_as_one_writes_there_oneself(place, tmp_path):
    (tmp_path / "link").symlink_to("/proc/self/fd/1")
    names = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", str(tmp_path / "link")]
    command = [sys.executable, "-c", INTO_A_DESCRIPTOR, *names]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    (tmp_path / "out").write_text("old, ", encoding="utf-8")
    if place == "a pipe":
        told = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=environment).stdout.decode()
    else:
        with open(tmp_path / "out", "w" if place == "a file" else "a", encoding="utf-8") as file:
            subprocess.run(command, stdout=file, check=True, env=environment)
        told = (tmp_path / "out").read_text(encoding="utf-8")
    assert told == ("old, " if place == "the end of a file" else "") + "before, " + 4 * "a text, " + "after"
    assert (tmp_path / "link").is_symlink()


def test_an_image_is_not_written_into_what_is_no_file(tmp_path, terminal):
    for path in (terminal[1], fifo(tmp_path), Path("/dev/stdout"), Path("/dev/fd/1")):
        with pytest.raises(OutputError, match="not a regular file but a pipe or device"):
            check_output(path, [], overwrite=True)
    with pytest.raises(OutputError, match="standard output cannot be had here; name a file"):
        check_output(Path("-"), [], overwrite=True)


@pytest.mark.parametrize("stream", [True, False])
def test_nothing_is_written_into_a_socket(stream, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        with pytest.raises(OutputError, match="socket: not a regular file but a socket or disk; name another"):
            check_output(Path("socket"), [], overwrite=True, stream=stream)


def test_a_descriptor_that_is_not_open_is_an_error_of_the_output():
    with pytest.raises(OutputError, match="/dev/fd/987: cannot be written"):
        write_text(Path("/dev/fd/987"), "a text")


@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_what_is_no_file_is_not_read(kind, tmp_path, monkeypatch, terminal):
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        path = {"pipe": fifo(tmp_path), "device": terminal[1], "socket": Path("socket")}[kind]
        for read in (open_input, read_text):
            with pytest.raises(ImageReadError, match="not a regular file"):
                read(path)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ImageReadError, match="gone: no such file or directory"):
        open_input(tmp_path / "gone")
    with pytest.raises(ImageReadError, match="is a directory"):
        open_input(tmp_path)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_text_may_begin_with_a_byte_order_mark(mark, tmp_path):
    (tmp_path / "text").write_bytes(mark + "ü".encode())
    assert read_text(tmp_path / "text") == "ü"


def write_and_fail(path):
    with appearing(path) as write:
        write("a text")
        raise ValueError("stop")


def test_a_text_appears_with_what_is_written_in_the_block(tmp_path):
    path = tmp_path / "palette.txt"
    with appearing(path) as write:
        write("new")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "new"
    with pytest.raises(ValueError, match="stop"):
        write_and_fail(path)
    assert path.read_text(encoding="utf-8") == "new"


def test_a_pipe_is_not_written_where_the_block_fails(tmp_path, terminal):
    with pytest.raises(ValueError, match="stop"):
        write_and_fail(terminal[1])
    os.set_blocking(terminal[0], False)
    with pytest.raises(BlockingIOError):
        os.read(terminal[0], 100)


def test_the_size_of_a_file_is_known_while_it_is_there(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    assert (size_of(tmp_path / "file"), size_of(tmp_path / "gone")) == (5, None)
