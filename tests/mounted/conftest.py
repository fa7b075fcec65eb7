# SPDX-License-Identifier: MIT
"""Fixtures: the programs mounted on each transport, directories of their own for each test, and a
watchdog that turns a hang into a failure."""

import contextlib
import os
import shutil
import signal
import tempfile
import threading

import pytest

from harness import kernel, mounts

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIMIT_S = 120

class Subject:
    """A file system as it is mounted for tests that take each: the program, and options of its own."""

    def __init__(self, name, program, *options, needs_passthrough=False, is_on_disk=False, executable=None):
        self.name = name
        self.program = program
        self.executable = executable or program
        self.has_source = program in ("passthroughfs", "by_path")
        self.options = options
        self.needs_passthrough = needs_passthrough
        self.is_on_disk = is_on_disk

    def why_not(self):
        if self.needs_passthrough and not mounts.can_passthrough():
            return "the kernel's data plane needs root and passthrough"
        return None

    def __repr__(self):
        return self.name


TMPFS_KERNEL = Subject("tmpfs-kernel", "tmpfs", "-o", "data=kernel", needs_passthrough=True)
TMPFS_HEAP = Subject("tmpfs-heap", "tmpfs", "-o", "data=heap")
TMPFS_EXACT = Subject("tmpfs-heap-exact", "tmpfs", "-o", "data=heap,no_writeback")
TMPFS = (TMPFS_KERNEL, TMPFS_HEAP)
# The source, and the oracle, on a kernel tmpfs; and on whatever the tests' own directory lies on.
SOURCE_KERNEL = Subject("passthroughfs-kernel", "passthroughfs", "-o", "data=kernel", needs_passthrough=True)
SOURCE_DAEMON = Subject("passthroughfs-daemon", "passthroughfs", "-o", "data=daemon")
SOURCE_DISK = Subject("passthroughfs-disk", "passthroughfs", is_on_disk=True)


class Case:
    """A subject on one transport."""

    def __init__(self, subject, transport):
        self.subject = subject
        self.transport = transport

    def __repr__(self):
        return f"{self.subject}-{self.transport}"


def cases(subjects, transports):
    return [Case(subject, transport) for transport in transports for subject in subjects]


ONCE = ("dev_fuse-many",)
# Each transport and each way of the bytes, not all of the one with all of the other.
SPREAD = (Case(SOURCE_KERNEL, "io_uring-many"), Case(SOURCE_DAEMON, "dev_fuse-many"))
SPREAD_ONCE = cases((SOURCE_KERNEL, SOURCE_DAEMON), ONCE)
SPREAD_WIDE = (
    *(*SPREAD, Case(SOURCE_KERNEL, "dev_fuse-single"), Case(SOURCE_DAEMON, "io_uring-single")),
    Case(SOURCE_DISK, "dev_fuse-many"),
)

# Mirrors that take no care, for what passthroughfs must withstand.
BY_PATH = Subject("by-path", "by_path", is_on_disk=True, executable="tests/by_path")
BY_DESCRIPTOR = Subject("by-descriptor", "by_path", "-o", "by_descriptor", is_on_disk=True, executable="tests/by_path")


def pytest_configure(config):
    config.addinivalue_line("markers", "concurrent: many threads at once in the programs; worth a run under TSan")
    config.addinivalue_line("markers", "limit(seconds): how long the test may take before it counts as hung")


def pytest_sessionstart(session):
    work = tempfile.mkdtemp(prefix="llfuse-mounted-")
    os.chmod(work, 0o755)
    os.mkdir(os.path.join(work, "logs"))
    session.config.llfuse_work = work
    os.environ["LLFUSE_TEST_WORK"] = os.path.join(work, "logs")
    kernel.become_subreaper()
    if os.geteuid() == 0:
        kernel.private_mounts()
        # What is mounted in a source later is to be seen by who has a copy of its mounts, as systemd has it.
        kernel.mount(work, work, None, kernel.MS_BIND)
        kernel.mount(None, work, None, kernel.MS_SHARED)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)


def _interrupt(_number, _frame):
    raise KeyboardInterrupt



def pytest_sessionfinish(session, exitstatus):
    """Whatever happened, nothing stays behind."""
    os.chdir("/")
    mounts.take_down_all()
    work = session.config.llfuse_work
    for entry in reversed(mounts.all_mounts()):
        if entry.mountpoint.startswith(work + "/"):
            with contextlib.suppress(OSError):
                kernel.umount(entry.mountpoint, kernel.MNT_DETACH)
    for pid in children():
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    with contextlib.suppress(OSError):
        kernel.umount(work, kernel.MNT_DETACH)
    if exitstatus == 0 or not os.environ.get("LLFUSE_KEEP_LOGS"):
        shutil.rmtree(work, ignore_errors=True)


def children():
    """The processes that we started, or that were left to us."""
    found = []
    for task in os.listdir("/proc/self/task"):
        # A thread may end meanwhile: what it started is then another one's.
        with contextlib.suppress(FileNotFoundError), open(f"/proc/self/task/{task}/children", encoding="ascii") as file:
            found += map(int, file.read().split())
    return found


@pytest.fixture(scope="session")
def work(request):
    """A directory that every user can reach."""
    return request.config.llfuse_work


@pytest.fixture
def place(work):
    """An empty directory for one test, to be mounted on or mirrored."""
    path = tempfile.mkdtemp(prefix="place-", dir=work)
    os.chmod(path, 0o755)
    return path


@pytest.fixture(autouse=True)
def watchdog(request):
    """Ends every call on every mount when a test takes too long, and checks the programs' logs."""
    marker = request.node.get_closest_marker("limit")
    seconds = marker.args[0] if marker else LIMIT_S
    fired = []

    def fire():
        fired.append(True)
        mounts.abort_all()

    timer = threading.Timer(seconds, fire)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        os.chdir("/")
    assert not fired, f"hung: not ready after {seconds} s"
    for mount in list(mounts.live):
        mount.check_log()


@pytest.fixture(scope="session")
def uring_switch():
    switch = mounts.UringSwitch()
    yield switch
    switch.restore()


def transport_named(name, switch):
    transport = mounts.Transport(name)
    if transport.is_uring:
        reason = switch.why_not()
        if reason:
            pytest.skip(reason)
    return transport


@pytest.fixture(params=mounts.TRANSPORTS)
def transport(request, uring_switch):
    return transport_named(request.param, uring_switch)


@pytest.fixture(params=mounts.MANY)
def many(request, uring_switch):
    """The transports with several workers."""
    return transport_named(request.param, uring_switch)


@pytest.fixture(params=["lltest", "tmpfs", "passthroughfs"])
def program(request):
    return request.param


@pytest.fixture
def new_mount(work, place):
    """Starts programs for one test: new_mount("tmpfs", "-o", "ro").  Stops them afterwards."""
    with contextlib.ExitStack() as stack:

        def start(program, *options, **kwargs):
            mountpoint = kwargs.pop("mountpoint", None) or tempfile.mkdtemp(prefix="mnt-", dir=place)
            if program == "passthroughfs" and "source" not in kwargs:
                kwargs["source"] = tempfile.mkdtemp(prefix="source-", dir=place)
                os.chmod(kwargs["source"], 0o755)
            return stack.enter_context(mounts.Mount(program, mountpoint, *options, **kwargs))

        yield start


@pytest.fixture(params=(*TMPFS, TMPFS_EXACT), ids=repr)
def limited(request, new_mount, many):
    """limited("size=1m"): a tmpfs with these options on each transport and data plane."""
    subject = request.param
    if subject.why_not():
        pytest.skip(subject.why_not())

    def start(options, *more):
        return new_mount("tmpfs", *many.options, *subject.options, "-o", options, *more).mountpoint

    start.is_exact = subject is not TMPFS_HEAP
    start.data = "kernel" if subject is TMPFS_KERNEL else "heap"
    return start


class Shared:
    """One mount that many tests share, each in a directory of its own, and its oracle."""

    def __init__(self, subject, transport, work):
        program = self.program = subject.program
        self.base = tempfile.mkdtemp(prefix=f"{subject.name}-{transport.name}-", dir=work)
        os.chmod(self.base, 0o755)
        self.mountpoint = self._mkdir("mnt")
        self.oracle = self._mkdir("oracle")
        self.source = self._mkdir("source") if subject.has_source else None
        self._mounted = []
        if os.geteuid() == 0 and not subject.is_on_disk:
            self._mount_tmpfs(self.oracle)
            if self.source:
                self._mount_tmpfs(self.source)
        options = [*transport.options, *subject.options]
        if os.geteuid() == 0:
            options += ["-o", "allow_other"]
        executable = mounts.executable(subject.executable)
        self.mount = mounts.Mount(program, self.mountpoint, *options, source=self.source, executable=executable)
        self.mount.wait_mounted()

    def _mkdir(self, name):
        path = os.path.join(self.base, name)
        os.mkdir(path)
        os.chmod(path, 0o755)
        return path

    def _mount_tmpfs(self, path):
        kernel.mount("oracle", path, "tmpfs", 0, "mode=755")
        self._mounted.append(path)

    def is_alive(self):
        return self.mount in mounts.live and self.mount.is_running() and self.mount.is_mounted()

    def close(self):
        try:
            if self.mount in mounts.live:
                self.mount.stop()
        finally:
            self.mount.abandon()
            for path in self._mounted:
                kernel.umount(path, kernel.MNT_DETACH)


class Place:
    """Where one test works on a shared mount: dir on the mount, oracle a plain directory like it."""

    def __init__(self, shared, name):
        self.program = shared.program
        self.mount = shared.mount
        self.dir = os.path.join(shared.mountpoint, name)
        self.oracle = os.path.join(shared.oracle, name)
        self.source = shared.source and os.path.join(shared.source, name)
        os.mkdir(self.oracle)
        os.mkdir(self.dir)

    def path(self, *names):
        return os.path.join(self.dir, *names)


class SharedMounts:
    """Mounts each configuration when it is first asked for, again if it died, and stops all."""

    def __init__(self, work):
        self._work = work
        self._all = {}
        self._serial = 0

    def place(self, subject, transport):
        key = (subject.name, transport.name)
        shared = self._all.get(key)
        if shared is not None and not shared.is_alive():
            with contextlib.suppress(mounts.Failed):
                shared.close()
            shared = None
        if shared is None:
            shared = self._all[key] = Shared(subject, transport, self._work)
        self._serial += 1
        return Place(shared, f"test{self._serial}")

    def close(self):
        failures = []
        for shared in self._all.values():
            try:
                shared.close()
            except (mounts.Failed, OSError) as err:
                failures.append(str(err))
        assert not failures, "\n".join(failures)


@pytest.fixture(scope="session")
def shared_mounts(work, uring_switch):
    pool = SharedMounts(work)
    yield pool
    pool.close()


def _place(request, subject, transport):
    reason = subject.why_not()
    if reason:
        pytest.skip(reason)
    place = request.getfixturevalue("shared_mounts").place(subject, transport)
    yield place
    assert place.mount.is_running(), f"{subject} died: {place.mount.stderr()}"


def _place_of(request, uring_switch):
    case = request.param
    yield from _place(request, case.subject, transport_named(case.transport, uring_switch))


@pytest.fixture(params=(*cases(TMPFS, mounts.TRANSPORTS), *SPREAD_WIDE), ids=repr)
def fs(request, uring_switch):
    """A directory on each writable file system on each transport."""
    yield from _place_of(request, uring_switch)


@pytest.fixture(params=cases((*TMPFS, SOURCE_KERNEL, SOURCE_DAEMON), mounts.MANY), ids=repr)
def fs_many(request, uring_switch):
    """As fs, with several workers only."""
    yield from _place_of(request, uring_switch)


@pytest.fixture(params=(*cases(TMPFS, mounts.MANY), *SPREAD), ids=repr)
def own(request, uring_switch):
    """As fs, for what must be as on the kernel's own file system of the same type."""
    yield from _place_of(request, uring_switch)


@pytest.fixture(params=(*cases(TMPFS, ONCE), *SPREAD_ONCE), ids=repr)
def own_once(request, uring_switch):
    """As own, for what the kernel does by itself, so that the transport does not matter."""
    yield from _place_of(request, uring_switch)


@pytest.fixture(params=(*cases((*TMPFS, TMPFS_EXACT), mounts.MANY), *SPREAD), ids=repr)
def each_own(request, uring_switch):
    """As own, and where no write stays with the kernel."""
    yield from _place_of(request, uring_switch)


@pytest.fixture(params=(*cases((*TMPFS, TMPFS_EXACT), ONCE), *SPREAD_ONCE), ids=repr)
def each_own_once(request, uring_switch):
    """As each_own, where the transport does not matter."""
    yield from _place_of(request, uring_switch)


@pytest.fixture(params=TMPFS, ids=repr)
def tmpfs(request, transport):
    """A directory on tmpfs, on each data plane and transport."""
    yield from _place(request, request.param, transport)


@pytest.fixture(params=(TMPFS_KERNEL, TMPFS_EXACT), ids=repr)
def tmpfs_exact(request, transport):
    """The same where no write stays with the kernel."""
    yield from _place(request, request.param, transport)


@pytest.fixture(params=TMPFS, ids=repr)
def tmpfs_many(request, many):
    """As tmpfs, with several workers only."""
    yield from _place(request, request.param, many)


@pytest.fixture(params=cases((*TMPFS, TMPFS_EXACT), ONCE), ids=repr)
def each_tmpfs_once(request, uring_switch):
    """As each_own_once, on tmpfs alone."""
    yield from _place_of(request, uring_switch)


@pytest.fixture(params=(*SPREAD, Case(SOURCE_DISK, "dev_fuse-single")), ids=repr)
def passthroughfs(request, uring_switch):
    """A directory on passthroughfs alone."""
    yield from _place_of(request, uring_switch)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
