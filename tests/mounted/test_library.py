# SPDX-License-Identifier: MIT
"""The library itself, through probefs, whose files exercise one feature each (see probefs.c), and hello."""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import re
import select
import signal
import struct
import threading
import time

import pytest

from conftest import needs_root
from harness import kernel, mounts
from harness.children import Child
from harness.files import error_of

CAP_WRITEBACK_CACHE = 1 << 0
CAP_PASSTHROUGH = 1 << 1
TRANSPORT_DEV_FUSE = 1
TRANSPORT_IO_URING = 2
PATTERN_BYTES = (1 << 20) + 12345
SHORT_BYTES = 300000
TORN_BYTES = 5 * 65536
DEADLINE_S = 20
IN_DELETE_SELF = 0x400

libc = ctypes.CDLL(None, use_errno=True)


class Probe:
    """A mounted probefs and the far end of its control file."""

    def __init__(self, mount, is_direct=True):
        self.mount = mount
        self._is_direct = is_direct
        self.dir = mount.mountpoint
        self.fd = os.open(self.path("control"), os.O_RDWR | os.O_CLOEXEC)

    def close(self):
        with contextlib.suppress(OSError):  # of the flush on a mount that has ended
            os.close(self.fd)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def ask(self, command):
        """The result of a command, as text.  The command is carried out by a thread of probefs."""
        os.write(self.fd, command.encode())
        assert kernel_poll(self.fd, select.POLLIN, DEADLINE_S), f"{command}: no answer"
        # Without an open handler nothing says that the page cache is not to be used.
        result = os.pread(self.fd, 4096, 0) if self._is_direct else os.getxattr(self.fd, "user.result")
        return result.decode()

    def __call__(self, command):
        return int(self.ask(command))

    def stop(self):
        with contextlib.suppress(OSError):  # the answer may not come any more
            os.write(self.fd, b"stop")

    def do(self, command):
        assert self(command) == 0, command

    def requests(self, op, function):
        """How many requests of one type reach the handlers while @function runs.  What asking costs is known."""
        first = self(f"stats {op}")
        second = self(f"stats {op}")
        function()
        return self(f"stats {op}") - second - (second - first)

    def wait_for(self, command, value):
        """For what follows from a request that nobody waits for, such as release and forget."""
        deadline = time.monotonic() + DEADLINE_S
        while (found := self(command)) != value:
            assert time.monotonic() < deadline, f"{command}: {found}, never {value}"
            time.sleep(0.01)

    def ino(self, name):
        return self(f"ino {name}")

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()


def kernel_poll(fd, events, timeout_s):
    poll = select.poll()
    poll.register(fd, events)
    return [ready for _, ready in poll.poll(timeout_s * 1000)]


@pytest.fixture
def start(new_mount):
    """Mounts probefs with these options; its control file is closed before it is stopped."""
    with contextlib.ExitStack() as stack:

        def start_probe(*options):
            options = (*options, "-o", "allow_other") if os.geteuid() == 0 else options
            mount = new_mount("probefs", *options, executable=mounts.executable("tests/probefs"))
            probe = Probe(mount, "--no-open" not in options)
            stack.callback(probe.close)
            return probe

        yield start_probe


@pytest.fixture
def probe(start, transport):
    return start(*transport.options)


@pytest.fixture
def probe_many(start, many):
    return start(*many.options)


def with_fd(path, flags, function):
    fd = os.open(path, flags)
    try:
        return function(fd)
    finally:
        os.close(fd)


# --- Transport, life cycle --------------------------------------------------------------------


def test_the_transport_that_was_asked_for_runs(start, transport):
    probe = start(*transport.options, "--debug")
    assert probe("transport") == (TRANSPORT_IO_URING if transport.is_uring else TRANSPORT_DEV_FUSE)
    assert f"transport: {'io_uring' if transport.is_uring else '/dev/fuse'}, " in probe.mount.stderr()


@pytest.mark.parametrize(
    "how", ["stop", signal.SIGTERM, signal.SIGINT, signal.SIGHUP, pytest.param("umount", marks=needs_root)]
)
def test_init_and_destroy_are_called_once_each(start, transport, how):
    probe = start(*transport.options)
    probe.do("set a text")
    assert probe.read("a") == b"text"
    if how == "stop":
        probe.stop()
        assert probe.mount.wait() == 0
        assert not probe.mount.is_mounted()
    elif how == "umount":
        # The control file is open: detached, the mount ends when it is closed.
        kernel.umount(probe.dir, kernel.MNT_DETACH)
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, probe.fd)
        os.close(null)
        assert probe.mount.wait() == 0
    else:
        probe.mount.stop(how)
    log = probe.mount.stderr()
    assert [line.split("] ")[1] for line in log.splitlines() if re.search(r"\] (init|destroy|main: .*)$", line)] == [
        "init",
        "main: 0",
        "destroy",
    ]


def test_a_session_that_was_stopped_before_it_ran_ends_at_once(work, place, transport):
    mount = mounts.Mount(
        "probefs", place, "--stop-early", *transport.options, executable=mounts.executable("tests/probefs")
    )
    try:
        assert mount.wait() == 0
        assert not mount.is_mounted()
        assert f"notify before main: {-errno.ENODEV}\n" in mount.stderr()
    finally:
        mount.abandon()


@needs_root  # to unmount it afterwards
def test_close_without_unmounting_leaves_a_dead_mount(start, transport):
    probe = start(*transport.options, "--keep-mounted")
    probe.stop()
    try:
        assert probe.mount.wait() == 0
        assert probe.mount.is_mounted()
        # Over io_uring the kernel lets go of the connection a little later than the process.
        deadline = time.monotonic() + DEADLINE_S
        while (err := error_of(os.listdir, probe.dir)) == errno.ECONNABORTED and time.monotonic() < deadline:
            time.sleep(0.01)
        assert err == errno.ENOTCONN
    finally:
        kernel.umount(probe.dir, kernel.MNT_DETACH)


def open_and_stay(link, path, flags):
    fd = os.open(path, flags)
    link.tell("open")
    link.hear()
    with contextlib.suppress(OSError):  # of the flush on a mount that has ended
        os.close(fd)


def opens_and_releases(mount):
    return tuple(map(int, re.search(r"\] opens: (\d+), releases: (\d+)\n", mount.stderr()).groups()))


def test_what_is_open_at_the_end_is_released_before_destroy(start, transport):  # L11
    probe = start(*transport.options, "--opendir")
    probe.do("set a text")
    flags = [
        ("a", os.O_RDONLY),
        ("a", os.O_RDWR),
        ("new", os.O_RDWR | os.O_CREAT),
        ("many", os.O_RDONLY | os.O_DIRECTORY),
        ("many", os.O_RDONLY | os.O_DIRECTORY),
    ]
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(Child(open_and_stay, probe.path(name), how)) for name, how in flags]
        for child in held:
            assert child.link.hear() == "open"
        probe.mount.stop()
        for child in held:
            child.link.tell("leave")
            child.result()
    opened, released = opens_and_releases(probe.mount)
    # And the control file; and the root, by way of which the kernel is told to write back.
    assert opened == released > len(flags) + 1


def test_hello_is_a_whole_file_system(new_mount, transport):
    mount = new_mount("hello", *transport.options)
    assert os.listdir(mount.mountpoint) == ["hello"]
    with open(os.path.join(mount.mountpoint, "hello"), "rb") as file:
        assert file.read() == b"Hello, world!\n"
        assert os.fstat(file.fileno()).st_mode == 0o100444
    with pytest.raises(FileNotFoundError):
        os.stat(os.path.join(mount.mountpoint, "other"))


@pytest.mark.parametrize("value", ["a,b", "a\\b", "a,subtype=b", "x,ro"])
def test_values_with_commas_and_backslashes_reach_the_mount(new_mount, value):
    escaped = value.replace("\\", "\\\\").replace(",", "\\,")
    mount = new_mount("hello", "-o", f"fsname={escaped}")
    entry = mounts.mount_at(mount.mountpoint)
    assert entry.source == value
    assert entry.fstype == "fuse.hello"
    assert "rw" in entry.options


# --- Notifications ----------------------------------------------------------------------------


def test_inval_inode_makes_new_content_seen(probe):
    probe.do("set a one")
    assert probe.read("a") == b"one"
    probe.do("set a two")
    assert probe.read("a") == b"one"
    probe.do(f"inval_inode {probe.ino('a')} 0 0")
    assert probe.read("a") == b"two"


def test_inval_inode_makes_a_new_size_seen(probe):
    size = lambda: os.stat(probe.path("a")).st_size  # noqa: E731
    probe.do("set a one")
    assert size() == 3
    probe.do("set a longer")
    assert size() == 3
    probe.do(f"inval_inode {probe.ino('a')} 0 0")
    assert size() == 6
    assert probe.read("a") == b"longer"


def test_inval_inode_of_the_attributes_keeps_the_data(probe):
    probe.do("set a one")
    assert probe.read("a") == b"one"
    probe.do("set a two")
    stat = lambda: os.stat(probe.path("a"))  # noqa: E731
    stat()  # reading has made the access time stale
    assert probe.requests("getattr", stat) == 0
    probe.do(f"inval_inode {probe.ino('a')} -1 0")
    assert probe.requests("getattr", stat) == 1
    assert probe.read("a") == b"one"


def test_inval_entry_makes_another_file_of_the_name_seen(probe):
    probe.do("set a old")
    old = os.stat(probe.path("a")).st_ino
    probe.do("remove a")
    probe.do("set a new")
    assert os.stat(probe.path("a")).st_ino == old
    probe.do("inval_entry a")
    assert os.stat(probe.path("a")).st_ino != old
    assert probe.read("a") == b"new"


def test_inval_entry_ends_that_a_name_is_missing(probe):
    assert not os.path.exists(probe.path("a"))
    probe.do("set a text")
    assert not os.path.exists(probe.path("a"))
    probe.do("inval_entry a")
    assert probe.read("a") == b"text"


def test_what_the_kernel_does_not_know_is_no_error_but_told(probe):
    assert probe("inval_inode 77 0 0") == -errno.ENOENT
    assert probe("inval_entry unknown") == -errno.ENOENT
    assert probe("expire_entry unknown") in (-errno.ENOENT, -errno.ENOSYS)
    assert probe("delete 77 unknown") == -errno.ENOENT


def test_delete_tells_those_who_watch_the_file(probe):
    probe.do("set a text")
    path = os.fsencode(probe.path("a"))
    ino = os.stat(path).st_ino
    watch = libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        assert libc.inotify_add_watch(watch, path, IN_DELETE_SELF) >= 0
        with open(path, "rb") as opened:
            probe.do("remove a")
            assert os.path.exists(path)
            probe.do(f"delete {ino} a")
            assert not os.path.exists(path)
            assert opened.read() == b"text"
        assert kernel_poll(watch, select.POLLIN, DEADLINE_S)
        assert struct.unpack_from("iI", os.read(watch, 4096))[1] == IN_DELETE_SELF
    finally:
        os.close(watch)


def test_delete_of_another_file_of_the_name_is_refused(probe):
    probe.do("set a text")
    os.stat(probe.path("a"))
    assert probe(f"delete {probe.ino('link')} a") == -errno.ENOENT
    assert os.path.exists(probe.path("a"))


def test_expire_entry_asks_again(probe):
    probe.do("set a text")
    stat = lambda: os.stat(probe.path("a"))  # noqa: E731
    stat()
    assert probe.requests("lookup", stat) == 0
    probe.do("expire_entry a")
    assert probe.requests("lookup", stat) == 1
    assert probe.requests("lookup", stat) == 0


def test_store_fills_the_page_cache(probe):
    probe.do("set a 0123456789")
    os.stat(probe.path("a"))
    probe.do(f"store {probe.ino('a')} 0 abcdefghij")
    found = []
    assert probe.requests("read", lambda: found.append(probe.read("a"))) == 0
    assert found == [b"abcdefghij"]
    probe.do(f"inval_inode {probe.ino('a')} 0 0")
    assert probe.read("a") == b"0123456789"


def test_increment_epoch_ends_the_time_of_all_names(probe):
    names = [probe.path(name) for name in ("memory", "room", "mixed")]
    look = lambda: [os.stat(name) for name in names]  # noqa: E731
    look()
    assert probe.requests("lookup", look) == 0
    result = probe("epoch")
    if result == -errno.ENOSYS:
        pytest.skip("this kernel has no epochs")
    assert result == 0
    assert probe.requests("lookup", look) >= 3


# --- Lookup counts and listings ---------------------------------------------------------------


def list_and_stat(directory):
    with os.scandir(directory) as entries:
        return {entry.name: entry.stat(follow_symlinks=False).st_size for entry in entries}


@needs_root
def test_what_listings_count_is_given_back(probe):
    expected = {f"m{number:05}": number for number in range(5000)}
    assert list_and_stat(probe.path("many")) == expected
    assert list_and_stat(probe.path("many")) == expected
    list_and_stat(probe.dir)
    assert probe("lookups") > 1
    control = probe.ino("control")  # is open
    deadline = time.monotonic() + DEADLINE_S
    while held := probe("lookups") - probe(f"lookups_of {control}"):
        assert time.monotonic() < deadline, f"{held} lookups are still held"
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("2")
        time.sleep(0.02)
    assert "BUG" not in probe.mount.stderr()


@pytest.mark.parametrize("size", [64, 200, 4096, 1 << 20])
def test_listings_are_whole_with_any_buffer(probe, size):
    fd = os.open(probe.path("many"), os.O_RDONLY | os.O_DIRECTORY)
    names = []
    try:
        while entries := kernel.getdents(fd, size):
            names += [os.fsdecode(entry[0]) for entry in entries]
            if size < 4096 and len(names) > 500:
                break
    finally:
        os.close(fd)
    assert names == [f"m{number:05}" for number in range(5000)][: len(names)]
    assert len(names) == 5000 or size < 4096


def test_listings_without_attributes(probe):
    before = probe("lookups")
    assert list_and_stat(probe.path("bare")) == {f"b{number:05}": 7 for number in range(20)}
    # One for each name that was looked up, and one for the directory.
    assert probe("lookups") - before == 21
    with os.scandir(probe.path("bare")) as entries:
        assert all(entry.is_file() for entry in entries)


def test_the_longest_name_is_listed_and_never_taken_for_the_end(probe):
    longest = "n" * 4095
    if error_of(os.listdir, probe.path("long")) == errno.EIO:
        pytest.skip("before Linux 6.15")
    assert os.listdir(probe.path("long")) == [longest]
    fd = os.open(probe.path("long"), os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert os.stat(longest, dir_fd=fd).st_size == 7
        assert error_of(lambda: os.stat("m" + longest, dir_fd=fd)) == errno.ENAMETOOLONG
        assert error_of(kernel.getdents, fd, 4096) == errno.EINVAL
    finally:
        os.close(fd)


def test_readdirplus_is_used_and_saves_lookups(probe):
    os.stat(probe.path("many"))
    assert probe.requests("lookup", lambda: list_and_stat(probe.path("many"))) < 100
    assert probe("stats readdirplus") > 0


# --- Workers ----------------------------------------------------------------------------------


def in_threads(n, function):
    """Runs function(number) in @n threads spread over all CPUs; raises what they raised."""
    failures = []
    cpus = sorted(os.sched_getaffinity(0))

    def run(number):
        os.sched_setaffinity(0, {cpus[number % len(cpus)]})
        try:
            function(number)
        except BaseException as err:  # pylint: disable=broad-exception-caught
            failures.append(err)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.concurrent
def test_one_worker_never_overlaps_its_handlers(probe, transport):
    def read_slowly(number):
        fd = os.open(probe.path("slow"), os.O_RDONLY)
        try:
            for turn in range(8):
                assert os.pread(fd, 100, 0) == b"slow\n"
                os.path.exists(probe.path("many", f"m{number * 100 + turn:05}"))
                os.path.exists(probe.path(f"missing-{number}-{turn}"))
        finally:
            os.close(fd)

    probe("max_concurrency")
    in_threads(8, read_slowly)
    most = probe("max_concurrency")
    assert most == 1 if transport.is_single else most > 1


@pytest.mark.concurrent
def test_everything_at_once(probe):
    """Reads that hold a lock until the answer is sent, changes behind the kernel's back, listings, files."""
    probe.do("set a " + "x" * 3000)
    ino = probe.ino("a")
    stop = threading.Event()

    def change():
        for turn in range(60):
            probe.do("set a " + "xy"[turn % 2] * 3000)
            probe.do(f"inval_inode {ino} 0 0")
            probe("stats read")
        stop.set()

    def use(number):
        turn = 0
        while not stop.is_set():
            turn += 1
            content = probe.read("a")
            assert len(content) == 3000
            assert set(content) <= set(b"xy")
            if number % 2:
                list_and_stat(probe.path("bare"))
            with_fd(probe.path("mixed"), os.O_RDONLY | os.O_DIRECT, lambda fd: os.pread(fd, 100000, turn * 1000))
            if number == 0 and turn <= 20:
                path = probe.path(f"new{turn}")
                with open(path, "wb") as file:
                    file.write(b"z" * 5000)
                os.setxattr(path, "user.x", b"1")
                os.unlink(path)

    in_threads(4, lambda number: change() if number == 3 else use(number))
    probe.wait_for("unreleased", 0)
    assert "BUG" not in probe.mount.stderr()


def uses_tsan(pid):
    with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
        return "libtsan" in file.read()


@pytest.mark.concurrent
def test_a_stack_trace_names_all_threads_and_disturbs_nobody(probe_many):
    probe = probe_many
    stop = threading.Event()

    def use(_number):
        fd = os.open(probe.path("slow"), os.O_RDONLY)
        try:
            while not stop.is_set():
                assert os.pread(fd, 100, 0) == b"slow\n"
                list_and_stat(probe.path("bare"))
        finally:
            os.close(fd)

    def trace():
        try:
            for turn in range(1, 2 if uses_tsan(probe.mount.pid) else 4):
                before = set(os.listdir(f"/proc/{probe.mount.pid}/task"))
                probe.mount.send_signal(signal.SIGUSR2)
                probe.mount.wait_logged(r"(?s)(\[stacktrace\] end\n.*){%d}\Z" % turn)
                after = set(os.listdir(f"/proc/{probe.mount.pid}/task"))
                named = set(re.findall(r"\[stacktrace\] thread (\d+)", probe.mount.stderr()))
                assert before & after <= named
        finally:
            stop.set()

    in_threads(4, lambda number: trace() if number == 3 else use(number))
    log = probe.mount.stderr()
    assert re.search(r"\[stacktrace\] thread \d+ \(notifier\):", log)
    assert re.search(r"\[stacktrace\] thread \d+ \(signals\):", log)
    if not uses_tsan(probe.mount.pid):  # which has a thread of its own, and keeps signals back
        assert re.search(r"\[stacktrace\] thread \d+ \(fuse-dev\):", log)
        assert "does not answer" not in log


def test_a_stack_trace_on_request(probe):
    probe.do("stacktrace")
    assert probe.mount.stderr().endswith("[stacktrace] end\n")


def test_counters_are_logged_on_request(probe):
    os.stat(probe.path("room"))
    assert not os.path.exists(probe.path("missing"))
    probe.mount.send_signal(signal.SIGUSR1)
    probe.mount.wait_logged(r"\] stats: end$")
    lookups = re.search(r"\] stats: lookup count=(\d+) errors=0 latency((?: \d+ns:\d+)+)$", probe.mount.stderr(), re.M)
    assert int(lookups[1]) == sum(int(bucket.split(":")[1]) for bucket in lookups[2].split())


# --- Data -------------------------------------------------------------------------------------


def pattern():
    return bytes((i ^ (i >> 8) ^ (i >> 16)) & 0xFF for i in range(PATTERN_BYTES))


PATTERN = pattern()


def with_zeros(chunk, kinds, zero_kind):
    parts = []
    for number in range((PATTERN_BYTES + chunk - 1) // chunk):
        part = PATTERN[number * chunk : (number + 1) * chunk]
        parts.append(bytes(len(part)) if number % kinds == zero_kind else part)
    return b"".join(parts)


CONTENTS = {
    "room": PATTERN,
    "memory": PATTERN,
    "descriptor": PATTERN,
    "segments1000": with_zeros(1000, 2, 1),
    "segments40000": with_zeros(40000, 2, 1),
    "segments200000": with_zeros(200000, 2, 1),
    "mixed": with_zeros(5000, 3, 2),
}
PLACES = [
    (0, 1 << 20),
    (0, PATTERN_BYTES + 5000),
    (1, 4096),
    (4097, 131072),
    (999, 3),
    (12345, 1 << 20),
    (199999, 200002),
    (PATTERN_BYTES - 10, 100),
    (PATTERN_BYTES, 100),
    (PATTERN_BYTES + 100, 100),
]


@pytest.mark.parametrize("name", CONTENTS)
def test_answers_are_right_at_any_place(probe, name):
    expected = CONTENTS[name]
    fd = os.open(probe.path(name), os.O_RDONLY | os.O_DIRECT)
    try:
        for off, size in PLACES:
            got = os.pread(fd, size, off)
            assert got == expected[off : off + size], (off, size)
    finally:
        os.close(fd)
    assert probe.read(name) == expected
    probe.wait_for("unreleased", 0)


def test_a_shorter_file_behind_a_descriptor_ends_the_answer(probe):
    fd = os.open(probe.path("short"), os.O_RDONLY | os.O_DIRECT)
    try:
        assert os.pread(fd, 1000, SHORT_BYTES - 10) == PATTERN[SHORT_BYTES - 10 : SHORT_BYTES]
        assert os.pread(fd, 1 << 20, 0) == PATTERN[:SHORT_BYTES]
        assert os.pread(fd, 1000, SHORT_BYTES) == b""
        assert os.pread(fd, 1000, SHORT_BYTES + 5000) == b""
        assert os.pread(fd, 1000, 0) == PATTERN[:1000]
    finally:
        os.close(fd)
    with open(probe.path("short"), "rb", buffering=0) as file:
        # One request at a time: of several short answers the kernel takes the size from the first that arrives.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert b"".join(iter(lambda: file.read(4096), b"")) == PATTERN[:SHORT_BYTES]
    probe.wait_for("unreleased", 0)


def test_a_descriptor_that_cannot_be_read_is_an_error(probe):
    for _ in range(3):
        with pytest.raises(OSError) as info:
            with_fd(probe.path("broken"), os.O_RDONLY | os.O_DIRECT, lambda fd: os.pread(fd, 5000, 0))
        assert info.value.errno in (errno.EBADF, errno.EIO)
    probe.wait_for("unreleased", 0)
    assert os.readlink(probe.path("link")) == "target"


@pytest.mark.parametrize("name", ["torn", "patched"])
def test_an_error_behind_a_descriptor_is_no_end_of_the_file(probe, name):
    with open(probe.path(name), "rb", buffering=0) as file:
        assert os.pread(file.fileno(), 65536, 0) == PATTERN[:65536]
        assert os.pread(file.fileno(), 65536, TORN_BYTES - 65536) == PATTERN[TORN_BYTES - 65536 : TORN_BYTES]
        assert error_of(os.pread, file.fileno(), 65536, TORN_BYTES) == errno.EIO
        found = bytearray()
        with pytest.raises(OSError) as info:
            while chunk := file.read(100000):
                found += chunk
        assert info.value.errno == errno.EIO
        assert found == PATTERN[:TORN_BYTES]
        assert kernel.fresh_size(probe.path(name)) == os.fstat(file.fileno()).st_size == PATTERN_BYTES
    fd = os.open(probe.path(name), os.O_RDONLY | os.O_DIRECT)
    try:
        assert error_of(os.pread, fd, 2 * TORN_BYTES, 0) == errno.EIO
        assert os.pread(fd, TORN_BYTES, 0) == PATTERN[:TORN_BYTES]
    finally:
        os.close(fd)
    probe.wait_for("unreleased", 0)


# --- Extended attributes ----------------------------------------------------------------------


def raw_getxattr(path, name, size):
    """getxattr(2) with a buffer of @size bytes: its result, or -errno."""
    buf = ctypes.create_string_buffer(size) if size else None
    libc.getxattr.restype = ctypes.c_ssize_t
    n = libc.getxattr(os.fsencode(path), name, buf, ctypes.c_size_t(size))
    return -ctypes.get_errno() if n < 0 else n


def raw_listxattr(path, size):
    """As raw_getxattr, for listxattr(2)."""
    buf = ctypes.create_string_buffer(size) if size else None
    libc.listxattr.restype = ctypes.c_ssize_t
    n = libc.listxattr(os.fsencode(path), buf, ctypes.c_size_t(size))
    return -ctypes.get_errno() if n < 0 else n


@pytest.mark.parametrize("size", [0, 1, 100, 5000, 60000])
def test_extended_attributes_of_any_size(probe, size):
    probe.do("set a text")
    path = probe.path("a")
    value = os.urandom(size)
    os.setxattr(path, "user.x", value)
    assert os.getxattr(path, "user.x") == value
    assert raw_getxattr(path, b"user.x", 0) == size
    assert raw_getxattr(path, b"user.x", 65536) == size
    if size:
        assert raw_getxattr(path, b"user.x", size) == size
    if size > 1:
        assert raw_getxattr(path, b"user.x", size - 1) == -errno.ERANGE
        assert raw_getxattr(path, b"user.x", 1) == -errno.ERANGE
    probe.wait_for("unreleased", 0)


XATTR_SIZE_MAX = 65536


@pytest.mark.parametrize("kind", ["bytes", "room"])
def test_a_value_that_is_too_long_is_refused_and_never_cut(probe, kind):
    path = probe.path("room")
    whole = f"user.{kind}.{XATTR_SIZE_MAX}"
    assert len(os.getxattr(path, whole)) == raw_getxattr(path, whole.encode(), 0) == XATTR_SIZE_MAX
    for size in (XATTR_SIZE_MAX + 1, 100000):
        name = f"user.{kind}.{size}".encode()
        for buffer_size in (0, 10, XATTR_SIZE_MAX):
            assert raw_getxattr(path, name, buffer_size) == -errno.E2BIG


def test_a_list_of_names_that_is_too_long_is_refused_and_never_cut(probe):
    path = probe.path("room")
    probe.do(f"names_bytes {XATTR_SIZE_MAX}")
    assert raw_listxattr(path, 0) == raw_listxattr(path, XATTR_SIZE_MAX) == XATTR_SIZE_MAX
    for size in (XATTR_SIZE_MAX + 1, 100000):
        probe.do(f"names_bytes {size}")
        for buffer_size in (0, 10, XATTR_SIZE_MAX):
            assert raw_listxattr(path, buffer_size) == -errno.E2BIG


def test_extended_attributes_come_and_go(probe):
    probe.do("set a text")
    path = probe.path("a")
    assert os.listxattr(path) == []
    with pytest.raises(OSError) as info:
        os.getxattr(path, "user.x")
    assert info.value.errno == errno.ENODATA
    os.setxattr(path, "user.x", b"1", os.XATTR_CREATE)
    os.setxattr(path, "user." + "y" * 200, b"2")
    with pytest.raises(OSError) as info:
        os.setxattr(path, "user.x", b"3", os.XATTR_CREATE)
    assert info.value.errno == errno.EEXIST
    assert sorted(os.listxattr(path)) == ["user.x", "user." + "y" * 200]
    assert libc.listxattr(os.fsencode(path), None, 0) == 7 + 206
    assert libc.listxattr(os.fsencode(path), ctypes.create_string_buffer(10), 10) == -1
    assert ctypes.get_errno() == errno.ERANGE
    os.removexattr(path, "user.x")
    assert os.listxattr(path) == ["user." + "y" * 200]
    with pytest.raises(OSError) as info:
        os.removexattr(path, "user.x")
    assert info.value.errno == errno.ENODATA


# --- Locks ------------------------------------------------------------------------------------

FLOCK = "hhqqi4x"


def try_locks(_link, path):
    """What another process gets from a POSIX lock, a question for one, and a flock: errno or type."""
    results = []
    with open(path, "r+b") as file:
        for attempt in (
            lambda: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0),
            lambda: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 50),
            lambda: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB),
        ):
            try:
                attempt()
                results.append(0)
            except OSError as err:
                results.append(err.errno)
        for start in (5, 60):
            asked = fcntl.fcntl(file, fcntl.F_GETLK, struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, start, 1, 0))
            results.append(struct.unpack(FLOCK, asked)[0])
    return results


def check_locks(probe):
    probe.do("set a text")
    path = probe.path("a")
    with open(path, "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 20, 0)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        busy = Child(try_locks, path).result()
        assert busy == [errno.EAGAIN, 0, errno.EAGAIN, fcntl.F_WRLCK, fcntl.F_UNLCK]
        fcntl.lockf(file, fcntl.LOCK_UN, 20, 0)
        fcntl.flock(file, fcntl.LOCK_UN)
        assert Child(try_locks, path).result() == [0, 0, 0, fcntl.F_UNLCK, fcntl.F_UNLCK]
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 20, 0)
    # Closing gave the lock up.
    assert Child(try_locks, path).result() == [0, 0, 0, fcntl.F_UNLCK, fcntl.F_UNLCK]


def test_the_handlers_decide_about_locks(start, transport):
    probe = start(*transport.options, "--locks")
    check_locks(probe)
    for op in ("getlk", "setlk", "flock"):
        assert probe(f"stats {op}") > 0


def wait_for_lock(_link, path):
    fd = os.open(path, os.O_RDWR)  # closed by the end of the process, whose errors nobody sees
    return error_of(fcntl.lockf, fd, fcntl.LOCK_EX)


def test_who_waits_for_a_lock_at_the_end_is_told_of_the_end(start):
    probe = start("-o", "no_io_uring", "--locks")
    probe.do("set a text")
    with contextlib.ExitStack() as stack:
        file = os.open(probe.path("a"), os.O_RDWR)
        stack.callback(error_of, os.close, file)  # the mount has ended
        fcntl.lockf(file, fcntl.LOCK_EX)
        child = stack.enter_context(Child(wait_for_lock, probe.path("a")))
        probe.wait_for("lock_waiters", 1)
        probe.stop()
        assert child.result() in (errno.ENOTCONN, errno.ECONNABORTED)
    assert probe.mount.wait() == 0


def test_without_handlers_the_kernel_keeps_locks(probe):
    check_locks(probe)
    for op in ("getlk", "setlk", "flock"):
        assert probe(f"stats {op}") == 0


# --- What else there is -----------------------------------------------------------------------


def ioc(direction, number, size):
    return direction << 30 | size << 16 | ord("p") << 8 | number


def test_ioctl(probe):
    with open(probe.path("memory"), "rb") as file:
        buf = bytearray(struct.pack("IIII", 6, 7, 0, 0))
        assert fcntl.ioctl(file, ioc(3, 1, 16), buf, True) == 7
        assert struct.unpack("IIII", buf) == (6, 7, 13, 42)
        buf = bytearray(8)
        assert fcntl.ioctl(file, ioc(2, 2, 8), buf, True) == 0
        assert struct.unpack("Q", buf) == (0x0102030405060708,)
        assert fcntl.ioctl(file, ioc(1, 3, 4), struct.pack("I", 42)) is not None
        with pytest.raises(OSError) as info:
            fcntl.ioctl(file, ioc(1, 3, 4), struct.pack("I", 43))
        assert info.value.errno == errno.EDOM
        with pytest.raises(OSError) as info:
            fcntl.ioctl(file, ioc(0, 99, 0))
        assert info.value.errno == errno.ENOTTY


def test_poll_is_woken_when_the_file_becomes_ready(probe):
    assert kernel_poll(probe.fd, select.POLLOUT, 0) == [select.POLLOUT]
    assert probe("stats poll") > 0
    for _ in range(50):
        assert probe("transport") > 0  # each waits in poll(2) until the notifier wakes it
    with open(probe.path("memory"), "rb") as file:
        assert kernel_poll(file.fileno(), select.POLLIN, 0) == [select.POLLIN]


def test_nobody_is_woken_once_the_session_has_ended(probe):  # L14
    """The descriptor that it would be written to may be another file's by then."""
    assert not kernel_poll(probe.fd, select.POLLIN, 0.001)  # 0 would leave nobody to be woken
    probe.mount.stop()
    assert f"] poll_notify after main: {-errno.ENODEV}\n" in probe.mount.stderr()


def test_the_birth_time_comes_from_statx(probe):
    assert kernel.birth_time_ns(probe.path("memory")) == 900000000 * 10**9 + 123456789
    assert probe("stats statx") > 0
    assert os.stat(probe.path("memory")).st_size == PATTERN_BYTES


def test_a_file_without_a_name(probe):
    try:
        fd = os.open(probe.dir, os.O_TMPFILE | os.O_RDWR, 0o600)
    except OSError as err:
        if err.errno in (errno.EOPNOTSUPP, errno.EISDIR):
            pytest.skip("this kernel has no O_TMPFILE on FUSE")
        raise
    try:
        os.write(fd, b"nameless")
        assert os.pread(fd, 100, 0) == b"nameless"
        assert os.fstat(fd).st_mode == 0o100600
    finally:
        os.close(fd)
    assert probe("stats tmpfile") == 1


def test_fallocate_lseek_and_copy_file_range_reach_the_handlers(probe):
    with open(probe.path("new"), "w+b", buffering=0) as file, open(probe.path("copy"), "w+b", buffering=0) as copy:
        file.write(b"0123456789")
        kernel.fallocate(file.fileno(), 0, 0, 500)
        assert os.fstat(file.fileno()).st_size == 500
        with pytest.raises(OSError) as info:
            kernel.fallocate(file.fileno(), kernel.FALLOC_FL_PUNCH_HOLE | kernel.FALLOC_FL_KEEP_SIZE, 0, 5)
        assert info.value.errno == errno.EOPNOTSUPP
        assert os.lseek(file.fileno(), 7, os.SEEK_HOLE) == 100
        assert os.lseek(file.fileno(), 7, os.SEEK_DATA) == 7
        with pytest.raises(OSError) as info:
            os.lseek(file.fileno(), 200, os.SEEK_DATA)
        assert info.value.errno == errno.ENXIO
        assert os.copy_file_range(file.fileno(), copy.fileno(), 5, 3, 1) == 5
        assert os.pread(copy.fileno(), 100, 0) == b"\x0034567"
    # The kernel, told once that a handler does not do it, does not ask again.
    assert probe("stats fallocate") == 2
    assert probe("stats lseek") == 3
    assert probe("stats copy_file_range") == 1


def test_statfs(probe):
    found = os.statvfs(probe.dir)
    assert (found.f_bsize, found.f_blocks, found.f_bfree, found.f_bavail) == (4096, 1000, 600, 500)
    assert (found.f_files, found.f_ffree, found.f_namemax) == (300, 200, 63)


def read_whoami(_link, path):
    with open(path, "rb", buffering=0) as file:
        return threading.get_native_id(), file.read(2000).decode()


@needs_root
def test_the_request_tells_who_asks(probe):
    tid, text = Child(read_whoami, probe.path("whoami"), uid=1234, gid=2345, groups=(5, 70000, 4000000000)).result()
    assert text == f"{tid} 1234 2345 3: 5 70000 4000000000"
    tid, text = Child(read_whoami, probe.path("whoami"), uid=1234, gid=2345, groups=()).result()
    assert text == f"{tid} 1234 2345 0:"


def create_as(_link, path, umask):
    os.umask(umask)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


@needs_root
@pytest.mark.parametrize("options, mode", [((), "640"), (("--dont-mask",), "666")])
def test_create_gets_the_umask_and_the_creator(start, transport, options, mode):
    probe = start(*transport.options, *options)
    Child(create_as, probe.path("new"), 0o027, uid=1234, gid=2345).result()
    assert probe.ask("last_create") == f"{mode} 27 1234 2345"


def read_until_signal(_link, path):
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.siginterrupt(signal.SIGALRM, True)
    fd = os.open(path, os.O_RDONLY)
    buf = ctypes.create_string_buffer(100)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)  # again and again, should it come before the call
    n = libc.read(fd, buf, 100)
    err = ctypes.get_errno()
    signal.setitimer(signal.ITIMER_REAL, 0)
    return n, err


@pytest.mark.parametrize("options", [(), ("--single",)])
def test_a_handler_learns_that_its_caller_was_interrupted(start, options):
    probe = start("-o", "no_io_uring", *options)
    assert Child(read_until_signal, probe.path("endless")).result() == (-1, errno.EINTR)


def read_under_signals(_link, path):
    signal.signal(signal.SIGALRM, lambda *_: None)
    fd = os.open(path, os.O_RDONLY)
    signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
    found = {os.pread(fd, 100, 0) for _ in range(40)}
    signal.setitimer(signal.ITIMER_REAL, 0)
    return found


def test_interrupted_callers_get_their_answer_and_leave_nothing(probe):
    """What is left of an interruption is found by the leak check of the build with AddressSanitizer."""
    assert Child(read_under_signals, probe.path("slow")).result() == {b"slow\n"}


def test_a_handler_that_is_not_set_is_asked_for_once(start, transport):
    probe = start(*transport.options, "--debug-fuse")
    with open(probe.path("new"), "w+b", buffering=0) as file:
        for _ in range(5):
            file.write(b"x")
            os.fsync(file.fileno())
    assert len(re.findall(r"\bFSYNC\b", probe.mount.stderr())) == 1


@pytest.mark.parametrize("options, created", [((), 1), (("--no-enosys",), 2)])
def test_enosys_is_remembered_unless_it_is_passing(start, transport, options, created):  # L9
    probe = start(*transport.options, *options)
    probe.do(f"wrong create {-errno.ENOSYS}")
    assert error_of(make, probe.path("one")) == (errno.EOPNOTSUPP if options else None)  # made by mknod
    probe.do("wrong create 0")
    make(probe.path("two"))
    assert probe("stats create") == created


def test_without_an_open_handler_files_open_and_truncate(start, transport):
    probe = start(*transport.options, "--no-open")
    probe.do("set a 0123456789")
    assert probe.read("a") == b"0123456789"
    with open(probe.path("a"), "r+b", buffering=0) as file:
        file.write(b"ab")
    assert probe.read("a") == b"ab23456789"
    with open(probe.path("a"), "wb", buffering=0) as file:
        assert os.fstat(file.fileno()).st_size == 0
        file.write(b"new")
    probe.do(f"inval_inode {probe.ino('a')} 0 0")
    assert probe.read("a") == b"new"
    assert probe("stats open") == 0


def test_other_handlers_that_are_not_set(probe):
    for call in (
        lambda: os.mkdir(probe.path("d")),
        lambda: os.symlink("x", probe.path("s")),
        lambda: os.link(probe.path("room"), probe.path("l")),
        lambda: os.rename(probe.path("room"), probe.path("r")),
    ):
        with pytest.raises(OSError) as info:
            call()
        assert info.value.errno in (errno.ENOSYS, errno.EPERM)


def make(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def open_and_close(path):
    os.close(os.open(path, os.O_RDONLY))


@pytest.mark.parametrize("result", [5, 1, -512, -1000, -5000, -(1 << 31)])
def test_a_result_that_is_no_errno_is_an_io_error_and_told(probe, result):
    probe.do("set a text")
    path = probe.path("a")
    ino = os.stat(path).st_ino
    calls = {
        "lookup": lambda: os.stat(probe.path("other")),
        "getattr": lambda: os.stat(path),
        "setattr": lambda: os.chmod(path, 0o600),
        "readlink": lambda: os.readlink(probe.path("link")),
        "unlink": lambda: os.unlink(path),
        "mknod": lambda: os.mknod(probe.path("node"), 0o10600),
        "create": lambda: make(probe.path("made")),
        "open": lambda: open_and_close(path),
        "flush": lambda: open_and_close(path),
        "read": lambda: probe.read("memory"),
        "readdir": lambda: os.listdir(probe.path("many")),
        "getxattr": lambda: os.getxattr(path, "user.x"),
        "statfs": lambda: os.statvfs(probe.dir),
    }
    for op, call in calls.items():
        probe.do(f"inval_inode {ino} -1 0")
        before = probe.mount.stderr().count("\n")
        probe.do(f"wrong {op} {result}")
        assert error_of(call) == errno.EIO, op
        probe.do("wrong lookup 0")
        lines = probe.mount.stderr().splitlines()[before:]
        told = re.compile(rf"\[probefs\] the handler of {op}(plus)? returned {result}, ")
        assert lines and all(told.search(line) for line in lines), lines
        assert len(lines) == 1 or op == "read"  # which the kernel may try again
    assert "many" in os.listdir(probe.dir)


def make_nameless(directory):
    os.close(os.open(directory, os.O_TMPFILE | os.O_RDWR))


@pytest.mark.parametrize(
    "wrong, told",
    [
        (1, "a mode without a type"),
        (2, "another type than it was asked to make"),
        (3, "the inode number 0"),
    ],
)
def test_an_entry_that_the_kernel_would_refuse_is_told_and_leaves_nothing(probe, wrong, told):  # L4
    calls = {
        "mknod": lambda: os.mknod(probe.path("node"), 0o100600),
        "create": lambda: make(probe.path("made")),
        "tmpfile": lambda: make_nameless(probe.dir),
    }
    if wrong == 1:
        calls["lookup"] = lambda: os.stat(probe.path("memory"))
        calls["getattr"] = lambda: kernel.fresh_size(probe.dir)
    if error_of(make_nameless, probe.dir) in (errno.EOPNOTSUPP, errno.EISDIR):
        del calls["tmpfile"]  # this kernel has none on FUSE
    probe.wait_for("opens", 1)  # the control file
    probe.wait_for("lookups", 1)
    for op, call in calls.items():
        os.stat(probe.dir)  # so that the next call need not
        before = probe.mount.stderr().count("\n")
        probe.do(f"wrong_entry {wrong}")
        assert error_of(call) == errno.EIO, op
        probe.do("wrong_entry 0")
        line = probe.mount.stderr().splitlines()[before]
        assert line.endswith(f"[probefs] the handler of {op} answered with {told}")
    probe.wait_for("lookups", 1)
    probe.wait_for("opens", 1)
    assert os.stat(probe.path("memory")).st_size == PATTERN_BYTES
    assert "BUG" not in probe.mount.stderr()


def test_without_a_number_to_show_the_inode_number_is_shown(probe):
    probe.do("wrong_entry 4")
    expected = {name: probe.ino(name) for name in ("many", "link", "room", "memory")}
    for _ in range(2):  # with attributes, as the kernel asks for them at first, and without
        listed = {entry.name: entry.inode() for entry in os.scandir(probe.dir)}
        assert {name: listed.get(name) for name in expected} == expected
    assert {name: os.lstat(probe.path(name)).st_ino for name in expected} == expected
    kernel.fresh_size(probe.path("room"))
    assert os.stat(probe.path("room")).st_ino == expected["room"]
    kernel.birth_time_ns(probe.path("memory"))
    assert os.stat(probe.path("memory")).st_ino == expected["memory"]


@pytest.mark.parametrize("size", [1, 5000, 100000])
def test_any_largest_write_works(start, transport, size):
    probe = start(*transport.options, "--max-write", str(size))
    assert probe("transport") == (TRANSPORT_IO_URING if transport.is_uring else TRANSPORT_DEV_FUSE)
    content = os.urandom(300001)
    with open(probe.path("a"), "wb") as file:
        file.write(content)
    assert probe.read("a") == content
    assert with_fd(probe.path("a"), os.O_RDONLY | os.O_DIRECT, lambda fd: os.pread(fd, len(content), 0)) == content
    probe.mount.stop()


@pytest.fixture
def many_pages():
    """The kernel takes requests of up to 1024 pages, if the file system asks for such."""
    path = "/proc/sys/fs/fuse/max_pages_limit"
    try:
        with open(path, encoding="ascii") as file:
            before = file.read()
        with open(path, "w", encoding="ascii") as file:
            file.write("1024")
    except OSError as err:
        pytest.skip(f"the kernel's limit of pages cannot be raised: {err.strerror}")
    try:
        yield
    finally:
        with open(path, "w", encoding="ascii") as file:
            file.write(before)


@needs_root
def test_a_write_is_never_larger_than_the_buffer_for_it(start, transport, many_pages):
    """The buffers are made before the file system says how much it wants."""
    probe = start(*transport.options, "--max-write", str(4 << 20))
    content = os.urandom(4 << 20)
    fd = os.open(probe.path("a"), os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    try:
        with mmap.mmap(-1, len(content)) as aligned:
            aligned[:] = content
            before = probe("stats write")
            assert os.pwrite(fd, aligned, 0) == len(content)
            assert probe("stats write") - before >= 4  # and the question, which may count only later
    finally:
        os.close(fd)
    assert probe.read("a") == content
    probe.mount.stop()


# --- Kernel passthrough -----------------------------------------------------------------------


@pytest.fixture
def passing(start, transport):
    probe = start(*transport.options, "--passthrough")
    if not probe("caps") & CAP_PASSTHROUGH:
        pytest.skip("the kernel offers no passthrough")
    return probe


@pytest.fixture
def backing(place):
    """A file in a mount of its own, which can be unmounted only when nobody uses the file any more."""
    path = os.path.join(place, "backing")
    os.mkdir(path)
    kernel.mount("backing", path, "tmpfs")
    try:
        for name in ("one", "two"):
            with open(os.path.join(path, name), "wb") as file:
                file.write(name.encode() * 5000)
        yield os.path.join(path, "one")
    finally:
        with contextlib.suppress(OSError):
            kernel.umount(path, kernel.MNT_DETACH)


def open_backed(probe, flags=os.O_RDWR):
    return os.open(probe.path("backed"), flags)


@needs_root
def test_passthrough_reads_and_writes_the_backing_file(passing, backing):
    probe = passing
    probe.do(f"backing {backing}")
    ino = probe.ino("backed")
    assert probe(f"passthrough {ino}") == 0
    fd = open_backed(probe)
    try:
        assert probe(f"passthrough {ino}") == 1

        def use():
            assert os.pread(fd, 20000, 0) == b"one" * 5000
            assert os.pwrite(fd, b"ONE", 3) == 3
            assert os.pread(fd, 9, 0) == b"oneONEone"
            with mmap.mmap(fd, 15000) as mapped:
                assert mapped[:9] == b"oneONEone"
                mapped[6:9] = b"map"
                mapped.flush()

        assert probe.requests("read", use) == 0
        # The write that asks may be counted after the answer was made: a few more or less.
        assert probe.requests("write", lambda: [os.pwrite(fd, b"end", 14997) for _ in range(50)]) < 10
        with open(backing, "rb") as file:
            content = file.read()
        assert content[:9] == b"oneONEmap"
        assert content[-3:] == b"end"
    finally:
        os.close(fd)
    probe.wait_for(f"passthrough {ino}", 0)


@needs_root
def test_overlapping_opens_share_the_first_ones_backing_file(passing, backing):
    probe = passing
    other = os.path.join(os.path.dirname(backing), "two")
    ino = probe.ino("backed")
    probe.do(f"backing {backing}")
    first = open_backed(probe)
    probe.do(f"backing {other}")
    second = open_backed(probe)
    try:
        assert os.pread(second, 3, 0) == b"one"
        os.close(first)
        first = -1
        probe.wait_for("stats release", 1)
        assert os.pread(second, 3, 0) == b"one"
        assert probe(f"passthrough {ino}") == 1
    finally:
        for fd in (first, second):
            if fd >= 0:
                os.close(fd)
    probe.wait_for(f"passthrough {ino}", 0)
    third = open_backed(probe)
    try:
        assert os.pread(third, 3, 0) == b"two"
        assert probe(f"passthrough {ino}") == 1
    finally:
        os.close(third)


@needs_root
def test_nothing_is_left_over_after_many_opens(passing, backing):
    probe = passing
    probe.do(f"backing {backing}")
    ino = probe.ino("backed")
    os.close(open_backed(probe))
    probe.wait_for("stats release", 1)
    before = probe.mount.descriptors()
    for _ in range(500):
        fds = [open_backed(probe) for _ in range(4)]
        assert os.pread(fds[3], 3, 0) == b"one"
        for fd in fds:
            os.close(fd)
    probe.wait_for("stats release", 2001)
    assert probe.mount.descriptors() == before
    assert probe(f"passthrough {ino}") == 0
    # Busy, if a backing id were still registered.  The kernel lets the last file go with a delay.
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            kernel.umount(os.path.dirname(backing))
            break
        except OSError as err:
            assert err.errno == errno.EBUSY and time.monotonic() < deadline, "a backing file is still in use"
            time.sleep(0.01)


def check_cached(probe, content):
    """Files open and work, and the handlers do the I/O."""
    fd = open_backed(probe)
    try:
        assert probe(f"passthrough {probe.ino('backed')}") == 0
        found = []
        assert probe.requests("read", lambda: found.append(os.pread(fd, 20000, 0))) > 0
        assert found == [content]
        assert os.pwrite(fd, b"NEW", 0) == 3
        assert os.pread(fd, 6, 0) == b"NEW" + content[3:6]
    finally:
        os.close(fd)


@needs_root
def test_a_descriptor_that_the_kernel_does_not_take_means_cached_io(passing, backing):
    probe = passing
    probe.do(f"backing_path_only {backing}")
    check_cached(probe, b"one" * 5000)
    with open(backing, "rb") as file:
        assert file.read(6) == b"NEWone"
    assert "passthrough_open" not in probe.mount.stderr()  # nobody need know


@needs_root
def test_a_backing_file_on_a_stacked_mount_means_cached_io(passing, start, transport):
    below = start(*transport.options, "--passthrough")
    below.do("set a " + "one" * 1000)
    passing.do(f"backing {below.path('a')}")
    check_cached(passing, b"one" * 1000)
    below.do(f"inval_inode {below.ino('a')} 0 0")
    assert below.read("a")[:6] == b"NEWone"
    passing.do("backing /dev/null")


@needs_root
def test_without_the_capability_the_handlers_do_the_io(start, transport, backing):
    probe = start(*transport.options)
    assert not probe("caps") & CAP_PASSTHROUGH
    probe.do(f"backing {backing}")
    check_cached(probe, b"one" * 5000)


@needs_root
def test_the_writeback_cache_excludes_passthrough(start, transport, backing):
    probe = start(*transport.options, "--passthrough", "--writeback")
    assert probe("caps") & (CAP_PASSTHROUGH | CAP_WRITEBACK_CACHE) == CAP_WRITEBACK_CACHE
    assert "the writeback cache excludes passthrough" in probe.mount.stderr()
    probe.do(f"backing {backing}")
    assert with_fd(probe.path("backed"), os.O_RDONLY, lambda fd: os.pread(fd, 3, 0)) == b"one"


def open_in_vain(_link, path):
    return error_of(os.open, path, os.O_RDONLY)


@needs_root
@pytest.mark.parametrize("option", ["--passthrough", "--dont-mask"])
def test_an_open_that_the_kernel_gave_up_is_undone(start, backing, option):
    """The connection is aborted while an open is under way: nobody will ever send its release."""
    probe = start("-o", "no_io_uring", option)  # over io_uring the kernel waits for the answer
    probe.do(f"backing {backing}")
    os.stat(probe.path("backed"))
    probe.do("open_delay 300")
    child = Child(open_in_vain, probe.path("backed"))
    try:
        probe.wait_for("opens_begun", 1)
        kernel.umount(probe.dir, kernel.MNT_FORCE | kernel.MNT_DETACH)
        assert child.result() in (errno.ECONNABORTED, errno.ENOTCONN)
    finally:
        child.end()
    probe.mount.wait()
    assert "backed files still open: 0\n" in probe.mount.stderr()


@needs_root
@pytest.mark.concurrent
def test_threads_open_and_close_the_same_backed_file(passing, backing):
    probe = passing
    probe.do(f"backing {backing}")

    def use(_number):
        for _ in range(100):
            fd = open_backed(probe)
            try:
                assert os.pread(fd, 3, 0) == b"one"
            finally:
                os.close(fd)

    in_threads(4, use)
    probe.wait_for("stats release", 400)
    probe.wait_for(f"passthrough {probe.ino('backed')}", 0)


@needs_root
def test_flags_that_a_backing_file_excludes_do_not_fail_the_open(passing, backing):
    probe = passing
    probe.do(f"backing {backing}")
    probe.do("open_flags 1")
    fd = open_backed(probe)
    try:
        assert probe(f"passthrough {probe.ino('backed')}") == 1
        assert os.pread(fd, 6, 0) == b"oneone"
    finally:
        os.close(fd)


# --- A program that goes where its mount is out of reach (L14) ----------------------------------


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def descriptors_of(pid):
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}").split(":")[0])
    return sorted(found)


@needs_root
@pytest.mark.parametrize("how", ["stop", signal.SIGTERM, signal.SIGINT, "umount"])
def test_a_program_that_left_its_mount_behind_unmounts(start, transport, how):
    probe = start(*transport.options, "--leave", "--debug")
    assert probe("transport") == (TRANSPORT_IO_URING if transport.is_uring else TRANSPORT_DEV_FUSE)
    _, text = Child(read_whoami, probe.path("whoami"), uid=1234, gid=2345, groups=(5, 70000)).result()
    assert "5 70000" in text
    (unmounter,) = children_of(probe.mount.pid)
    if how == "stop":
        probe.stop()
        assert probe.mount.wait() == 0
        assert not probe.mount.is_mounted()
    elif how == "umount":
        probe.close()
        probe.mount.stop(how)
    else:
        probe.mount.stop(how)
    assert not os.path.exists(f"/proc/{unmounter}")
    assert "numa" not in probe.mount.stderr()


@needs_root
def test_who_unmounts_holds_nothing_and_ends_with_its_program(start, many):
    probe = start(*many.options, "--leave")
    (unmounter,) = children_of(probe.mount.pid)
    deadline = time.monotonic() + DEADLINE_S
    while (held := descriptors_of(unmounter)) != ["/dev/null"] * 3 + ["pipe"] * 2:
        assert time.monotonic() < deadline, held
        time.sleep(0.01)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(unmounter, number)
    assert children_of(probe.mount.pid) == [unmounter]
    pidfd = os.pidfd_open(unmounter)
    try:
        probe.mount.send_signal(signal.SIGKILL)
        assert probe.mount.wait() == -signal.SIGKILL
        assert kernel_poll(pidfd, select.POLLIN, DEADLINE_S)
    finally:
        os.close(pidfd)
    assert probe.mount.is_mounted()
    assert error_of(os.listdir, probe.dir) in (errno.ENOTCONN, errno.ECONNABORTED)
    kernel.umount(probe.dir, kernel.MNT_DETACH)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(unmounter, 0)


@needs_root
def test_a_program_that_left_its_mount_behind_detaches_a_dead_one(start, many):  # L12, L14
    probe = start(*many.options, "--leave")
    assert error_of(kernel.umount, probe.dir, kernel.MNT_FORCE) == errno.EBUSY
    assert probe.mount.wait() == 0
    assert not probe.mount.is_mounted()


@needs_root
def test_a_program_whose_unmounter_was_killed_says_that_it_cannot_unmount(start, many):
    probe = start(*many.options, "--leave")
    os.kill(children_of(probe.mount.pid)[0], signal.SIGKILL)
    probe.mount.send_signal(signal.SIGTERM)
    assert probe.mount.wait() == 0
    assert f"cannot unmount {probe.dir}\n" in probe.mount.stderr()
    kernel.umount(probe.dir, kernel.MNT_DETACH)


@needs_root
def test_closed_without_unmounting_nobody_unmounts(start, many):
    probe = start(*many.options, "--leave", "--keep-mounted")
    probe.stop()
    assert probe.mount.wait() == 0
    assert probe.mount.is_mounted()
    kernel.umount(probe.dir, kernel.MNT_DETACH)


@needs_root
def test_a_mounted_function_that_fails_leaves_no_mount(place):
    mount = mounts.Mount("probefs", place, "--leave-in-vain", executable=mounts.executable("tests/probefs"))
    try:
        assert mount.wait() == 1
        assert not mount.is_mounted()
        assert mount.stderr() == "probefs: left in vain\n"
    finally:
        mount.abandon()
