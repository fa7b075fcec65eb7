# SPDX-License-Identifier: MIT
"""What inotify(7) tells about files is what it tells about those on the kernel's own file systems."""

import mmap
import os

from conftest import needs_root
from harness import kernel
from harness.script import like_the_kernels_own_once

pytestmark = needs_root


class Watched:
    """Calls, and records which events of @paths come of it."""

    def __init__(self, t, *paths):
        self.t = t
        self._events = kernel.Events()
        self._events.add(*paths)

    def __call__(self, call, *args, last=None):
        """@last: an event that may come late, as the kernel's file lives until the program has heard of the close."""
        self.t(call, *args)
        self.told(last)

    def told(self, last=None):
        seen = self._events.read(last)
        self.t.note("events", seen)
        return seen

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._events.__exit__()


def write_and_close(path, flags, data):
    fd = os.open(path, flags | os.O_WRONLY, 0o644)
    os.write(fd, data)
    os.close(fd)


def read_and_close(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


@like_the_kernels_own_once
def test_bytes_and_attributes(t):
    t(os.mkdir, "d")
    t.write("source", b"source")
    with Watched(t, "d") as directory:
        directory(write_and_close, "d/f", os.O_CREAT, b"content")
        with Watched(t, "d/f") as file:
            for do in (directory, file):
                do(read_and_close, "d/f")
                do(write_and_close, "d/f", 0, b"more")
                do(write_and_close, "d/f", os.O_APPEND, b"more")
                do(write_and_close, "d/f", os.O_TRUNC, b"less")
                do(os.truncate, "d/f", 100)
                do(os.chmod, "d/f", 0o600)
                do(os.chown, "d/f", 1, 2)
                do(os.utime, "d/f")
                do(os.setxattr, "d/f", "user.a", b"x")
                do(os.removexattr, "d/f", "user.a")
                do(os.listdir, "d")
                do(os.path.getsize, "d/f")
                do(os.access, "d/f", os.R_OK)
            fd = t.open("d/f", os.O_RDWR)
            source = t.open("source")
            file.told()
            file(os.ftruncate, fd, 50)
            file(kernel.fallocate, fd, 0, 0, 100)
            file(os.copy_file_range, source, fd, 3)
            file(os.sendfile, fd, source, 0, 3)
            file(os.pread, fd, 10, 0)
            file(os.preadv, fd, [bytearray(5)], 0)
            file(os.fsync, fd)
            with mmap.mmap(fd, 100) as mapped:
                mapped[0:3] = b"map"
                file(mapped.flush)
            directory.told()
            t.close(source)
            directory(os.close, fd)
            assert ("d/f", "CLOSE_WRITE", "") in file.told()


@like_the_kernels_own_once
def test_names_come_and_go(t):
    for path in ("d", "e", "d/sub"):
        t(os.mkdir, path)
    # The name by which events of a file without one are told is each file system's own affair.
    nameless = t.open("d", os.O_TMPFILE | os.O_RDWR)
    with Watched(t, "d", "e") as do:
        do(os.mkdir, "d/dir")
        do(os.symlink, "x", "d/link")
        do(os.mkfifo, "d/fifo")
        do(os.mknod, "d/node")
        do(os.link, "d/node", "e/node")
        do(os.rename, "d/node", "d/named")
        do(os.rename, "d/named", "e/named")
        do(os.rename, "d/dir", "e/dir")
        do(os.rename, "e/named", "d/link")
        do(os.rename, "e/node", "d/link")
        do(kernel.renameat2, "e/dir", "d/link", kernel.RENAME_EXCHANGE)
        do(kernel.renameat2, "d/fifo", "e/fifo", kernel.RENAME_WHITEOUT)
        do(os.rmdir, "d/sub")
        do(os.unlink, "e/fifo")
        for refused, *args in ((os.mkdir, "d/link"), (os.unlink, "d/none"), (os.rename, "d/none", "d/new")):
            do(refused, *args)
            assert do.told() == []
        do(kernel.link_fd, nameless, "e/linked")
        t.ls("d")
        t.ls("e")
    t.close(nameless)


@like_the_kernels_own_once
def test_a_file_is_deleted_with_its_last_name_and_close(t):
    for path in ("f", "g", "h"):
        t.write(path, b"x")
    t(os.link, "f", "f2")
    t(os.mkdir, "d")
    with Watched(t, "f", "g", "h", "d") as do:
        do(os.unlink, "f2")
        fd = os.open("f", os.O_RDONLY)
        do(os.unlink, "f")
        do(os.read, fd, 1)
        do(os.close, fd, last="IGNORED")
        do(os.rename, "g", "h", last="IGNORED")
        do(os.rename, "h", "g")
        do(os.rename, "d", "d2")
        do(os.unlink, "g", last="IGNORED")
        do(os.rmdir, "d2", last="IGNORED")
        t.write("f")
        assert do.told() == []


@like_the_kernels_own_once
def test_a_mapped_file_is_deleted_when_the_map_goes(t):
    t.write("f", b"x" * 100)
    with Watched(t, "f") as do:
        with open("f", "r+b") as file:
            mapped = mmap.mmap(file.fileno(), 100)
        do(os.unlink, "f")
        mapped[0:1] = b"y"
        assert do.told() == []
        mapped.close()
        assert [event for _, event, _ in do.told(last="IGNORED")][-2:] == ["DELETE_SELF", "IGNORED"]
