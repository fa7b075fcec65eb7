# SPDX-License-Identifier: MIT
"""A program that runs out of memory, threads or descriptors: it starts or says why not, and once it is mounted it
keeps its mount."""

import contextlib
import errno
import os
import re
import resource
import signal
import time

import pytest

from conftest import needs_root
from harness import kernel, mounts
from harness.children import Child
from test_library import DEADLINE_S, PATTERN, Probe, in_threads, list_and_stat

KIB = 1024
STACK_BYTES = 8 << 20

needs_address_space = pytest.mark.skipif(mounts.is_sanitized(), reason="a sanitizer takes all address space")


def before_exec_with_usual_stacks():
    mounts.before_exec()
    resource.setrlimit(resource.RLIMIT_STACK, (STACK_BYTES, resource.RLIM_INFINITY))


def limit_memory(mount, headroom_kib):
    """Lets the program have so much more address space than it has now; None: any amount."""
    limit = resource.RLIM_INFINITY
    if headroom_kib is not None:
        with open(f"/proc/{mount.pid}/status", encoding="ascii") as file:
            used_kib = int(re.search(r"^VmSize:\s+(\d+) kB", file.read(), re.MULTILINE)[1])
        limit = (used_kib + headroom_kib) * KIB
    resource.prlimit(mount.pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


@pytest.fixture
def start(new_mount):
    """Mounts probefs, and closes its control file before it is stopped."""
    with contextlib.ExitStack() as stack:

        def start_probe(*options):
            mount = new_mount(
                "probefs",
                *options,
                executable=mounts.executable("tests/probefs"),
                preexec_fn=before_exec_with_usual_stacks,
            )
            probe = Probe(mount)
            stack.callback(probe.close)
            return probe

        yield start_probe


def read_slowly(probe, n_threads, n_reads, may_be_refused=False):
    """Reads that take 5 ms each, in @n_threads at once."""

    def read(_number):
        try:
            fd = os.open(probe.path("slow"), os.O_RDONLY)
        except OSError as error:
            # An open file has to be remembered, and a thread that is being made may have what is left for a moment.
            assert may_be_refused and error.errno == errno.ENOMEM
            return
        try:
            for _ in range(n_reads):
                assert os.pread(fd, 100, 0) == b"slow\n"
        finally:
            os.close(fd)

    in_threads(n_threads, read)


# From nothing to more than one thread needs: where its stack still fits, its buffer may not.
HEADROOMS_KIB = [*range(0, 1024, 256), *range(STACK_BYTES // KIB, STACK_BYTES // KIB + 2048, 64)]


@needs_address_space
@pytest.mark.parametrize("headroom_kib", HEADROOMS_KIB)
def test_a_mount_outlives_a_thread_that_finds_no_memory(start, headroom_kib):
    probe = start("-o", "no_io_uring")
    limit_memory(probe.mount, headroom_kib)
    read_slowly(probe, 6, 3, may_be_refused=True)
    limit_memory(probe.mount, None)
    read_slowly(probe, 6, 3)


def count_readers(mount):
    n = 0
    for task in os.listdir(f"/proc/{mount.pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # of one that ends just now
            with open(f"/proc/{mount.pid}/task/{task}/comm", encoding="ascii") as file:
                n += file.read() == "fuse-dev\n"
    return n


@needs_address_space
def test_threads_come_once_there_is_memory_again(start):
    probe = start("-o", "no_io_uring")
    limit_memory(probe.mount, 1024)
    read_slowly(probe, 6, 5)
    missed = int(re.search(r"\[probefs\] cannot make thread (\d+) for requests: ", probe.mount.stderr())[1])
    assert missed <= 6
    deadline = time.monotonic() + DEADLINE_S
    while count_readers(probe.mount) != missed - 1:  # now and then there is one more, until it finds no buffer
        assert time.monotonic() < deadline, "not as many threads as the log says"
    limit_memory(probe.mount, None)
    deadline = time.monotonic() + DEADLINE_S
    while count_readers(probe.mount) < 6:
        assert time.monotonic() < deadline, "no thread more"
        read_slowly(probe, 6, 5)
    assert len(re.findall("cannot make thread", probe.mount.stderr())) == 1


def starts_with_memory(place, options, kib):
    """Whether lltest mounts and answers with so much address space; if it does, it must end as always."""

    def limit():
        before_exec_with_usual_stacks()
        resource.setrlimit(resource.RLIMIT_AS, (kib * KIB, kib * KIB))

    mount = mounts.Mount("lltest", place, *options, preexec_fn=limit)
    try:
        if mounts.wait_mounts(mount.is_mounted, pidfd=mount.pidfd):
            try:
                names = os.listdir(place)
            except OSError as err:
                assert err.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.ENOMEM)
                names = ["message"] if err.errno == errno.ENOMEM else []
            if names:  # else the mount was taken away at this moment
                assert names == ["message"]
                mount.stop()
                return True, mount.stderr()
        status = mount.wait()
        assert not mount.is_mounted()
        # Below a certain size the kernel or the dynamic loader gives up.
        assert status in (1, 127, -signal.SIGSEGV)
        assert mount.stderr().count("\n") == 1 or status != 1
        return False, mount.stderr()
    finally:
        mount.abandon()


@needs_root
@needs_address_space
def test_with_little_memory_it_starts_or_says_why_not(place, many):
    results = [starts_with_memory(place, many.options, kib) for kib in range(8000, 90000, 2000)]
    started = [has_started for has_started, _ in results]
    assert started == sorted(started)
    assert not started[0] and started[-1]
    assert any("cannot make thread 1 for requests: " in text for _, text in results)
    if many.is_uring:
        texts = [text for has_started, text in results if has_started]
        assert "io_uring could not be started, using /dev/fuse" in texts[0]
        assert texts[-1] == ""


@pytest.mark.concurrent
def test_a_full_table_of_descriptors_ends_nothing(start, transport):
    probe = start(*transport.options)
    probe.do("set a text")
    n = probe.mount.descriptors()
    resource.prlimit(probe.mount.pid, resource.RLIMIT_NOFILE, (n - 1, n - 1))

    def use(number):
        for turn in range(10):
            for name in ("descriptor", "mixed", "memory"):
                assert len(probe.read(name)) == len(PATTERN)
            fd = os.open(probe.path("descriptor"), os.O_RDONLY | os.O_DIRECT)
            try:
                assert os.pread(fd, 1 << 20, turn * 4096) == PATTERN[turn * 4096 : turn * 4096 + (1 << 20)]
            finally:
                os.close(fd)
            assert len(list_and_stat(probe.path("bare"))) == 20
            os.path.exists(probe.path(f"missing-{number}-{turn}"))

    in_threads(4, use)
    assert probe.read("a") == b"text"


def fill(_link, directory, who):
    """Writes files until long after there is room for no more.  Returns the names, and how often there was none."""
    names, n_failed = [], 0
    for number in range(40):
        path = os.path.join(directory, f"{who}-{number}")
        try:
            with open(path, "wb", buffering=0) as file:
                names.append(path)
                for _ in range(64):
                    file.write(bytes(1 << 16))
                os.fsync(file.fileno())
        except OSError as err:
            if err.errno not in (errno.ENOMEM, errno.ENOSPC, errno.EIO):
                raise
            n_failed += 1
    return names, n_failed


def until_there_is_memory(call, *args):
    """What a call returns, which may find no memory for a while."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            return call(*args)
        except OSError as err:
            # EIO: of a page that was not read or written for want of memory.
            if err.errno not in (errno.ENOMEM, errno.EIO) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def write_and_read(path):
    with open(path, "wb") as file:
        file.write(b"x" * 100000)
    with open(path, "rb") as file:
        assert file.read() == b"x" * 100000


@needs_address_space
@pytest.mark.parametrize("headroom_kib", [9000, 15000, 20000, 30000])
def test_a_tmpfs_whose_memory_is_full_can_be_emptied(new_mount, transport, headroom_kib):
    """With one arena, for else each thread would have one, and much of it in reserve."""
    mount = new_mount(
        "tmpfs",
        "-o",
        "data=heap",
        *transport.options,
        preexec_fn=before_exec_with_usual_stacks,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},
    )
    os.listdir(mount.mountpoint)
    limit_memory(mount, headroom_kib)
    filled = [child.result() for child in [Child(fill, mount.mountpoint, who) for who in range(4)]]
    assert all(n_failed for _, n_failed in filled)
    listed = until_there_is_memory(os.listdir, mount.mountpoint)
    for names, _ in filled:
        assert {os.path.basename(name) for name in names} <= set(listed)
        for name in names:
            until_there_is_memory(os.unlink, name)
    assert until_there_is_memory(os.listdir, mount.mountpoint) == []
    until_there_is_memory(write_and_read, os.path.join(mount.mountpoint, "f"))
