# SPDX-License-Identifier: MIT
"""Bytes of files, compared with the kernel's own file system: copies, direct I/O, appending, maps, holes."""

import contextlib
import errno
import faulthandler
import fcntl
import mmap
import os
import random
import resource
import shutil
import signal
import subprocess

import pytest

from conftest import needs_root
from harness import kernel
from harness.children import Child
from harness.script import (
    like_the_kernels_own_in_each_mode,
    like_the_kernels_own_in_each_mode_once,
    like_the_kernels_own_once,
)

pytestmark = needs_root

PAGE = mmap.PAGESIZE
MIB = 1 << 20
GIB = 1 << 30
PUNCH = kernel.FALLOC_FL_PUNCH_HOLE | kernel.FALLOC_FL_KEEP_SIZE


def pattern(size, seed=1):
    return random.Random(seed).randbytes(size)


# --- Copies -----------------------------------------------------------------------------------


def copy(source, target, size, *offsets):
    """Copies until nothing more comes."""
    done = 0
    while done < size:
        n = os.copy_file_range(source, target, size - done, *(off + done for off in offsets))
        if n == 0:
            break
        done += n
    return done


@like_the_kernels_own_in_each_mode
def test_copies_within_a_file(t):
    t.write("f", pattern(100_000))
    fd = t.open("f", os.O_RDWR)
    # What would copy onto itself is refused, to the byte.
    for off_in, off_out, size in (
        *((0, 0, 1), (0, 999, 1000), (999, 0, 1000), (10_000, 15_000, 5001), (99_000, 99_500, 600)),
    ):
        t.refused(errno.EINVAL, os.copy_file_range, fd, fd, size, off_in, off_out)
    t.read("f")
    for off_in, off_out, size in (
        *((0, 1000, 1000), (1000, 0, 1000), (10_000, 15_000, 5000), (50_000, 3, 30_001)),
        *((99_000, 100_000, 5000), (0, 120_000, 7), (0, 0, 0)),
    ):
        t(copy, fd, fd, size, off_in, off_out)
        t.fstat(fd)
        t.read("f")
    t.close(fd)


@like_the_kernels_own_in_each_mode
def test_copies_from_file_to_file(t):
    size = MIB + 333
    data = pattern(size)
    t.write("from", data)
    source = t.open("from")
    target = t.open("to", os.O_RDWR | os.O_CREAT)
    assert t(copy, source, target, 100 * MIB, 0, 0) == size
    assert t.read("to") == data
    # At and past the end, and up to it.
    for off in (size, size + 1, 1 << 50):
        assert t(os.copy_file_range, source, target, 100, off, 0) == 0
    assert t(copy, source, target, 100, size - 7, 10) == 7
    assert os.pread(target, 8, 10) == data[-7:] + data[17:18]
    # Behind the end of the target: what lies between is a hole.
    assert t(copy, source, target, 5000, 1, size + MIB) == 5000
    assert os.pread(target, MIB + 5000, size) == bytes(MIB) + data[1:5001]
    t.fstat(target)
    # A hole is copied as zeros.
    hole = t.open("hole", os.O_RDWR | os.O_CREAT)
    t(os.ftruncate, hole, 10_000)
    t(copy, hole, target, 10_000, 0, 100)
    assert os.pread(target, 10_002, 99) == data[99:100] + bytes(10_000) + data[10_100:10_101]
    # Far away.
    t(copy, source, target, 300_000, 77, 5 * GIB - 100)
    t(copy, target, hole, 1000, 5 * GIB - 300, 500)
    assert os.pread(hole, 1000, 500) == bytes(200) + data[77:877]
    # By the positions of both.
    t(os.lseek, source, 1000, os.SEEK_SET)
    t(os.lseek, hole, 3, os.SEEK_SET)
    t(copy, source, hole, 500)
    t(os.lseek, source, 0, os.SEEK_CUR)
    t(os.lseek, hole, 0, os.SEEK_CUR)
    t.read("hole")
    for fd in (source, target, hole):
        t.close(fd)


@like_the_kernels_own_in_each_mode
def test_a_copy_has_what_was_written_last(t):
    """By a descriptor or by a map, and is seen by those who have the target open."""
    t.write("from", b"." * 4 * PAGE)
    t.write("to", b"-" * 4 * PAGE)
    source, target = t.open("from", os.O_RDWR), t.open("to", os.O_RDWR)
    with mmap.mmap(source, 4 * PAGE) as one, mmap.mmap(target, 4 * PAGE) as two:
        for number in range(3):
            t(os.pwrite, source, b"written %d" % number, 10)
            one[PAGE : PAGE + 6] = b"mapped"
            two[2 * PAGE : 2 * PAGE + 4] = b"mine"
            t(copy, source, target, 2 * PAGE, 0, number)
            t(os.pread, target, 4 * PAGE, 0)
            t.note("map", two[:])
            assert two[10 + number : 19 + number] == b"written %d" % number
            assert two[2 * PAGE : 2 * PAGE + 4] == (b"mine" if number == 0 else b"." * number + b"mine"[number:])
    t(os.unlink, "from")
    t(copy, source, target, 9, 10, 0)
    t.close(source)
    t.close(target)
    t.read("to")


@like_the_kernels_own_once
def test_copies_that_are_refused(t):
    t.write("f", b"content")
    t.write("g", b"content")
    t(os.mkdir, "d")
    reader, writer = t.open("f"), t.open("g", os.O_WRONLY)
    t.refused(errno.EBADF, os.copy_file_range, writer, writer, 1, 0, 100)
    t.refused(errno.EBADF, os.copy_file_range, reader, reader, 1, 0, 100)
    appender = t.open("g", os.O_WRONLY | os.O_APPEND)
    t.refused(errno.EBADF, os.copy_file_range, reader, appender, 1, 0)
    directory = t.open("d", os.O_RDONLY | os.O_DIRECTORY)
    t.refused(errno.EISDIR, os.copy_file_range, directory, writer, 1, 0)
    t(os.copy_file_range, reader, writer, 1, 0, (1 << 63) - 1)
    t(os.copy_file_range, reader, writer, 100, 0, (1 << 63) - 50)
    t(os.copy_file_range, reader, writer, 100, -1, 0)
    for fd in (reader, writer, appender, directory):
        t.close(fd)
    t.stat("g")


@like_the_kernels_own_in_each_mode_once
def test_a_copy_changes_the_times_of_the_target(t):
    t.write("from", b"content")
    t.write("to", b"another")
    source, target = t.open("from"), t.open("to", os.O_WRONLY)
    watched = ("from", "to")
    t.moved(watched, os.copy_file_range, source, target, 3, 0, 1)
    t.moved(watched, os.copy_file_range, source, target, 3, 5, 20)
    t.moved(watched, os.close, target)
    t.close(source)
    t.stat("to")


def test_a_copy_past_the_size_ends_where_the_room_ends(limited):
    path = limited("size=1m")
    data = pattern(700_000)
    with open(path + "/from", "wb") as file:
        file.write(data)
    source, target = os.open(path + "/from", os.O_RDONLY), os.open(path + "/to", os.O_RDWR | os.O_CREAT)
    done = 0
    with pytest.raises(OSError) as full:
        while True:
            n = os.copy_file_range(source, target, len(data) - done, done, done)
            assert n > 0
            done += n
    assert full.value.errno == errno.ENOSPC
    assert os.fstat(target).st_size == done
    assert 200_000 < done < MIB - len(data)
    assert os.pread(target, MIB, 0) == data[:done]
    assert os.pread(source, MIB, 0) == data
    os.close(source)
    os.close(target)
    os.unlink(path + "/from")
    with open(path + "/to", "r+b") as file:
        os.pwrite(file.fileno(), data, 0)
        os.fsync(file.fileno())
    with open(path + "/to", "rb") as file:
        assert file.read() == data


def test_copies_between_two_mounts(limited):
    """The kernel carries the bytes then; each has its own limit."""
    small = limited("size=1m")
    data = pattern(2 * MIB)
    with open(limited("size=8m") + "/from", "wb+", buffering=0) as source:
        source.write(data)
        target = os.open(small + "/to", os.O_RDWR | os.O_CREAT)
        assert copy(source.fileno(), target, 500_000, 100, 7) == 500_000
        os.fsync(target)
        assert os.pread(target, MIB, 0) == bytes(7) + data[100:500_100]
        with pytest.raises(OSError) as full:
            copy(source.fileno(), target, 2 * MIB, 0, 0)
            os.fsync(target)
        assert full.value.errno == errno.ENOSPC
        with contextlib.suppress(OSError):
            os.close(target)
    os.unlink(small + "/to")
    assert os.listdir(small) == []


# --- Direct I/O -------------------------------------------------------------------------------


@like_the_kernels_own_in_each_mode
def test_direct_io_and_cached_io_see_the_same(t):
    t.write("f", pattern(10 * PAGE))
    cached, direct = t.open("f", os.O_RDWR), t.open("f", os.O_RDWR | os.O_DIRECT)
    buffer = mmap.mmap(-1, 4 * PAGE)
    size = 10 * PAGE
    with mmap.mmap(cached, size) as mapped:

        def read(off):
            n = os.preadv(direct, [buffer], off)
            assert buffer[:n] == mapped[off : off + n]
            return n

        def write(off, size):
            with memoryview(buffer)[:size] as part:
                return os.pwritev(direct, [part], off)

        for number, off in enumerate((0, PAGE, 5 * PAGE, 8 * PAGE)):
            buffer[:] = bytes([ord("A") + number]) * 4 * PAGE
            t(write, off, 2 * PAGE)
            t(os.pread, cached, size, 0)
            t.note("map", mapped[:])
            t(os.pwrite, cached, b"cached", off + 100)
            mapped[off + 200 : off + 206] = b"mapped"
            t(read, off)
        t(read, 9 * PAGE)
        t(read, 10 * PAGE)
        t(read, 20 * PAGE)
        buffer[:] = b"e" * 4 * PAGE
        t(write, 15 * PAGE, 4 * PAGE)
    t.fstat(cached)
    t(os.pread, cached, 10 * PAGE, 9 * PAGE)
    t(os.ftruncate, direct, 16 * PAGE + 77)
    assert os.preadv(direct, [buffer], 15 * PAGE) == PAGE + 77
    assert buffer[: PAGE + 77] == b"e" * (PAGE + 77)
    t.close(direct)
    t.close(cached)
    t.read("f")


@like_the_kernels_own_in_each_mode
def test_direct_io_needs_no_alignment(t):
    t.write("f", pattern(3 * PAGE))
    direct = t.open("f", os.O_RDWR | os.O_DIRECT)
    for off, size in ((1, 1), (100, 333), (PAGE - 1, 2), (2 * PAGE + 5, 2 * PAGE), (5 * PAGE - 10, 3)):
        t(os.pwrite, direct, pattern(size, off), off)
        t(os.pread, direct, size + 7, off - 1)
        t.fstat(direct)
    t.close(direct)
    t.read("f")


@like_the_kernels_own_in_each_mode_once
def test_a_descriptor_becomes_direct_and_back(t):
    t.write("f", b"start")
    fd = t.open("f", os.O_RDWR | os.O_APPEND)
    buffer = mmap.mmap(-1, PAGE)
    for number, flags in enumerate((os.O_APPEND | os.O_DIRECT, os.O_APPEND, os.O_APPEND | os.O_DIRECT)):
        t(fcntl.fcntl, fd, fcntl.F_SETFL, flags)
        buffer[:] = bytes([ord("0") + number]) * PAGE
        t.note("written", os.writev(fd, [buffer]))
        t(os.write, fd, b"|")
        t.fstat(fd)
        t(os.pread, fd, 10 * PAGE, 0)
    t.close(fd)
    t.read("f")


# --- Writing in other ways --------------------------------------------------------------------


@pytest.mark.concurrent
@pytest.mark.parametrize("how", [0, os.O_DIRECT], ids=["cached", "direct"])
def test_appending_by_many_loses_nothing(each_own, how):
    """Each with a descriptor of its own, or two with one; records of all sizes, whole and in order."""
    path = each_own.path("log")
    count = 60
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | how
    shared = os.open(path, flags)

    def record(who, number):
        size = (1, 100, PAGE, 9000, 3)[number % 5]
        return b"%c%04d:%05d:" % (who, number, size) + b"%c" % who * size

    def append(_link, who, fd):
        if fd is None:
            fd = os.open(path, flags)
        for number in range(count):
            assert os.write(fd, record(who, number)) == len(record(who, number))

    with contextlib.ExitStack() as stack:
        writers = {who: shared if who in b"ab" else None for who in b"abcd"}
        children = [stack.enter_context(Child(append, who, fd)) for who, fd in writers.items()]
        for child in children:
            child.result()
    os.close(shared)
    seen = {who: 0 for who in writers}
    with open(path, "rb") as file:
        while head := file.read(12):
            who, number, size = head[0], int(head[1:5]), int(head[6:11])
            assert number == seen[who]
            assert head + file.read(size) == record(who, number)
            seen[who] += 1
    assert seen == {who: count for who in writers}


@like_the_kernels_own_in_each_mode_once
def test_one_write_appends_or_is_in_sync(t):
    t.write("f", b"0123456789" * 1000)
    fd, appender = t.open("f", os.O_RDWR), t.open("f", os.O_RDWR | os.O_APPEND)
    t(os.pwritev, fd, [b"appended"], 3, os.RWF_APPEND)
    t(os.pwritev, fd, [b"dsync"], 5, os.RWF_DSYNC)
    t(os.pwritev, fd, [b"sync"], 15, os.RWF_SYNC)
    t(os.pwrite, appender, b"end", 0)
    t(os.pwritev, fd, [b"appended", b" again"], 3, os.RWF_APPEND)
    t.fstat(fd)
    t.close(fd)
    t.close(appender)
    assert t.read("f")[-25:] == b"appendedendappended again"


@like_the_kernels_own_in_each_mode_once
def test_the_limit_of_a_process_on_sizes(t):
    t.write("source", b"x" * 100)

    def limited(t):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        for path, flags in (("f", 0), ("append", os.O_APPEND), ("direct", os.O_DIRECT)):
            fd = t.open(path, os.O_RDWR | os.O_CREAT | flags)
            assert t(os.pwrite, fd, b"x" * 20_000, 0) == 10_000
            t.refused(errno.EFBIG, os.pwrite, fd, b"x", 10_000)
            t(os.pwrite, fd, b"y" * 10, 9995)
            t.refused(errno.EFBIG, os.ftruncate, fd, 10_001)
            t.refused(errno.EFBIG, os.truncate, path, 20_000)
            t(kernel.fallocate, fd, 0, 0, 20_000)
            t.fstat(fd)
            t.close(fd)
        source, target = t.open("source"), t.open("target", os.O_WRONLY | os.O_CREAT)
        assert t(os.copy_file_range, source, target, 10, 0, 9995) == 5
        t.refused(errno.EFBIG, os.copy_file_range, source, target, 10, 0, 10_000)

    t.as_user(0, limited)
    for path in ("f", "append", "direct", "target"):
        t.stat(path)
        t.read(path)


@like_the_kernels_own_in_each_mode
def test_bytes_go_through_a_pipe(t):
    """splice(2) moves the kernel's pages instead of bytes."""
    data = pattern(30_000)
    t.write("f", data)
    reader, writer = os.pipe()
    source, target = t.open("f", os.O_RDWR), t.open("g", os.O_RDWR | os.O_CREAT)
    for off in (0, 100, 5000, 29_000, 30_000):
        n = os.splice(source, writer, 20_000, offset_src=off)
        t.note("spliced", n)
        done = 0
        while done < n:
            done += os.splice(reader, target, n - done, offset_dst=off + done)
        assert os.pread(target, n, off) == data[off : off + n]
        t.fstat(target)
    for fd in (source, target, reader, writer):
        os.close(fd)
    t.read("g")


@like_the_kernels_own_in_each_mode_once
def test_a_program_that_runs_is_not_written(t):
    shutil.copy("/bin/sleep", "sleep")

    def start(seconds):
        with subprocess.Popen([os.path.abspath("sleep"), seconds]) as process:
            if seconds != "0":
                t.refused(errno.ETXTBSY, os.open, "sleep", os.O_WRONLY)
                t.refused(errno.ETXTBSY, os.truncate, "sleep", 0)
                process.kill()
            return process.wait(20)

    fd = t.open("sleep", os.O_RDWR)
    t.refused(errno.ETXTBSY, start, "0")
    t.close(fd)
    assert t(start, "0") == 0
    assert t(start, "1000") == -signal.SIGKILL
    t.close(t.open("sleep", os.O_RDWR))


# --- Maps -------------------------------------------------------------------------------------


def end_of(function):
    """How a process ends that calls @function: with its result, an errno, or by a signal (negative)."""
    pid = os.fork()
    if pid == 0:
        faulthandler.disable()
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        status = 255
        try:
            status = function()
        except OSError as err:
            status = err.errno
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@like_the_kernels_own_in_each_mode
def test_maps_of_one_file_show_the_same(t):
    size = 5 * PAGE
    t.write("f", b"." * size)
    one_fd, two_fd = t.open("f", os.O_RDWR), t.open("f", os.O_RDWR)
    one, two = mmap.mmap(one_fd, size), mmap.mmap(two_fd, size)
    one[0:3] = b"one"
    two[PAGE : PAGE + 3] = b"two"
    assert two[0:3] == b"one" and one[PAGE : PAGE + 3] == b"two"
    assert t(os.pread, one_fd, PAGE + 3, 0) == b"one" + b"." * (PAGE - 3) + b"two"
    t(os.pwrite, one_fd, b"written", 2 * PAGE - 3)
    for mapped in (one, two):
        assert mapped[2 * PAGE - 3 : 2 * PAGE + 4] == b"written"
    # They live without their descriptors.
    t.close(one_fd)
    t.close(two_fd)
    one[3 * PAGE : 3 * PAGE + 5] = b"later"
    assert two[3 * PAGE : 3 * PAGE + 5] == b"later"
    t.read("f")
    late_fd = t.open("f", os.O_RDWR)
    late = mmap.mmap(late_fd, size)
    late[4 * PAGE : 4 * PAGE + 4] = b"late"
    assert one[:] == two[:] == late[:]
    for mapped in (one, two, late):
        mapped.close()
    t.close(late_fd)
    t.read("f")


def test_what_a_map_wrote_outlives_the_kernels_caches(each_own):
    """Without msync(2), and without a descriptor at the end."""
    path = each_own.path("f")
    data = pattern(50 * PAGE)
    with open(path, "wb") as file:
        file.truncate(len(data))
    with open(path, "r+b") as file:
        mapped = mmap.mmap(file.fileno(), len(data))
    mapped[:] = data
    mapped.close()
    for _ in range(2):
        kernel.drop_names(each_own.mount.mountpoint)
        with open(path, "rb") as file:
            assert file.read() == data


@like_the_kernels_own_in_each_mode_once
def test_maps_of_files_that_change_their_size(t):
    t.write("f", b"x" * 3 * PAGE)
    fd = t.open("f", os.O_RDWR)
    mapped = mmap.mmap(fd, 3 * PAGE)
    mapped[0:5] = b"first"
    t(os.ftruncate, fd, PAGE + 100)
    t.note("map", mapped[: 2 * PAGE])

    def ends_by(off):
        """How a process ends that looks at the map."""
        return end_of(lambda: mapped[off])

    assert t(ends_by, PAGE + 99) == ord("x")
    assert t(ends_by, 2 * PAGE) == -signal.SIGBUS
    t(os.ftruncate, fd, 3 * PAGE)
    t.note("map", mapped[:])
    assert mapped[PAGE + 100 :] == bytes(2 * PAGE - 100)
    mapped[2 * PAGE : 2 * PAGE + 5] = b"again"
    t.close(t.open("f", os.O_WRONLY | os.O_TRUNC))
    assert t(ends_by, 0) == -signal.SIGBUS
    t(os.pwrite, fd, b"new", 2 * PAGE)
    t.note("map", mapped[:])
    mapped.close()
    t.close(fd)
    t.read("f")


@like_the_kernels_own_in_each_mode_once
def test_maps_of_files_whose_name_is_gone(t):
    """Removed, and replaced by another that has a map as well."""
    t.write("f", b"old" + b"." * 2 * PAGE)
    t.write("g", b"new" + b"-" * 2 * PAGE)
    size = 2 * PAGE
    old_fd, new_fd = t.open("f", os.O_RDWR), t.open("g", os.O_RDWR)
    old, new = mmap.mmap(old_fd, size), mmap.mmap(new_fd, size)
    t(os.rename, "g", "f")
    old[PAGE : PAGE + 3] = b"OLD"
    new[PAGE : PAGE + 3] = b"NEW"
    t.read("f")
    t(os.unlink, "f")
    new[0:3] = b"yes"
    t(os.pread, old_fd, size, 0)
    t(os.pread, new_fd, size, 0)
    t.close(old_fd)
    t.close(new_fd)
    assert (old[0:3], old[PAGE : PAGE + 3]) == (b"old", b"OLD")
    assert (new[0:3], new[PAGE : PAGE + 3]) == (b"yes", b"NEW")
    t.write("f", b"third")
    old.close()
    new.close()
    t.read("f")


def test_a_map_past_the_size(limited):
    """The process ends, as on the kernel's tmpfs, or hears of it where the bytes are written back."""
    path = limited("size=1m")

    def write():
        with open(path + "/f", "w+b") as file:
            file.truncate(4 * MIB)
            with mmap.mmap(file.fileno(), 4 * MIB) as mapped:
                for off in range(0, 4 * MIB, PAGE):
                    mapped[off] = 1
                mapped.flush()
        return 0

    assert end_of(write) == (-signal.SIGBUS if limited.data == "kernel" else errno.ENOSPC)
    assert os.stat(path + "/f").st_size == 4 * MIB
    assert os.stat(path + "/f").st_blocks * 512 <= MIB
    os.unlink(path + "/f")
    with open(path + "/g", "wb", buffering=0) as file:
        assert file.write(b"x" * (MIB - 100_000)) == MIB - 100_000
        os.fsync(file.fileno())


# --- Holes and what is allocated --------------------------------------------------------------


def pages(path):
    """How many are in use.  Part of a page may do for the end of a file."""
    return -(-os.stat(path).st_blocks // 8)


@like_the_kernels_own_in_each_mode_once
def test_blocks_of_sparse_files(t):
    """Past 4 GiB, too: what was never written costs nothing.  The count is right once the file is closed."""

    def write_at(offsets):
        fd = os.open("f", os.O_RDWR | os.O_CREAT)
        for off in offsets:
            os.pwrite(fd, b"x" * 10, off)
        os.close(fd)

    for offsets in ((0,), (10 * PAGE,), (4 * GIB - 5,), (100 * GIB, 100 * GIB + PAGE), (1 << 42, 7 * GIB)):
        t(write_at, offsets)
        t.stat("f")
        t(pages, "f")
    assert pages("f") == 1 + 1 + 2 + 2 + 2
    for size in (1 << 42, 100 * GIB + PAGE, 4 * GIB, 10 * PAGE + 3, 0, 999_999_999_999_999):
        t(os.truncate, "f", size)
        t.stat("f")
        t(pages, "f")
    t(write_at, (999_999_999_999_990,))
    t.stat("f")
    t(pages, "f")
    t(os.unlink, "f")


def fallocate(fd, mode, off, size):
    kernel.fallocate(fd, mode, off, size)


@like_the_kernels_own_in_each_mode_once
def test_fallocate(t):
    keep = kernel.FALLOC_FL_KEEP_SIZE

    def allocate(mode, off, size):
        fd = os.open("f", os.O_RDWR)
        try:
            kernel.fallocate(fd, mode, off, size)
        finally:
            os.close(fd)

    t.write("f", pattern(10 * PAGE))
    for mode, off, size in (
        *((keep, 8 * PAGE, 5 * PAGE), (0, 100, 200), (0, 12 * PAGE + 1, 1), (keep, 0, 1), (0, 30 * PAGE, 10)),
        *((PUNCH, PAGE, PAGE), (PUNCH, 3 * PAGE + 100, 200), (PUNCH, 5 * PAGE - 1, 2 * PAGE + 2)),
        *((PUNCH, 12 * PAGE, 1 << 40), (PUNCH, 1 << 40, 5), (0, PAGE, 1), (PUNCH, 0, 1 << 40), (0, 0, 3 * PAGE)),
    ):
        t(allocate, mode, off, size)
        t.stat("f")
        t(pages, "f")
        t.read("f")
    t(os.truncate, "f", 10)
    t(pages, "f")


@like_the_kernels_own_once
def test_fallocate_that_is_refused(t):
    t.write("f", b"content")
    fd, reader = t.open("f", os.O_RDWR), t.open("f")
    for mode, off, size in ((0, 0, 0), (0, -1, 5), (0, 5, -1), (PUNCH, 0, 0)):
        t.refused(errno.EINVAL, fallocate, fd, mode, off, size)
    t.refused(errno.EBADF, fallocate, reader, 0, 0, 10)
    for mode in (kernel.FALLOC_FL_PUNCH_HOLE, 8, 32, 64, 1 << 20):  # without KEEP_SIZE, COLLAPSE, INSERT, UNSHARE, none
        t.refused(errno.EOPNOTSUPP, fallocate, fd, mode, 0, PAGE)
    t.refused(errno.EFBIG, fallocate, fd, 0, (1 << 63) - 10, 100)
    t(os.mkfifo, "p")
    pipe = t.open("p", os.O_RDWR)
    t(fallocate, pipe, 0, 0, 10)
    directory = t.open(".", os.O_RDONLY | os.O_DIRECTORY)
    t(fallocate, directory, 0, 0, 10)
    for each in (fd, reader, pipe, directory):
        t.close(each)
    t.read("f")
    t.stat("f")


@like_the_kernels_own_in_each_mode_once
def test_holes_are_punched_under_those_who_have_the_file(t):
    t.write("f", b"x" * 6 * PAGE)
    fd, other = t.open("f", os.O_RDWR), t.open("f")
    mapped = mmap.mmap(fd, 6 * PAGE)
    mapped[PAGE : PAGE + 5] = b"dirty"
    for off, size in ((PAGE, PAGE), (2 * PAGE + 10, 100), (4 * PAGE - 5, PAGE + 10)):
        t(os.pwrite, fd, b"fresh", off - 2)
        t(fallocate, fd, PUNCH, off, size)
        assert mapped[off : off + size] == os.pread(other, size, off) == bytes(size)
        t(os.pread, other, 6 * PAGE, 0)
    mapped[PAGE + 3 : PAGE + 8] = b"again"
    t(os.pread, other, 6 * PAGE, 0)
    mapped.close()
    t.close(fd)
    t.close(other)
    t.read("f")


@like_the_kernels_own_in_each_mode_once
def test_fallocate_changes_the_times(t):
    t.write("f", b"x" * 3 * PAGE)
    fd = t.open("f", os.O_RDWR)
    t.moved(("f",), fallocate, fd, 0, 0, 5 * PAGE)
    t.moved(("f",), fallocate, fd, PUNCH, 0, PAGE)
    t.moved(("f",), os.close, fd)
    t.stat("f")


@pytest.mark.parametrize("keep", [0, kernel.FALLOC_FL_KEEP_SIZE], ids=["grow", "keep_size"])
def test_a_range_of_zeros_is_allocated(each_tmpfs_once, keep):
    """More than the kernel's tmpfs can."""
    path = each_tmpfs_once.path("f")
    mode = kernel.FALLOC_FL_ZERO_RANGE | keep
    data = bytearray(pattern(10 * PAGE))
    with open(path, "w+b", buffering=0) as file:
        file.write(data)
        with mmap.mmap(file.fileno(), len(data)) as mapped:
            mapped[2 * PAGE : 2 * PAGE + 5] = data[2 * PAGE : 2 * PAGE + 5] = b"dirty"
            for off, size in ((2 * PAGE + 3, 100), (4 * PAGE - 1, PAGE + 2), (8 * PAGE, 6 * PAGE), (20 * PAGE, 10)):
                kernel.fallocate(file.fileno(), mode, off, size)
                data[off : off + size] = bytes(max(0, min(size, len(data) - off)))
                if not keep:
                    data.extend(bytes(max(0, off + size - len(data))))
                assert mapped[:] == data[: len(mapped)]
                assert os.pread(file.fileno(), MIB, 0) == data
    with open(path, "rb") as file:
        assert file.read() == data
    assert pages(path) == 10 + 4 + 1
