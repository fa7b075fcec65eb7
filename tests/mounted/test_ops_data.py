# SPDX-License-Identifier: MIT
"""The bytes of files: read, write, truncate, holes, maps, locks."""

import errno
import fcntl
import mmap
import os
import random

import pytest

from harness import kernel
from harness.children import Child
from harness.script import like_a_plain_directory

MIB = 1 << 20
GIB = 1 << 30


@like_a_plain_directory
def test_write_and_read(t):
    fd = t.open("f", os.O_RDWR | os.O_CREAT)
    t(os.write, fd, b"hello ")
    t(os.write, fd, b"world")
    t.fstat(fd)
    t(os.lseek, fd, 0, os.SEEK_SET)
    t(os.read, fd, 5)
    t(os.read, fd, 100)
    t(os.read, fd, 100)
    t(os.pread, fd, 3, 4)
    t(os.pread, fd, 3, 1000)
    t(os.pwrite, fd, b"", 1000)
    t.fstat(fd)
    t(os.lseek, fd, -3, os.SEEK_END)
    t(os.read, fd, 100)
    t(os.lseek, fd, -1, os.SEEK_SET)
    t(os.pwritev, fd, [b"ab", b"", b"cd"], 3)
    t.close(fd)
    t.read("f")
    fd = t.open("f", os.O_RDONLY)
    t(os.write, fd, b"x")
    t(os.ftruncate, fd, 0)
    t.close(fd)
    fd = t.open("f", os.O_WRONLY)
    t(os.read, fd, 1)
    t(os.pwrite, fd, b"W", 0)
    t.close(fd)
    t.read("f")


@like_a_plain_directory
def test_what_one_descriptor_writes_another_reads(t):
    one = t.open("f", os.O_RDWR | os.O_CREAT)
    two = t.open("f", os.O_RDONLY)
    for number in range(20):
        t(os.pwrite, one, b"%d" % number, number * 1000)
        t(os.pread, two, 4, number * 1000)
        t.fstat(two)
    t(os.ftruncate, one, 1500)
    t(os.pread, two, 4000, 900)
    t.close(one)
    t.close(two)


@like_a_plain_directory
def test_open_with_truncation(t):
    t.write("f", b"something long")
    other = t.open("f", os.O_RDWR)
    t.close(t.open("f", os.O_WRONLY | os.O_TRUNC))
    t.fstat(other)
    t(os.pread, other, 100, 0)
    t(os.pwrite, other, b"end", 7)
    t.read("f")
    t.close(t.open("f", os.O_RDONLY | os.O_TRUNC))
    t.stat("f")
    t.close(other)


@like_a_plain_directory
def test_truncate(t):
    t.write("f", bytes(range(256)) * 64)
    for size in (10_000, 16_383, 4096, 4097, 20_000, 1, 0, 70_000, 5):
        t(os.truncate, "f", size)
        t.stat("f")
        t.read("f")
    fd = t.open("f", os.O_RDWR)
    t(os.ftruncate, fd, 9000)
    t(os.pread, fd, 9000, 0)
    t(os.ftruncate, fd, -1)
    t.close(fd)
    t(os.truncate, "missing", 0)
    t(os.mkdir, "d")
    t(os.truncate, "d", 0)


@like_a_plain_directory
def test_shrinking_and_growing_leaves_zeros(t):
    """Bytes behind a truncation never come back."""
    fd = t.open("f", os.O_RDWR | os.O_CREAT)
    t(os.pwrite, fd, b"x" * 10_000, 0)
    t(os.ftruncate, fd, 5000)
    t(os.ftruncate, fd, 10_000)
    t(os.pread, fd, 10_000, 0)
    t(os.pwrite, fd, b"y" * 5000, 0)
    t(os.ftruncate, fd, 100)
    t(os.pwrite, fd, b"z", 9000)
    t(os.pread, fd, 10_000, 0)
    t.close(fd)
    t.read("f")


@like_a_plain_directory
def test_holes_read_as_zeros(t):
    fd = t.open("f", os.O_RDWR | os.O_CREAT)
    for at in (100_000, 1_000_000, 4095, 300_000):
        t(os.pwrite, fd, b"data", at)
    t.fstat(fd)
    t(os.pread, fd, 10, 99_998)
    t(os.pread, fd, 10, 0)
    t(os.pread, fd, 8, 4093)
    t(os.pread, fd, 200_000, 200_000)
    t.close(fd)
    t.read("f")


@like_a_plain_directory
def test_files_past_4_gib(t):
    fd = t.open("f", os.O_RDWR | os.O_CREAT)
    for at in (5 * GIB, 4 * GIB - 2, 2 * GIB - 1, 100 * GIB + 17):
        t(os.pwrite, fd, b"far away", at)
        t(os.pread, fd, 20, at - 4)
        t.fstat(fd)
    t(os.lseek, fd, -4, os.SEEK_END)
    t(os.read, fd, 10)
    t(os.ftruncate, fd, 5 * GIB + 3)
    t(os.pread, fd, 20, 5 * GIB)
    t(os.pread, fd, 10, GIB)
    t.close(fd)
    t.stat("f")


def test_an_enormous_size_costs_nothing_or_is_refused(fs):
    fd = os.open(fs.path("f"), os.O_RDWR | os.O_CREAT)
    try:
        try:
            os.ftruncate(fd, 999_999_999_999_999)
        except OSError as err:
            assert err.errno in (errno.EFBIG, errno.EINVAL)
        else:
            assert os.fstat(fd).st_size == 999_999_999_999_999
            assert os.fstat(fd).st_blocks < 1000
            assert os.pread(fd, 10, 999_999_999_999_989) == bytes(10)
        with pytest.raises(OSError) as refused:
            os.pwrite(fd, b"12345678", (1 << 63) - 4)
        assert refused.value.errno in (errno.EFBIG, errno.EINVAL)
    finally:
        os.close(fd)
        os.unlink(fs.path("f"))


def test_blocks_are_honest(tmpfs):
    path = tmpfs.path("f")
    with open(path, "wb", buffering=0) as file:
        os.ftruncate(file.fileno(), 100 * MIB)
        assert os.fstat(file.fileno()).st_blocks * 512 <= 64 * 1024
        os.pwrite(file.fileno(), b"x" * MIB, 50 * MIB)
    # While the file is open the kernel, where it collects the writes, keeps the count that it had.
    assert MIB <= os.stat(path).st_blocks * 512 <= MIB + 256 * 1024
    os.truncate(path, 10 * MIB)
    assert os.stat(path).st_blocks * 512 <= 256 * 1024


def test_blocks_are_exact_while_the_file_is_open(tmpfs_exact):
    with open(tmpfs_exact.path("f"), "w+b", buffering=0) as file:
        fd = file.fileno()
        for pages in (1, 2, 5):
            os.pwrite(fd, b"x" * 4096 * pages, 16 * 4096 * pages)
        assert os.fstat(fd).st_blocks == 8 * 8
        kernel.fallocate(fd, kernel.FALLOC_FL_PUNCH_HOLE | kernel.FALLOC_FL_KEEP_SIZE, 0, 20 * 4096)
        assert os.fstat(fd).st_blocks == 7 * 8


def test_mapped_writes_show_at_once_in_the_attributes(tmpfs_exact):
    """Blocks and times, of which neither the kernel's FUSE nor the program hears."""
    path = tmpfs_exact.path("f")
    with open(path, "wb") as file:
        file.truncate(8 * 4096)
    os.utime(path, (1, 1))
    assert os.stat(path).st_blocks == 0
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 8 * 4096) as mapped:
        mapped[0:3] = b"one"
        mapped[4 * 4096 : 4 * 4096 + 3] = b"two"
        mapped.flush()
        assert os.stat(path).st_blocks == 2 * 8
        mapped[5 * 4096 : 5 * 4096 + 3] = b"six"
        mapped.flush()
    assert os.stat(path).st_blocks == 3 * 8
    assert os.stat(path).st_mtime > 1


@like_a_plain_directory
def _seek_script(t):
    fd = t.open("f", os.O_RDWR | os.O_CREAT)
    t(os.lseek, fd, 0, os.SEEK_DATA)
    t(os.lseek, fd, 0, os.SEEK_HOLE)
    t(os.pwrite, fd, b"x" * 4096, MIB)
    t(os.pwrite, fd, b"y" * 10_000, 4 * MIB)
    t(os.ftruncate, fd, 6 * MIB)
    for at in (0, MIB - 1, MIB, MIB + 100, MIB + 4096, 4 * MIB, 4 * MIB + 9000, 5 * MIB, 6 * MIB - 1, 6 * MIB, 7 * MIB):
        t(os.lseek, fd, at, os.SEEK_DATA)
        t(os.lseek, fd, at, os.SEEK_HOLE)
    t(kernel.fallocate, fd, kernel.FALLOC_FL_PUNCH_HOLE | kernel.FALLOC_FL_KEEP_SIZE, 4 * MIB + 4096, 4096)
    t(os.lseek, fd, 4 * MIB, os.SEEK_HOLE)
    t(os.lseek, fd, 4 * MIB + 4096, os.SEEK_DATA)
    t.close(fd)


def test_holes_are_where_the_kernels_tmpfs_has_them(tmpfs_exact):
    _seek_script(tmpfs_exact)


def test_blocks_are_those_of_the_source(passthroughfs):
    with open(passthroughfs.path("f"), "wb") as file:
        file.write(b"x" * 300_000)
        file.truncate(5 * MIB)
        os.fsync(file.fileno())
    here, there = os.stat(passthroughfs.path("f")), os.stat(os.path.join(passthroughfs.source, "f"))
    assert (here.st_blocks, here.st_blksize, here.st_size) == (there.st_blocks, there.st_blksize, there.st_size)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_reads_and_writes_match_a_model(fs, seed):
    """Offsets around the borders of pages and chunks, against a bytearray."""
    rng = random.Random(seed)
    model = bytearray()
    borders = [0, 4096, 8192, 65536, 131072, 262144, MIB, 2 * MIB]
    fd = os.open(fs.path("f"), os.O_RDWR | os.O_CREAT)
    other = os.open(fs.path("f"), os.O_RDWR)
    try:
        for step in range(400):
            at = max(0, rng.choice(borders) + rng.randrange(-10, 10)) if rng.random() < 0.6 else rng.randrange(2 * MIB)
            size = rng.choice((1, 7, 100, 4096, 5000, rng.randrange(1, 200_000)))
            use = rng.choice((fd, other))
            kind = rng.random()
            if kind < 0.45:
                data = rng.randbytes(size)
                if len(model) < at:
                    model.extend(bytes(at - len(model)))
                model[at : at + size] = data
                assert os.pwrite(use, data, at) == size
            elif kind < 0.9:
                assert os.pread(use, size, at) == model[at : at + size], f"seed {seed}, step {step}"
            elif kind < 0.97:
                os.ftruncate(use, at)
                del model[at:]
                model.extend(bytes(at - len(model)))
            else:
                os.fsync(use)
            assert os.fstat(use).st_size == len(model), f"seed {seed}, step {step}"
    finally:
        os.close(fd)
        os.close(other)
    with open(fs.path("f"), "rb") as file:
        assert file.read() == model
    if fs.source:
        with open(os.path.join(fs.source, "f"), "rb") as file:
            assert file.read() == model


def test_large_writes_and_reads(fs):
    data = os.urandom(5 * MIB + 333)
    with open(fs.path("f"), "wb", buffering=0) as file:
        assert file.write(data) == len(data)
    with open(fs.path("f"), "rb", buffering=0) as file:
        assert file.read(len(data) + 1000) == data
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        file.seek(0)
        assert file.read(len(data) + 1000) == data


def test_append_from_two_processes_loses_nothing(fs):
    lines = 150

    def append(_link, who):
        fd = os.open(fs.path("log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for number in range(lines):
            os.write(fd, f"{who} {number:06} {'.' * (number % 50)}\n".encode())
        os.close(fd)

    children = [Child(append, who) for who in "ab"]
    for child in children:
        child.result()
    with open(fs.path("log"), encoding="ascii") as file:
        seen = file.read().splitlines()
    for who in "ab":
        assert [line for line in seen if line.startswith(who)] == [
            f"{who} {number:06} {'.' * (number % 50)}" for number in range(lines)
        ]
    assert len(seen) == 2 * lines


@like_a_plain_directory
def test_append(t):
    t.write("f", b"start")
    fd = t.open("f", os.O_RDWR | os.O_APPEND)
    t(os.write, fd, b" one")
    t(os.lseek, fd, 0, os.SEEK_SET)
    t(os.write, fd, b" two")
    t(os.truncate, "f", 3)
    t(os.write, fd, b" three")
    other = t.open("f", os.O_WRONLY)
    t(os.pwrite, other, b"far", 30)
    t(os.write, fd, b" end")
    t.close(other)
    t.close(fd)
    t.read("f")


def test_shared_map_is_read_and_written(fs):
    size = 3 * 65536
    with open(fs.path("f"), "w+b") as file:
        file.truncate(size)
        with mmap.mmap(file.fileno(), size) as one:
            one[0:5] = b"begin"
            one[size - 3 : size] = b"end"
            one[70_000:70_004] = b"page"
            one.flush()
            assert os.pread(file.fileno(), 5, 0) == b"begin"
            os.pwrite(file.fileno(), b"BEGIN", 0)
            assert one[0:5] == b"BEGIN"

            def other_process(_link):
                with open(fs.path("f"), "r+b") as again, mmap.mmap(again.fileno(), size) as two:
                    seen = two[70_000:70_004]
                    two[100_000:100_003] = b"two"
                    return seen

            with Child(other_process) as child:
                assert child.result() == b"page"
            assert one[100_000:100_003] == b"two"
    with open(fs.path("f"), "rb") as file:
        data = file.read()
    assert (data[:5], data[-3:], data[100_000:100_003], len(data)) == (b"BEGIN", b"end", b"two", size)
    if fs.source:
        with open(os.path.join(fs.source, "f"), "rb") as file:
            assert file.read() == data


def test_private_map_and_execution(fs):
    import shutil
    import subprocess

    shutil.copy("/bin/true", fs.path("true"))
    assert subprocess.run([fs.path("true")], timeout=20, check=False).returncode == 0
    with open(fs.path("true"), "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as copy:
        copy[0:4] = b"mine"
        assert os.pread(file.fileno(), 4, 0) == b"\x7fELF"


def test_the_map_of_an_unlinked_file_lives_on(fs):
    with open(fs.path("f"), "w+b") as file:
        file.write(b"x" * 100_000)
        file.flush()
        view = mmap.mmap(file.fileno(), 100_000)
    os.unlink(fs.path("f"))
    assert view[99_999] == ord("x")
    view[50_000:50_003] = b"yes"
    view.flush()
    assert view[50_000:50_003] == b"yes"
    view.close()


def map_and_close(path, size, left):
    """A shared mapping of @size bytes, of which the file has the first @left; nobody has it open any more."""
    with open(path, "w+b") as file:
        file.truncate(size)
        view = kernel.SharedMap(file.fileno(), size)
        file.truncate(left)
    return view


def test_the_map_of_an_empty_file_shows_no_other_files(fs):
    view = map_and_close(fs.path("mine"), 4096, 0)
    for n in range(300):
        with open(fs.path(f"other{n}"), "wb") as file:
            file.write(b"secret")
    os.truncate(fs.path("mine"), 4096)
    assert view[:6] == bytes(6)
    view[:6] = b"public"
    view.flush()
    view.close()
    for n in range(300):
        with open(fs.path(f"other{n}"), "rb") as file:
            assert file.read() == b"secret"
    with open(fs.path("mine"), "rb") as file:
        assert file.read(6) == b"public"


def test_what_is_stored_by_a_map_shows_without_an_open_file(each_tmpfs_once):
    view = map_and_close(each_tmpfs_once.path("f"), 1 << 20, 1 << 20)
    assert os.stat(each_tmpfs_once.path("f")).st_blocks == 0
    view[:] = b"x" * (1 << 20)
    view.flush()
    assert os.stat(each_tmpfs_once.path("f")).st_blocks == (1 << 20) // 512
    view.close()


@like_a_plain_directory
def test_sync(t):
    fd = t.open("f", os.O_RDWR | os.O_CREAT)
    t(os.write, fd, b"x" * 100_000)
    t(os.fsync, fd)
    t(os.fdatasync, fd)
    t.close(fd)
    fd = t.open(".", os.O_RDONLY | os.O_DIRECTORY)
    t(os.fsync, fd)
    t(os.fdatasync, fd)
    t.close(fd)
    fd = t.open("f", os.O_WRONLY | os.O_SYNC)
    t(os.write, fd, b"y")
    t.close(fd)


def test_direct_io(fs):
    """O_DIRECT reads and writes the same bytes as the page cache does, or is refused."""
    with open(fs.path("f"), "wb") as file:
        file.write(b"a" * 65536)
    try:
        fd = os.open(fs.path("f"), os.O_RDWR | os.O_DIRECT)
    except OSError as err:
        assert err.errno == errno.EINVAL
        return
    try:
        page = mmap.mmap(-1, 8192)
        assert os.preadv(fd, [page], 4096) == 8192
        assert page[:] == b"a" * 8192
        page[:] = b"b" * 8192
        assert os.pwritev(fd, [page], 8192) == 8192
    finally:
        os.close(fd)
    with open(fs.path("f"), "rb") as file:
        assert file.read() == b"a" * 8192 + b"b" * 8192 + b"a" * 49152


def test_copy_file_range(fs):
    data = os.urandom(300_000)
    with open(fs.path("from"), "wb") as file:
        file.write(data)
    source, target = os.open(fs.path("from"), os.O_RDONLY), os.open(fs.path("to"), os.O_RDWR | os.O_CREAT)
    try:
        done = 0
        while done < 200_000:
            n = os.copy_file_range(source, target, 200_000 - done, 50_000 + done, 10 + done)
            assert n > 0
            done += n
        assert os.copy_file_range(source, target, 100, 300_000, 0) == 0
        assert os.fstat(target).st_size == 200_010
    finally:
        os.close(source)
        os.close(target)
    with open(fs.path("to"), "rb") as file:
        assert file.read() == bytes(10) + data[50_000:250_000]


def test_sendfile_out_and_in(fs):
    data = os.urandom(200_000)
    with open(fs.path("a"), "wb") as file:
        file.write(data)
    with open(fs.path("a"), "rb") as one, open(fs.path("b"), "wb") as two:
        done = 0
        while done < len(data):
            done += os.sendfile(two.fileno(), one.fileno(), done, len(data) - done)
    with open(fs.path("b"), "rb") as file:
        assert file.read() == data


def _fallocate(fd, mode, off, size):
    """False where the file system says that it does not do this."""
    try:
        kernel.fallocate(fd, mode, off, size)
    except OSError as err:
        assert err.errno == errno.EOPNOTSUPP
        return False
    return True


def test_fallocate_grows_the_file(fs):
    with open(fs.path("f"), "w+b") as file:
        if not _fallocate(file.fileno(), 0, 0, 100_000):
            pytest.skip("not supported, as it says itself")
        assert os.fstat(file.fileno()).st_size == 100_000
        assert _fallocate(file.fileno(), kernel.FALLOC_FL_KEEP_SIZE, 100_000, 100_000)
        assert os.fstat(file.fileno()).st_size == 100_000
        assert os.pread(file.fileno(), 200_000, 0) == bytes(100_000)
        with pytest.raises(OSError) as refused:
            kernel.fallocate(file.fileno(), 0, 0, 0)
        assert refused.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    "mode", [kernel.FALLOC_FL_PUNCH_HOLE | kernel.FALLOC_FL_KEEP_SIZE, kernel.FALLOC_FL_ZERO_RANGE]
)
def test_fallocate_makes_zeros(fs, mode):
    with open(fs.path("f"), "w+b") as file:
        file.write(b"x" * 100_000)
        file.flush()
        if not _fallocate(file.fileno(), mode, 10_001, 50_000):
            pytest.skip("not supported, as it says itself")
        assert os.pread(file.fileno(), 100_000, 0) == b"x" * 10_001 + bytes(50_000) + b"x" * 39_999
        os.fsync(file.fileno())
        assert os.fstat(file.fileno()).st_size == 100_000


def test_seek_data_and_hole(fs):
    """Every byte of data is found; what is told to be a hole reads as zeros."""
    fd = os.open(fs.path("f"), os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(fd, b"x" * 4096, MIB)
        os.pwrite(fd, b"y" * 4096, 4 * MIB)
        os.ftruncate(fd, 6 * MIB)
        data, at = set(), 0
        while True:
            try:
                start = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as err:
                assert err.errno == errno.ENXIO
                break
            at = os.lseek(fd, start, os.SEEK_HOLE)
            assert at > start
            data.update(range(start // 4096, -(-at // 4096)))
        assert {MIB // 4096, 4 * MIB // 4096} <= data
        assert os.lseek(fd, 5 * MIB, os.SEEK_HOLE) <= 6 * MIB
        with pytest.raises(OSError) as refused:
            os.lseek(fd, 6 * MIB, os.SEEK_DATA)
        assert refused.value.errno == errno.ENXIO
    finally:
        os.close(fd)


@pytest.mark.parametrize("lock", [fcntl.flock, fcntl.lockf])
def test_locks_between_processes(fs, lock):
    """flock and POSIX locks: refused, granted when given up, and given up by the owner's end."""
    path = fs.path("f")
    with open(path, "wb"):
        pass

    def holder(link):
        with open(path, "r+b") as file:
            lock(file, fcntl.LOCK_EX)
            link.tell("locked")
            link.hear()
            lock(file, fcntl.LOCK_UN)
            link.tell("unlocked")
            link.hear()
            lock(file, fcntl.LOCK_EX)
            link.tell("locked")
            link.hear()

    with Child(holder) as child, open(path, "r+b") as file:
        child.link.hear()
        with pytest.raises(BlockingIOError):
            lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        child.link.tell("unlock")
        child.link.hear()
        lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lock(file, fcntl.LOCK_UN)
        child.link.tell("lock")
        child.link.hear()
        with pytest.raises(BlockingIOError):
            lock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        child.link.tell("end")
        child.result()
        lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_posix_locks_of_ranges(fs):
    path = fs.path("f")
    with open(path, "wb") as file:
        file.write(b"x" * 100)

    def holder(link):
        with open(path, "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX, 10, 20)
            link.tell("locked")
            link.hear()

    with Child(holder) as child, open(path, "r+b") as file:
        child.link.hear()
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 20, 0)
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 20, 30)
        with pytest.raises(BlockingIOError):
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 20, 15)
        child.link.tell("end")
        child.result()


def test_a_blocking_lock_is_granted_and_holds_nobody_up(fs):
    path = fs.path("f")
    with open(path, "wb"):
        pass

    def waiter(link):
        with open(path, "r+b") as file:
            link.tell("about to wait")
            fcntl.flock(file, fcntl.LOCK_EX)
            return "granted"

    with open(path, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        children = [Child(waiter) for _ in range(4)]
        for child in children:
            child.link.hear()
        kernel.wait_for_lock_waiters(path, 4)
        with open(fs.path("meanwhile"), "wb") as other:
            other.write(b"works")
        fcntl.flock(file, fcntl.LOCK_UN)
        for child in children:
            assert child.result(20) == "granted"
