# SPDX-License-Identifier: MIT
"""lltest: one directory with one file, in every visible detail as the reference shows it."""

import errno
import os
import stat
import time

import pytest

from conftest import needs_root

STAMP_NS = 1438467123985654016


@pytest.fixture
def lltest(new_mount, transport):
    return new_mount("lltest", *transport.options)


def refused(call, *args):
    with pytest.raises(OSError) as error:
        call(*args)
    return error.value.errno


def test_the_listing_is_the_one_file(lltest):
    assert os.listdir(lltest.mountpoint) == ["message"]
    assert os.listdir(lltest.mountpoint) == ["message"]


def test_the_content(lltest):
    fd = os.open(os.path.join(lltest.mountpoint, "message"), os.O_RDONLY)
    try:
        assert os.read(fd, 100) == b"hello world\n"
        assert os.read(fd, 100) == b""
        assert os.pread(fd, 3, 6) == b"wor"
        assert os.pread(fd, 100, 11) == b"\n"
        assert os.pread(fd, 100, 12) == b""
        assert os.pread(fd, 100, 1000) == b""
        os.fsync(fd)
    finally:
        os.close(fd)


def test_attributes(lltest):
    root = os.stat(lltest.mountpoint)
    file = os.stat(os.path.join(lltest.mountpoint, "message"))
    assert stat.S_ISDIR(root.st_mode) and stat.S_IMODE(root.st_mode) == 0o755
    assert stat.S_ISREG(file.st_mode) and stat.S_IMODE(file.st_mode) == 0o644
    assert root.st_size == 0
    assert file.st_size == 12
    assert (root.st_ino, file.st_ino) == (1, 2)
    assert (root.st_nlink, file.st_nlink) == (1, 1)
    assert (root.st_blocks, file.st_blocks) == (0, 0)
    for st in (root, file):
        assert (st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns) == (STAMP_NS,) * 3
        assert (st.st_uid, st.st_gid) == (os.getuid(), os.getgid())


def test_other_names_are_missing(lltest):
    for name in ("Message", "messag", "message2", "x" * 255, "hello"):
        assert refused(os.stat, os.path.join(lltest.mountpoint, name)) == errno.ENOENT
    assert refused(os.stat, os.path.join(lltest.mountpoint, "message", "x")) == errno.ENOTDIR


def test_opening_to_write_is_not_permitted(lltest):
    path = os.path.join(lltest.mountpoint, "message")
    assert refused(os.open, path, os.O_WRONLY) == errno.EPERM
    assert refused(os.open, path, os.O_RDWR) == errno.EPERM
    assert refused(os.open, path, os.O_WRONLY | os.O_APPEND) == errno.EPERM
    os.close(os.open(path, os.O_RDONLY | os.O_APPEND))


def test_nothing_can_be_changed(lltest):
    path = os.path.join(lltest.mountpoint, "message")
    new = os.path.join(lltest.mountpoint, "new")
    changes = [
        (os.mkdir, new),
        (os.mknod, new),
        (os.open, new, os.O_CREAT | os.O_WRONLY),
        (os.symlink, "x", new),
        (os.link, path, new),
        (os.rename, path, new),
        (os.unlink, path),
        (os.chmod, path, 0o600),
        (os.chown, path, 1, 1),
        (os.truncate, path, 0),
        (os.utime, path),
        (os.setxattr, path, "user.x", b"y"),
    ]
    for change in changes:
        assert refused(*change) in (errno.ENOSYS, errno.EPERM, errno.EROFS, errno.ENOTSUP, errno.EACCES), change
    assert os.listdir(lltest.mountpoint) == ["message"]
    with open(path, "rb") as file:
        assert file.read() == b"hello world\n"


def test_a_given_file_is_served(new_mount, place, transport):
    content = os.urandom(300_000)
    given = os.path.join(place, "given")
    with open(given, "wb") as file:
        file.write(content)
    mount = new_mount("lltest", *transport.options, "--file", given, "--name", "other name")
    assert os.listdir(mount.mountpoint) == ["other name"]
    path = os.path.join(mount.mountpoint, "other name")
    assert os.stat(path).st_size == len(content)
    with open(path, "rb") as file:
        assert file.read() == content
    assert refused(os.stat, os.path.join(mount.mountpoint, "message")) == errno.ENOENT
    assert refused(os.open, path, os.O_WRONLY) == errno.EPERM


def test_a_given_name_with_the_usual_content(new_mount):
    mount = new_mount("lltest", "--name=greeting")
    assert os.listdir(mount.mountpoint) == ["greeting"]
    with open(os.path.join(mount.mountpoint, "greeting"), "rb") as file:
        assert file.read() == b"hello world\n"


def test_a_given_file_without_a_name_is_the_message(new_mount, place):
    given = os.path.join(place, "given")
    with open(given, "wb") as file:
        file.write(b"given content")
    mount = new_mount("lltest", "--file", given)
    assert len(os.listdir(mount.mountpoint)) == 1
    with open(os.path.join(mount.mountpoint, os.listdir(mount.mountpoint)[0]), "rb") as file:
        assert file.read() == b"given content"


def test_an_empty_file_is_served(new_mount, place):
    given = os.path.join(place, "given")
    with open(given, "wb"):
        pass
    mount = new_mount("lltest", "--file", given, "--name", "empty")
    path = os.path.join(mount.mountpoint, "empty")
    assert os.stat(path).st_size == 0
    with open(path, "rb") as file:
        assert file.read() == b""



SCHED_IDLE = 5
on_rings = pytest.mark.parametrize("transport", ["io_uring-many", "io_uring-single"], indirect=True)


def thread_names(mount):
    """By the thread's id."""
    names = {}
    for task in os.listdir(f"/proc/{mount.pid}/task"):
        with open(f"/proc/{mount.pid}/task/{task}/comm", encoding="ascii") as file:
            names[int(task)] = file.read().rstrip()
    return names


def ring_policies(mount):
    return [os.sched_getscheduler(task) for task, name in thread_names(mount).items() if name.startswith("fuse-ring-")]


def ask_in_a_row(mount):
    for number in range(200):
        os.path.exists(os.path.join(mount.mountpoint, str(number)))


@needs_root
@on_rings
def test_who_answers_yields_while_requests_come_in_a_row(lltest):
    while SCHED_IDLE not in ring_policies(lltest):
        ask_in_a_row(lltest)
    while SCHED_IDLE in ring_policies(lltest):
        time.sleep(0.001)


@needs_root
@on_rings
def test_nobody_yields_if_that_is_not_wanted(new_mount, transport):
    mount = new_mount("lltest", *transport.options, "-o", "no_yield")
    ask_in_a_row(mount)
    assert SCHED_IDLE not in ring_policies(mount)
    assert "guard" not in thread_names(mount).values()
