# SPDX-License-Identifier: MIT
"""Locks and leases of files: the kernel keeps them, as for its own file systems."""

import errno
import fcntl
import os
import signal
import struct

from conftest import needs_root
from harness import kernel
from harness.children import Child
from harness.script import Fd, like_the_kernels_own_once

pytestmark = needs_root

ALICE, BOB = 4001, 4002
FLOCK = "hhqqi4x"  # struct flock
READ, WRITE, NONE = fcntl.F_RDLCK, fcntl.F_WRLCK, fcntl.F_UNLCK
KINDS = {READ: "read", WRITE: "write", NONE: "none"}


def lock(fd, command, kind, start, size):
    fcntl.fcntl(fd, command, struct.pack(FLOCK, kind, os.SEEK_SET, start, size, 0))


def posix_lock(fd, kind, start=0, size=0):
    lock(fd, fcntl.F_SETLK, kind, start, size)


def ofd_lock(fd, kind, start=0, size=0):
    lock(fd, fcntl.F_OFD_SETLK, kind, start, size)


def in_the_way(fd, command, kind, start=0, size=0):
    """Which lock is: its kind, start, size, and whether it is of our parent (-1: of an open)."""
    asked = struct.pack(FLOCK, kind, os.SEEK_SET, start, size, 0)
    kind, _, start, size, pid = struct.unpack(FLOCK, fcntl.fcntl(fd, command, asked))
    return (KINDS[kind], start, size, "parent" if pid == os.getppid() else pid) if kind != NONE else None


def dup(fd):
    return Fd(os.dup(fd))


def in_child(t, part):
    """A process of its own, with what is open here."""
    t.as_user(0, part)


@like_the_kernels_own_once
def test_posix_locks_belong_to_the_process(t):
    t.write("f", b"x" * 100)
    one, two = t.open("f", os.O_RDWR), t.open("f", os.O_RDWR)
    t(posix_lock, one, WRITE, 0, 30)
    t(posix_lock, two, WRITE, 10, 10)
    t(posix_lock, two, READ, 10, 10)
    t(posix_lock, two, NONE, 20, 5)

    def other(t):
        """Inherits the opens, not the locks."""
        for start, size in ((0, 10), (10, 10), (20, 5), (25, 5), (0, 0), (30, 0)):
            for kind in (READ, WRITE):
                t(in_the_way, one, fcntl.F_GETLK, kind, start, size)
        assert in_the_way(one, fcntl.F_GETLK, WRITE, 10, 5) == ("read", 10, 10, "parent")
        t.refused(errno.EAGAIN, posix_lock, two, WRITE, 19, 2)
        t.refused(errno.EAGAIN, posix_lock, two, READ, 9, 2)
        t(posix_lock, two, READ, 10, 15)
        t(posix_lock, two, WRITE, 20, 5)
        t(posix_lock, two, WRITE, 30)
        t(posix_lock, two, WRITE, 1 << 62, 1 << 61)

    in_child(t, other)
    assert t(in_the_way, one, fcntl.F_GETLK, WRITE) is None
    # Any close of the file ends them.
    t.close(two)
    in_child(t, lambda t: t(posix_lock, one, WRITE))
    reader, writer = t.open("f"), t.open("f", os.O_WRONLY)
    t.refused(errno.EBADF, posix_lock, reader, WRITE)
    t.refused(errno.EBADF, posix_lock, writer, READ)
    t.refused(errno.EINVAL, posix_lock, one, WRITE, -1, 5)
    t(posix_lock, one, WRITE, 10, -5)
    in_child(t, lambda t: t(in_the_way, one, fcntl.F_GETLK, WRITE))
    for fd in (reader, writer, one):
        t.close(fd)


@like_the_kernels_own_once
def test_ofd_locks_belong_to_the_open(t):
    t.write("f", b"x" * 100)
    one, two = t.open("f", os.O_RDWR), t.open("f", os.O_RDWR)
    t(ofd_lock, one, WRITE, 0, 10)
    t.refused(errno.EAGAIN, ofd_lock, two, WRITE, 5, 10)
    t.refused(errno.EAGAIN, ofd_lock, two, READ, 9, 1)
    t(ofd_lock, two, WRITE, 10, 10)
    assert t(in_the_way, two, fcntl.F_OFD_GETLK, READ) == ("write", 0, 10, -1)
    copy = t(dup, one)
    t(ofd_lock, copy, READ, 0, 5)
    t(ofd_lock, two, READ, 0, 5)
    t.refused(errno.EAGAIN, ofd_lock, two, WRITE, 0, 5)
    # They live as long as the open, and no close of another ends them.
    t.close(one)
    t.close(t.open("f"))
    t.refused(errno.EAGAIN, ofd_lock, two, READ, 5, 5)

    def other(t):
        """Has the same opens."""
        t(ofd_lock, copy, WRITE, 5, 5)
        t.refused(errno.EAGAIN, ofd_lock, two, READ, 5, 5)
        t.refused(errno.EAGAIN, posix_lock, two, READ, 5, 5)
        own = t.open("f", os.O_RDWR)
        t.refused(errno.EAGAIN, ofd_lock, own, READ, 10, 1)

    in_child(t, other)
    t.refused(errno.EAGAIN, posix_lock, two, WRITE, 5, 5)
    t(posix_lock, two, WRITE, 50, 5)
    t.refused(errno.EAGAIN, ofd_lock, two, WRITE, 50, 5)
    three = t.open("f", os.O_RDWR)
    t.refused(errno.EAGAIN, ofd_lock, three, WRITE, 5, 5)
    t.close(copy)
    t(ofd_lock, three, WRITE, 5, 5)
    t.close(two)
    t(ofd_lock, three, WRITE)
    reader = t.open("f")
    t.refused(errno.EBADF, ofd_lock, reader, WRITE)
    t.close(reader)
    t.close(three)


@like_the_kernels_own_once
def test_flock_belongs_to_the_open(t):
    nonblocking_ex, nonblocking_sh = fcntl.LOCK_EX | fcntl.LOCK_NB, fcntl.LOCK_SH | fcntl.LOCK_NB
    t.write("f")
    t(os.mkdir, "d")
    for path in ("f", "d"):
        one, two, three = t.open(path), t.open(path), t.open(path)
        t(fcntl.flock, one, nonblocking_sh)
        t(fcntl.flock, two, nonblocking_sh)
        t.refused(errno.EAGAIN, fcntl.flock, three, nonblocking_ex)
        t.refused(errno.EAGAIN, fcntl.flock, one, nonblocking_ex)
        # Who wanted more has nothing.
        t(fcntl.flock, two, nonblocking_ex)
        t.refused(errno.EAGAIN, fcntl.flock, one, nonblocking_sh)
        copy = t(dup, two)
        t.close(two)
        t.refused(errno.EAGAIN, fcntl.flock, one, nonblocking_sh)

        def other(t, path=path, copy=copy):
            own = t.open(path)
            t.refused(errno.EAGAIN, fcntl.flock, own, nonblocking_sh)
            t(fcntl.flock, copy, fcntl.LOCK_UN)
            t(fcntl.flock, own, nonblocking_sh)

        in_child(t, other)
        t(fcntl.flock, one, nonblocking_ex)
        t.close(copy)
        t.close(one)
        t(fcntl.flock, three, nonblocking_ex)
        t.close(three)
    path_only = t.open("f", os.O_PATH)
    t.refused(errno.EBADF, fcntl.flock, path_only, nonblocking_ex)
    t.close(path_only)


@like_the_kernels_own_once
def test_flock_and_posix_locks_do_not_meet(t):
    t.write("f")
    fd = t.open("f", os.O_RDWR)
    t(fcntl.flock, fd, fcntl.LOCK_EX)

    def other(t):
        own = t.open("f", os.O_RDWR)
        t(posix_lock, own, WRITE)
        t(posix_lock, own, NONE)
        t(ofd_lock, own, WRITE)
        t.refused(errno.EAGAIN, fcntl.flock, own, fcntl.LOCK_SH | fcntl.LOCK_NB)

    in_child(t, other)
    t.close(fd)


@like_the_kernels_own_once
def test_locks_of_files_without_a_name(t):
    t.write("f")
    fd, other = t.open("f", os.O_RDWR), t.open("f", os.O_RDWR)
    t(os.unlink, "f")
    t(posix_lock, fd, WRITE, 0, 10)
    t(ofd_lock, fd, WRITE, 10, 10)
    t(fcntl.flock, fd, fcntl.LOCK_EX)
    # Another file of this name has nothing to do with it.
    t.write("f")
    new = t.open("f", os.O_RDWR)

    def child(t):
        for each in (other, new):
            t(posix_lock, each, WRITE, 0, 5)
            t(ofd_lock, each, WRITE, 10, 5)
            t(fcntl.flock, each, fcntl.LOCK_EX | fcntl.LOCK_NB)

    in_child(t, child)
    for each in (fd, other, new):
        t.close(each)


@like_the_kernels_own_once
def test_two_who_would_wait_for_each_other(t):
    t.write("f")
    fd = t.open("f", os.O_RDWR)
    t(posix_lock, fd, WRITE, 0, 1)

    def other(link):
        own = os.open("f", os.O_RDWR)
        posix_lock(own, WRITE, 1, 1)
        link.tell("has the second")
        lock(own, fcntl.F_SETLKW, WRITE, 0, 1)
        return "has both"

    with Child(other) as child:
        child.link.hear()
        kernel.wait_for_lock_waiters("f", 1)
        t.refused(errno.EDEADLK, lock, fd, fcntl.F_SETLKW, WRITE, 1, 1)
        t(posix_lock, fd, NONE)
        t.note("other", child.result())
    t(lock, fd, fcntl.F_SETLKW, WRITE, 0, 0)
    t.close(fd)


# --- Leases -----------------------------------------------------------------------------------


def lease(fd, kind):
    fcntl.fcntl(fd, fcntl.F_SETLEASE, kind)


def has_lease(fd):
    return KINDS[fcntl.fcntl(fd, fcntl.F_GETLEASE)]


def open_at_once(path, flags):
    """Refused where an open would wait for the end of a lease."""
    return Fd(os.open(path, flags | os.O_NONBLOCK))


def told():
    """Waits for the signal that somebody else wants the file."""
    return signal.sigtimedwait({signal.SIGIO}, 20) is not None


def alone(part):
    """@part in a process where the signal is waited for, and ends nobody."""

    def run(t):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
        part(t)

    return run


@like_the_kernels_own_once
def test_a_read_lease_is_broken_by_a_writer(t):
    t.write("f", b"content")

    def holder(t):
        reader = t.open("f")
        t(has_lease, reader)
        t(lease, reader, READ)
        assert t(has_lease, reader) == "read"
        t.close(t.open("f"))
        t(os.chmod, "f", 0o600)
        t(os.rename, "f", "g")
        t(os.link, "g", "f")
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
            t.refused(errno.EAGAIN, open_at_once, "f", flags)
            assert t(told)
            assert t(has_lease, reader) == "none"
            t(lease, reader, NONE)
            writer = t(open_at_once, "f", flags)
            t.refused(errno.EAGAIN, lease, reader, READ)
            t.close(writer)
            t(lease, reader, READ)
        t(os.unlink, "f")
        t(os.unlink, "g")
        t(has_lease, reader)
        t.close(reader)

    in_child(t, alone(holder))


@like_the_kernels_own_once
def test_a_write_lease_is_for_the_only_one(t):
    t.write("f", b"content")

    def holder(t):
        fd, other = t.open("f", os.O_RDWR), t.open("f")
        t.refused(errno.EAGAIN, lease, fd, WRITE)
        t.refused(errno.EAGAIN, lease, fd, READ)
        t.refused(errno.EAGAIN, lease, other, WRITE)
        t.close(other)
        t(lease, fd, WRITE)
        assert t(has_lease, fd) == "write"
        t.refused(errno.EAGAIN, open_at_once, "f", os.O_RDONLY)
        assert t(told)
        assert t(has_lease, fd) == "read"
        t(lease, fd, NONE)
        t.close(fd)
        fd = t.open("f")
        t(lease, fd, WRITE)
        t.refused(errno.EAGAIN, open_at_once, "f", os.O_RDONLY)
        assert t(told)
        t(lease, fd, READ)
        t.close(t(open_at_once, "f", os.O_RDONLY))
        t.close(fd)
        t.close(t(open_at_once, "f", os.O_RDWR))

    in_child(t, alone(holder))


@like_the_kernels_own_once
def test_who_breaks_a_lease_waits_for_its_end(t):
    t.write("f", b"content")

    def write():
        with open("f", "r+b") as file:
            return file.write(b"C")

    def holder(t):
        for change in (lambda: os.truncate("f", 3), write):
            reader = t.open("f")
            t(lease, reader, READ)
            with Child(lambda _link, change=change: change()) as child:
                assert t(told)
                t(os.pread, reader, 100, 0)
                t(lease, reader, NONE)
                t.note("done", child.result())
            t(os.pread, reader, 100, 0)
            t.close(reader)

    in_child(t, alone(holder))


@like_the_kernels_own_once
def test_who_may_have_a_lease(t):
    t.write("f", b"content")
    t(os.chown, "f", ALICE, ALICE)
    t(os.mkdir, "d")
    t(os.mkfifo, "p")

    def user(t):
        fd = t.open("f")
        t(lease, fd, READ)
        t.close(fd)

    t.as_user(ALICE, user)
    t.as_user(BOB, user)
    for path, flags in (("d", os.O_RDONLY), ("p", os.O_RDWR), ("f", os.O_PATH)):
        fd = t.open(path, flags)
        t(lease, fd, READ)
        t.close(fd)
