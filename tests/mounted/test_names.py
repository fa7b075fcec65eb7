# SPDX-License-Identifier: MIT
"""Names: whiteouts, names of any bytes, numbers of files, listings while others change the directory."""

import contextlib
import errno
import mmap
import os
import random
import stat
import time

import pytest

from conftest import needs_root
from harness import kernel
from harness.children import Child
from harness.script import like_the_kernels_own

pytestmark = needs_root

ALICE = 4001


# --- Listings after a move --------------------------------------------------------------------


def parent_in_listing(path):
    """What a listing says of ".."."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        entries = kernel.getdents(fd, 32768)
        assert kernel.getdents(fd, 32768) == []
        return next(ino for name, _, ino, _ in entries if name == b"..")
    finally:
        os.close(fd)


def test_a_moved_directory_lists_its_new_parent(tmpfs_many):
    a, b = tmpfs_many.path("a"), tmpfs_many.path("b")
    for path in (a, b, f"{a}/x", f"{b}/y"):
        os.mkdir(path)
    assert parent_in_listing(f"{a}/x") == os.stat(a).st_ino
    assert parent_in_listing(f"{b}/y") == os.stat(b).st_ino
    kernel.renameat2(f"{a}/x", f"{b}/y", kernel.RENAME_EXCHANGE)
    assert parent_in_listing(f"{b}/y") == os.stat(b).st_ino
    assert parent_in_listing(f"{a}/x") == os.stat(a).st_ino
    os.rename(f"{a}/x", f"{b}/z")
    assert parent_in_listing(f"{b}/z") == os.stat(b).st_ino


# --- Whiteouts --------------------------------------------------------------------------------


def whiteout(old, new, flags=0):
    kernel.renameat2(old, new, kernel.RENAME_WHITEOUT | flags)


def is_whiteout(path):
    st = os.lstat(path)
    return (stat.S_IFMT(st.st_mode), stat.S_IMODE(st.st_mode), st.st_rdev, st.st_nlink) == (stat.S_IFCHR, 0, 0, 1)


@like_the_kernels_own
def test_a_whiteout_takes_the_place_of_what_moved(t):
    t.write("file", b"content")
    t(os.mkdir, "dir")
    t.write("dir/inside", b"inside")
    t(os.symlink, "file", "link")
    t(os.mkfifo, "fifo")
    t(os.mkdir, "to")
    for path in ("file", "dir", "link", "fifo"):
        number = os.lstat(path).st_ino
        t.moved((".", "to", path), whiteout, path, f"to/{path}")
        assert is_whiteout(path)
        assert os.lstat(f"to/{path}").st_ino == number != os.lstat(path).st_ino
        t.stat(path, f"to/{path}", ".", "to")
    t.read("to/file")
    t.ls()
    t.ls("to/dir")
    # One is a file as any other.
    whiteout("to/file", "file")
    assert t.read("file") == b"content"
    t(os.link, "dir", "dir2")
    t(os.rename, "link", "link2")
    t(whiteout, "dir2", "moved")
    t(os.unlink, "dir2")
    t(os.unlink, "fifo")
    t.stat("dir", "dir2", "moved", "link", "link2", "fifo")
    t.ls()


@like_the_kernels_own
def test_a_whiteout_is_left_or_nothing_happens(t):
    t.write("a", b"a")
    t.write("b", b"b")
    t(os.mkdir, "d")
    t(os.mkdir, "full")
    t.write("full/f")
    t.refused(errno.ENOENT, whiteout, "none", "new")
    t.refused(errno.EEXIST, whiteout, "a", "b", kernel.RENAME_NOREPLACE)
    t.refused(errno.EINVAL, whiteout, "a", "b", kernel.RENAME_EXCHANGE)
    t.refused(errno.EISDIR, whiteout, "a", "d")
    t.refused(errno.ENOTDIR, whiteout, "d", "a")
    t.refused(errno.ENOTEMPTY, whiteout, "d", "full")
    t.refused(errno.EINVAL, whiteout, "d", "d/below")
    t.refused(errno.ENAMETOOLONG, whiteout, "a", "n" * 256)
    assert t.ls() == ["a", "b", "d", "full"]
    t.stat("a", "b", "d", "full")
    # To itself, and to another name of the same file.
    t(os.link, "a", "a2")
    t(whiteout, "a", "a")
    t(whiteout, "a", "a2")
    t.stat("a", "a2")
    # Over what is there.
    t(whiteout, "a2", "b")
    t(whiteout, "full", "d")
    t.stat("a", "a2", "b", "full", "d", ".")
    assert is_whiteout("a2") and is_whiteout("full")
    assert t.read("b") == b"a"


@like_the_kernels_own
def test_an_ordinary_user_leaves_whiteouts(t):
    t(os.mkdir, "d")
    t(os.chown, "d", ALICE, 0)
    t(os.chmod, "d", 0o2755)
    t.write("root")

    def alice(t):
        t.write("d/f")
        t(whiteout, "d/f", "d/g")
        t.refused(errno.EACCES, whiteout, "root", "d/root")
        t.refused(errno.EPERM, os.mknod, "d/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))

    t.as_user(ALICE, alice)
    t.stat("d/f", "d/g")
    assert is_whiteout("d/f")


def test_a_whiteout_counts_as_an_inode(limited):
    path = limited("nr_inodes=3")
    with open(path + "/f", "wb") as file:
        file.write(b"content")
    whiteout(path + "/f", path + "/g")
    with pytest.raises(OSError) as full:
        whiteout(path + "/g", path + "/h")
    assert full.value.errno == errno.ENOSPC
    assert sorted(os.listdir(path)) == ["f", "g"]
    with open(path + "/g", "rb") as file:
        assert file.read() == b"content"
    os.unlink(path + "/f")
    whiteout(path + "/g", path + "/h")


# --- Names of any bytes -----------------------------------------------------------------------


@like_the_kernels_own
def test_names_of_any_bytes(t):
    every = bytes(byte for byte in range(1, 256) if byte != ord("/"))
    names = [bytes([byte]) for byte in every if byte != ord(".")]
    names += [every, every[::-1], b"...", b"." * 255, b"\xff" * 255, b"\n" * 255, "ß".encode() * 127 + b"s"]
    for number, name in enumerate(names):
        t.write(name, b"%d" % number)
    assert t.ls(b".") == sorted(names)
    for number, name in enumerate(names):
        assert t.read(name) == b"%d" % number
    t(os.mkdir, b"dir")
    for name in names[::5] + names[-7:]:
        t(os.rename, name, b"dir/" + name)
        t(os.symlink, b"dir/" + name, name)
        assert os.readlink(name) == b"dir/" + name
        t.read(name)
    t.ls(b"dir")
    for name in names:
        t.refused(errno.ENAMETOOLONG, os.stat, name + b"n" * (256 - len(name)))


# --- Numbers ----------------------------------------------------------------------------------


@like_the_kernels_own
def test_links_of_directories(t):
    """2, and one for each directory in it."""

    def look():
        for path, directories, _ in sorted(os.walk(".")):
            t.stat(path)
            assert os.stat(path).st_nlink == 2 + sum(not os.path.islink(f"{path}/{name}") for name in directories)

    t(os.makedirs, "a/b/c")
    t(os.makedirs, "x/y")
    t.write("file")
    t(os.symlink, "a", "link")
    look()
    for old, new in (("a/b", "x/b"), ("x/b", "x/y"), ("x/y", "x/y"), ("x", "a/x"), ("a/x", "a/x2"), ("a/x2/y", "y")):
        t(os.rename, old, new)
        look()
    t(kernel.renameat2, "a/x2", "file", kernel.RENAME_EXCHANGE)
    look()
    t(kernel.renameat2, "file", "y/c", kernel.RENAME_EXCHANGE)
    look()
    t(whiteout, "y/c", "gone")
    look()
    t.refused(errno.EPERM, os.link, "gone", "gone2")
    t.refused(errno.EEXIST, os.mkdir, "gone")
    t.refused(errno.ENOTEMPTY, os.rmdir, "a")
    t.refused(errno.EINVAL, os.rename, "a", "a/a")
    look()
    held = t.open("gone", os.O_RDONLY | os.O_DIRECTORY)
    t(os.rmdir, "gone")
    t.fstat(held)
    t.close(held)
    look()


def test_a_number_is_never_used_twice(tmpfs_many):
    """Nor one that a listing told, or a handle."""
    path = tmpfs_many.path("f")
    makers = [
        *(lambda: os.mknod(path), lambda: os.mkdir(path), lambda: os.symlink("x", path), lambda: os.mkfifo(path)),
        lambda: os.close(os.open(path, os.O_CREAT | os.O_WRONLY)),
    ]
    numbers, handles, born = [], [], []
    for at in range(500):
        makers[at % len(makers)]()
        st = os.lstat(path)
        (entry,) = os.scandir(tmpfs_many.dir)
        assert entry.inode() == st.st_ino
        numbers.append(st.st_ino)
        handles.append(kernel.name_to_handle(path))
        born.append(kernel.birth_time_ns(path))
        if at % 50 == 0:
            kernel.drop_names(tmpfs_many.mount.mountpoint)
            assert os.lstat(path).st_ino == st.st_ino
        (os.rmdir if stat.S_ISDIR(st.st_mode) else os.unlink)(path)
    assert len(set(numbers)) == len(set(handles)) == 500
    assert born == sorted(born)


# --- Listings ---------------------------------------------------------------------------------


@pytest.mark.concurrent
def test_entries_that_stay_are_listed_once_by_each_of_many(tmpfs_many):
    """Others make, remove and rename all the time, in the directory and from and to another."""
    stay = sorted(f"stay-{number:03}" for number in range(200))
    away = tmpfs_many.path("away")
    directory = tmpfs_many.path("here")
    os.mkdir(directory)
    os.mkdir(away)
    for name in stay:
        os.mknod(os.path.join(directory, name))
    steps = mmap.mmap(-1, mmap.PAGESIZE)  # how many changes there were, for each who changes

    def step_count(who):
        return int.from_bytes(steps[8 * who : 8 * who + 8], "little")

    def change(link, who):
        rng = random.Random(who)
        here = [f"{directory}/{who}-{number}" for number in range(100)]
        for path in here:
            os.mknod(path)
        link.tell("ready")
        step = 0
        while not link.has_word():
            step += 1
            at = rng.randrange(len(here))
            new = f"{rng.choice((directory, away))}/{who}-{step}{'n' * rng.randrange(100)}"
            if rng.random() < 0.5:
                os.rename(here[at], new)
            else:
                os.unlink(here[at])
                os.mknod(new)
            here[at] = new
            steps[8 * who : 8 * who + 8] = step.to_bytes(8, "little")

    def wait_for_changes():
        before = [step_count(who) for who in range(2)]
        deadline = time.monotonic() + 20
        while any(step_count(who) == before[who] for who in range(2)):
            assert time.monotonic() < deadline, "nobody changes anything"
            os.sched_yield()

    def names_in(size):
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            while entries := kernel.getdents(fd, size):
                yield from (os.fsdecode(entry[0]) for entry in entries)
                wait_for_changes()
        finally:
            os.close(fd)

    def look(_link):
        for size in (500, 2000, 4096, 32768) * 2:
            names = list(names_in(size))
            assert sorted(name for name in names if name.startswith("stay-")) == stay, size
            assert names.count(".") == names.count("..") == 1

    with contextlib.ExitStack() as stack:
        changers = [stack.enter_context(Child(change, who)) for who in range(2)]
        for child in changers:
            child.link.hear()
        lookers = [stack.enter_context(Child(look)) for _ in range(2)]
        for child in lookers:
            child.result()
        for child in changers:
            child.link.tell("end")
            child.result()
