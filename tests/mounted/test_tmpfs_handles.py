# SPDX-License-Identifier: MIT
"""Handles of files on tmpfs, as an NFS server uses them: good until the file is gone, whatever the kernel forgot."""

import errno
import os
import re
import signal
import stat
import time

import pytest

from conftest import needs_root
from harness import kernel
from harness.children import Child

pytestmark = needs_root


class Handles:
    """Opens files of a place on a mount by their handles."""

    def __init__(self, place):
        self.place = place
        self.mountpoint = place.mount.mountpoint
        self._root = os.open(self.mountpoint, os.O_RDONLY | os.O_DIRECTORY)
        self._opened = []

    def path(self, *names):
        return self.place.path(*names)

    def open(self, handle, flags=os.O_RDONLY):
        """A descriptor that is closed with this object."""
        self._opened.append(kernel.open_by_handle(self._root, handle, flags))
        return self._opened[-1]

    def forget(self):
        """The kernel forgets all names and inodes that are not in use."""
        kernel.drop_names(self.mountpoint)

    def is_gone(self, handle):
        try:
            os.close(kernel.open_by_handle(self._root, handle, os.O_PATH))
        except OSError as err:
            assert err.errno == errno.ESTALE
            return True
        return False

    def is_gone_soon(self, handle):
        """After the last close(2): the kernel has the inode until the program has heard of it."""
        deadline = time.monotonic() + 20
        while not self.is_gone(handle):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        return True

    def close_opened(self):
        while self._opened:
            os.close(self._opened.pop())

    def close(self):
        self.close_opened()
        os.close(self._root)


@pytest.fixture
def handles(tmpfs_many):
    made = Handles(tmpfs_many)
    yield made
    made.close()


def write(path, data=b""):
    with open(path, "wb") as file:
        file.write(data)


def test_the_kernel_forgets_names(new_mount, many):
    """What the other tests rest on: after it, a name is asked for again."""
    mount = new_mount("tmpfs", *many.options)
    path = os.path.join(mount.mountpoint, "f")
    asked = []

    def lookups():
        mount.send_signal(signal.SIGUSR1)
        asked.append(path)
        mount.wait_logged(r"(?s)(stats: end.*){%d}" % len(asked))
        return int(re.findall(r"stats: lookup count=(\d+)", mount.stderr())[-1])

    write(path)
    os.stat(path)
    before = lookups()
    os.stat(path)
    assert lookups() == before
    kernel.drop_names(mount.mountpoint)
    os.stat(path)
    assert lookups() > before


def test_a_handle_outlives_the_kernels_caches(handles):
    data = os.urandom(300_000)
    write(handles.path("file"), data)
    os.mkdir(handles.path("dir"))
    write(handles.path("dir", "inside"), b"inside")
    os.symlink("target", handles.path("link"))
    os.mkfifo(handles.path("fifo"))
    before = {name: os.lstat(handles.path(name)) for name in ("file", "dir", "link", "fifo")}
    made = {name: kernel.name_to_handle(handles.path(name)) for name in before}
    for _ in range(2):
        for name, handle in made.items():
            fd = handles.open(handle, os.O_PATH)
            st = os.fstat(fd)
            assert (st.st_ino, st.st_mode, st.st_size) == (
                before[name].st_ino,
                before[name].st_mode,
                before[name].st_size,
            )
        with open(handles.open(made["file"]), "rb", closefd=False) as file:
            assert file.read() == data
        assert os.readlink("", dir_fd=handles.open(made["link"], os.O_PATH)) == "target"
        directory = handles.open(made["dir"], os.O_RDONLY | os.O_DIRECTORY)
        assert os.listdir(directory) == ["inside"]
        handles.close_opened()
        handles.forget()
        assert {name: kernel.name_to_handle(handles.path(name)) for name in before} == made


def test_a_file_is_written_by_its_handle(handles):
    write(handles.path("f"), b"0123456789")
    handle = kernel.name_to_handle(handles.path("f"))
    handles.forget()
    fd = handles.open(handle, os.O_RDWR)
    assert os.pwrite(fd, b"by handle", 5) == 9
    os.ftruncate(fd, 12)
    handles.close_opened()
    handles.forget()
    fd = handles.open(handle, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b" end")
    with open(handles.path("f"), "rb") as file:
        assert file.read() == b"01234by hand end"


def test_a_handle_follows_the_file(handles):
    write(handles.path("f"), b"content")
    os.mkdir(handles.path("d"))
    handle = kernel.name_to_handle(handles.path("f"))

    def content():
        handles.forget()
        return os.pread(handles.open(handle), 100, 0)

    os.rename(handles.path("f"), handles.path("d", "g"))
    assert content() == b"content"
    assert kernel.name_to_handle(handles.path("d", "g"))[8:16] == handle[8:16]
    write(handles.path("f"), b"another")
    assert content() == b"content"
    os.link(handles.path("d", "g"), handles.path("h"))
    os.unlink(handles.path("d", "g"))
    assert content() == b"content"
    handles.close_opened()
    os.rename(handles.path("f"), handles.path("h"))
    assert handles.is_gone_soon(handle)


@pytest.mark.parametrize("how", ["unlink", "rename over it"])
def test_a_removed_file_in_use_has_its_handle_until_the_last_close(handles, how):
    write(handles.path("f"), b"content")
    write(handles.path("g"), b"other")
    handle = kernel.name_to_handle(handles.path("f"))
    fd = os.open(handles.path("f"), os.O_RDWR)
    if how == "unlink":
        os.unlink(handles.path("f"))
    else:
        os.rename(handles.path("g"), handles.path("f"))
    handles.forget()
    assert os.pread(handles.open(handle), 100, 0) == b"content"
    os.pwrite(fd, b"written", 0)
    again = handles.open(handle, os.O_RDWR)
    os.close(fd)
    assert os.pread(again, 100, 0) == b"written"
    assert os.fstat(again).st_nlink == 0
    handles.close_opened()
    assert handles.is_gone_soon(handle)


def test_a_removed_file_is_gone_at_once(handles):
    """The kernel forgets it in its own time, and may ask for the handle before it says so."""
    makers = {
        "f": lambda path: write(path, b"content"),
        "s": lambda path: os.symlink("target", path),
        "p": os.mkfifo,
        "d": os.mkdir,
    }
    for number in range(100):
        for kind, make in makers.items():
            path = handles.path(f"{kind}{number}")
            make(path)
            handle = kernel.name_to_handle(path)
            if number % 2:
                handles.forget()
            assert not handles.is_gone(handle)
            (os.rmdir if kind == "d" else os.unlink)(path)
            assert handles.is_gone(handle)
            make(path)
            assert handles.is_gone(handle)


def test_a_handle_of_an_earlier_mount_is_none_of_this(new_mount, many):
    """The numbers of its files are the same."""
    old = {}
    for number in range(3):
        mount = new_mount("tmpfs", *many.options)
        paths = [os.path.join(mount.mountpoint, name) for name in ("f", "d", "d/g")]
        write(paths[0], b"%d" % number)
        os.mkdir(paths[1])
        write(paths[2], b"x")
        root = os.open(mount.mountpoint, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for forget in (False, True):
                if forget:
                    kernel.drop_names(mount.mountpoint)
                for handle in old.values():
                    with pytest.raises(OSError) as refused:
                        kernel.open_by_handle(root, handle, os.O_PATH)
                    assert refused.value.errno == errno.ESTALE
            new = {path: kernel.name_to_handle(path) for path in paths}
            fd = kernel.open_by_handle(root, new[paths[0]], os.O_RDONLY)
            assert os.read(fd, 10) == b"%d" % number
            os.close(fd)
        finally:
            os.close(root)
        mount.stop()
        old = new


# --- Directories ------------------------------------------------------------------------------


def test_a_directory_finds_its_way_up(handles):
    os.makedirs(handles.path("a/b/c/d"))
    handle = kernel.name_to_handle(handles.path("a/b/c/d"))
    inodes = [os.stat(handles.path(below)).st_ino for below in ("a/b/c", "a/b", "a", ".")]
    handles.forget()
    fd = handles.open(handle, os.O_RDONLY | os.O_DIRECTORY)
    assert os.readlink(f"/proc/self/fd/{fd}") == handles.path("a/b/c/d")
    assert [os.stat("/".join([".."] * up), dir_fd=fd).st_ino for up in (1, 2, 3, 4)] == inodes
    up = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
    assert os.listdir(up) == ["d"]
    os.close(up)
    handles.close_opened()
    # Moved meanwhile.
    os.mkdir(handles.path("x"))
    os.rename(handles.path("a/b"), handles.path("x/y"))
    handles.forget()
    fd = handles.open(handle, os.O_RDONLY | os.O_DIRECTORY)
    assert os.readlink(f"/proc/self/fd/{fd}") == handles.path("x/y/c/d")
    assert os.stat("../../..", dir_fd=fd).st_ino == os.stat(handles.path("x")).st_ino


def test_a_directory_among_many_is_found(handles):
    """The kernel looks for its name in its parent's listing."""
    for number in range(500):
        os.mkdir(handles.path(f"d{number}"))
    made = [kernel.name_to_handle(handles.path(f"d{number}")) for number in (0, 123, 499)]
    handles.forget()
    for number, handle in zip((0, 123, 499), made):
        fd = handles.open(handle, os.O_RDONLY | os.O_DIRECTORY)
        assert os.readlink(f"/proc/self/fd/{fd}") == handles.path(f"d{number}")


def test_files_are_made_in_a_directory_by_its_handle(handles):
    os.makedirs(handles.path("a/b"))
    handle = kernel.name_to_handle(handles.path("a/b"))
    handles.forget()
    fd = handles.open(handle, os.O_RDONLY | os.O_DIRECTORY)
    os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.mkdir("sub", dir_fd=fd)
    os.rename("new", "../moved", src_dir_fd=fd, dst_dir_fd=fd)
    assert sorted(os.listdir(handles.path("a"))) == ["b", "moved"]
    assert os.listdir(handles.path("a/b")) == ["sub"]


def test_a_removed_directory_in_use_has_its_handle(handles):
    os.makedirs(handles.path("a/b"))
    handle = kernel.name_to_handle(handles.path("a/b"))

    def stay(link):
        os.chdir(handles.path("a/b"))
        os.rmdir(handles.path("a/b"))
        link.tell("there")
        link.hear()

    with Child(stay) as child:
        child.link.hear()
        handles.forget()
        fd = handles.open(handle, os.O_PATH)
        assert stat.S_ISDIR(os.fstat(fd).st_mode)
        handles.close_opened()
        child.link.tell("go")
        child.result()
    assert handles.is_gone_soon(handle)
