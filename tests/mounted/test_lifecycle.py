# SPDX-License-Identifier: MIT
"""From mount to end: signals, unmounts from outside, the background, crashes, what is logged."""

import contextlib
import errno
import os
import re
import resource
import signal
import subprocess
import tempfile
import time

import pytest

from conftest import children, needs_root
from harness import kernel, mounts
from harness.children import Child

LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \S+: \[\S+\] .")


def touch(mount):
    """Makes a request that the program answers."""
    os.stat(mount.mountpoint)
    os.listdir(mount.mountpoint)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, "umount"])
def test_ends_with_status_0(new_mount, program, transport, how):
    mount = new_mount(program, *transport.options)
    touch(mount)
    mount.stop(how)


@pytest.mark.parametrize("how", [signal.SIGTERM, "umount"])
def test_ends_at_once_when_never_used(new_mount, program, many, how):
    mount = new_mount(program, *many.options)
    mount.stop(how)


def test_ends_with_files_open(new_mount, many):
    """A signal ends it also when the mount is in use; who uses it gets errors."""
    for program in ("tmpfs", "passthroughfs"):
        mount = new_mount(program, *many.options)
        fd = os.open(os.path.join(mount.mountpoint, "f"), os.O_CREAT | os.O_RDWR)
        dir_fd = os.open(mount.mountpoint, os.O_RDONLY | os.O_DIRECTORY)
        mount.stop(signal.SIGTERM)
        with pytest.raises(OSError) as error:
            os.mkdir("new", dir_fd=dir_fd)
        assert error.value.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.ECANCELED)
        with contextlib.suppress(OSError):
            os.close(fd)
        os.close(dir_fd)


def test_lazy_unmount_ends_it_when_the_last_user_goes(new_mount, program, many):
    mount = new_mount(program, *many.options)
    fd = os.open(mount.mountpoint, os.O_RDONLY | os.O_DIRECTORY)
    mounts.unmount(mount.mountpoint, kernel.MNT_DETACH)
    assert os.listdir(fd) is not None
    assert mount.is_running()
    os.close(fd)
    assert mount.wait() == 0


@needs_root
def test_forced_unmount_ends_it(new_mount, program, many):
    mount = new_mount(program, *many.options)
    touch(mount)
    mounts.unmount(mount.mountpoint, kernel.MNT_FORCE | kernel.MNT_DETACH)
    assert mount.wait() == 0


def test_ignored_signals_stay_ignored(new_mount):
    def ignore():
        mounts.before_exec()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    mount = new_mount("lltest", preexec_fn=ignore)
    touch(mount)
    mount.send_signal(signal.SIGINT)
    mount.send_signal(signal.SIGHUP)
    assert os.listdir(mount.mountpoint) == ["message"]
    with open(f"/proc/{mount.pid}/status", encoding="ascii") as file:
        ignored = int(re.search(r"^SigIgn:\s+(\w+)", file.read(), re.MULTILINE)[1], 16)
    assert ignored & 1 << signal.SIGINT - 1 and ignored & 1 << signal.SIGHUP - 1
    mount.stop(signal.SIGTERM)


def test_failing_signals_keep_their_default(new_mount):
    mount = new_mount("lltest")
    touch(mount)
    with open(f"/proc/{mount.pid}/status", encoding="ascii") as file:
        status = file.read()
    caught = int(re.search(r"^SigCgt:\s+(\w+)", status, re.MULTILINE)[1], 16)
    if mounts.is_sanitized():
        pytest.skip("the sanitizer catches them")
    for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE, signal.SIGILL):
        assert not caught & 1 << number - 1


def test_a_killed_daemon_leaves_a_mount_that_can_be_taken_away(new_mount, program):
    mount = new_mount(program)
    touch(mount)
    mount.send_signal(signal.SIGKILL)
    assert mount.wait() == -signal.SIGKILL
    assert mount.is_mounted()
    with pytest.raises(OSError) as error:
        os.listdir(mount.mountpoint)
    assert error.value.errno in (errno.ENOTCONN, errno.ECONNABORTED, errno.ECANCELED)
    mounts.unmount(mount.mountpoint)
    assert not mount.is_mounted()


def test_mounted_again_after_a_crash(new_mount, place):
    """The dead mount is refused or covered, never a hang; then a fresh one works."""
    mountpoint = os.path.join(place, "mnt")
    os.mkdir(mountpoint)
    mount = new_mount("tmpfs", mountpoint=mountpoint)
    mount.send_signal(signal.SIGKILL)
    mount.wait()
    mounts.unmount(mountpoint)
    again = new_mount("tmpfs", mountpoint=mountpoint)
    touch(again)


def test_the_transport_that_was_asked_for_runs(new_mount, program, transport):
    mount = new_mount(program, "--debug", *transport.options)
    touch(mount)
    name = "io_uring" if transport.is_uring else "/dev/fuse"
    mount.wait_logged(rf"transport: {re.escape(name)}\b")
    mount.stop()
    assert len(re.findall(r"transport: (?:io_uring|/dev/fuse)", mount.stderr())) == 1


def test_io_uring_is_taken_by_itself_where_the_kernel_offers_it(new_mount, uring_switch):
    reason = uring_switch.why_not()
    mount = new_mount("lltest", "--debug")
    touch(mount)
    mount.wait_logged(r"transport: /dev/fuse" if reason else r"transport: io_uring")


@pytest.mark.parametrize("options", [["--single"], ["-s"]])
def test_one_worker_is_one_at_a_time(new_mount, many, options):
    mount = new_mount("tmpfs", *many.options, *options)

    def work(_link, who):
        for number in range(50):
            path = os.path.join(mount.mountpoint, f"{who}-{number}")
            os.mkdir(path)
            os.rmdir(path)

    for child in [Child(work, who) for who in range(3)]:
        child.result()


def test_every_line_of_the_debug_log_has_its_form(new_mount, program, transport):
    mount = new_mount(program, "--debug", *transport.options)
    touch(mount)
    mount.stop()
    lines = mount.stderr().splitlines()
    assert lines
    assert [line for line in lines if not LOG_LINE.match(line)] == []


def test_says_nothing_without_being_asked(new_mount, program, transport):
    mount = new_mount(program, *transport.options)
    touch(mount)
    mount.stop()
    assert mount.stderr() == ""
    assert mount.stdout() == ""


def test_the_trace_of_requests_is_logged(new_mount, program):
    mount = new_mount(program, "--debug-fuse")
    touch(mount)
    mount.wait_logged(r"(?i)getattr|opendir|readdir")


def test_sigusr1_logs_the_counters(new_mount, program, transport):
    mount = new_mount(program, *transport.options)
    touch(mount)
    mount.send_signal(signal.SIGUSR1)
    mount.wait_logged(r"\bgetattr\b\D*[1-9]")
    touch(mount)
    mount.send_signal(signal.SIGUSR1)
    mount.stop()
    assert [line for line in mount.stderr().splitlines() if not LOG_LINE.match(line)] == []


def test_sigusr2_logs_every_threads_stack(new_mount, program, many):
    mount = new_mount(program, *many.options)
    touch(mount)
    mount.send_signal(signal.SIGUSR2)
    mount.wait_logged(r"(?i)thread.*\n(.*\n)*?.*(0x[0-9a-f]+|main|llfuse)")
    touch(mount)
    mount.stop()
    assert [line for line in mount.stderr().splitlines() if not LOG_LINE.match(line)] == []


def run_daemon(program, place, *options):
    """Starts the program in the background with relative paths; the daemon's pid."""
    for name in ("mnt", "source"):
        os.mkdir(os.path.join(place, name))
    operands = ["source", "mnt"] if program == "passthroughfs" else ["mnt"]
    before = set(children())
    done = subprocess.run(
        [mounts.executable(program), "--daemon", *options, *operands],
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        preexec_fn=mounts.before_exec,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (pid,) = set(children()) - before
    return pid


def wait_for_end(pid):
    pidfd = os.pidfd_open(pid)
    try:
        assert kernel.wait_readable(20, pidfd), "the daemon does not end"
    finally:
        os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("how", [signal.SIGTERM, "umount"])
def test_in_the_background(place, program, many, how):
    """The command returns once the mount is there; the daemon lives on by itself."""
    mountpoint = os.path.join(place, "mnt")
    pid = run_daemon(program, place, *many.options)
    try:
        assert mounts.mount_at(mountpoint) is not None
        assert isinstance(os.listdir(mountpoint), list)
        # In a sandbox it is a proc of the daemon's own, which keeps nothing busy either.
        assert os.readlink(f"/proc/{pid}/cwd") in ("/", f"/{pid}/fd")
        assert os.getsid(pid) != os.getsid(0)
        assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)} == {"/dev/null"}
        if program == "passthroughfs":
            with open(os.path.join(mountpoint, "f"), "wb") as file:
                file.write(b"x")
            assert os.path.exists(os.path.join(place, "source", "f"))
    except BaseException:
        mounts.unmount(mountpoint, kernel.MNT_DETACH)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    if how == "umount":
        mounts.unmount(mountpoint)
    else:
        os.kill(pid, how)
    assert wait_for_end(pid) == 0
    assert mounts.mount_at(mountpoint) is None


def test_in_the_background_a_failure_is_still_told(place, program):
    """What goes wrong before the mount reaches the command's stderr and status."""
    operands = [place, "missing"] if program == "passthroughfs" else ["missing"]
    done = subprocess.run(
        [mounts.executable(program), "--daemon", *operands],
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"{program}: ")


@pytest.mark.limit(300)
def test_a_hundred_mounts_leave_nothing(place, many):
    mountpoint = os.path.join(place, "mnt")
    os.mkdir(mountpoint)
    mounts_before = mounts.mounts_of_ours()
    children_before = sorted(children())
    descriptors_before = len(os.listdir("/proc/self/fd"))
    for number in range(100):
        with mounts.Mount("lltest", mountpoint, *many.options) as mount:
            if number % 3:
                assert os.listdir(mountpoint) == ["message"]
            mount.stop("umount" if number % 2 else signal.SIGTERM)
    assert mounts.mounts_of_ours() == mounts_before
    assert sorted(children()) == children_before
    assert len(os.listdir("/proc/self/fd")) == descriptors_before


def test_many_opens_leave_no_descriptor(new_mount, many):
    for program in ("tmpfs", "passthroughfs"):
        mount = new_mount(program, *many.options)
        touch(mount)
        before = mount.descriptors()
        for number in range(400):
            path = os.path.join(mount.mountpoint, f"f{number}")
            with open(path, "wb") as file:
                file.write(b"x")
            with open(path, "rb") as file:
                file.read()
            if number % 50 == 0:
                os.listdir(mount.mountpoint)
            os.unlink(path)
        deadline = time.monotonic() + 10
        while mount.descriptors() > before + 100 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert mount.descriptors() <= before + 100


def test_there_is_room_for_descriptors_from_the_beginning(new_mount, program, many):
    """To make some while threads share them stops all of them for many milliseconds."""
    mount = new_mount(program, *many.options)
    touch(mount)
    limit, _ = resource.prlimit(mount.pid, resource.RLIMIT_NOFILE)
    with open(f"/proc/{mount.pid}/status", encoding="ascii") as file:
        room = int(re.search(r"^FDSize:\s+(\d+)$", file.read(), re.MULTILINE)[1])
    assert room >= min(limit, 16384)


@needs_root
def test_two_mounts_on_top_of_each_other_end_separately(new_mount, place):
    mountpoint = os.path.join(place, "mnt")
    os.mkdir(mountpoint)
    below = new_mount("lltest", mountpoint=mountpoint)
    above = mounts.Mount("tmpfs", mountpoint)
    try:
        assert mounts.wait_mounts(lambda: mounts.mount_at(mountpoint).fstype == "fuse.tmpfs")
        assert os.listdir(mountpoint) == []
        above.send_signal(signal.SIGTERM)
        assert above.wait() == 0
        assert os.listdir(mountpoint) == ["message"]
    finally:
        above.abandon() if above in mounts.live else None
    below.stop()


@needs_root
def test_a_mount_ends_below_another_of_ours(new_mount, place):  # L12
    mountpoint = os.path.join(place, "mnt")
    os.mkdir(mountpoint)
    below = new_mount("lltest", mountpoint=mountpoint)
    touch(below)
    above = mounts.Mount("tmpfs", mountpoint)
    try:
        assert mounts.wait_mounts(lambda: mounts.mount_at(mountpoint).fstype == "fuse.tmpfs")
        os.mkdir(os.path.join(mountpoint, "d"))
        below.send_signal(signal.SIGTERM)
        assert below.wait() == 0
        assert os.listdir(mountpoint) == ["d"]
        above.send_signal(signal.SIGTERM)
        assert above.wait() == 0
        assert mounts.mount_at(mountpoint).fstype == "fuse.lltest"  # dead, and said to be there
    finally:
        above.abandon()
        while mounts.mount_at(mountpoint):
            kernel.umount(mountpoint, kernel.MNT_DETACH)


# The first unmounts by itself, the second by way of the process that it left outside of its sandbox.
unmounts_either_way = pytest.mark.parametrize("program", ["lltest", "passthroughfs"])


@contextlib.contextmanager
def foreign_mount(mountpoint):
    """Somebody else's, who has a file there."""
    kernel.mount("foreign", mountpoint, "tmpfs")
    try:
        with open(os.path.join(mountpoint, "precious"), "wb"):
            pass
        yield
        assert os.listdir(mountpoint) == ["precious"]
    finally:
        while mounts.mount_at(mountpoint):
            kernel.umount(mountpoint, kernel.MNT_DETACH)


@needs_root
@unmounts_either_way
def test_who_ends_below_a_mount_leaves_that_alone(new_mount, many, program):  # L12
    mount = new_mount(program, *many.options)
    touch(mount)
    with foreign_mount(mount.mountpoint):
        mount.send_signal(signal.SIGTERM)
        assert mount.wait() == 0
        assert f"cannot unmount {mount.mountpoint}\n" in mount.stderr()


@needs_root
@unmounts_either_way
def test_who_was_detached_leaves_the_next_mount_alone(new_mount, many, program):  # L12
    mount = new_mount(program, *many.options)
    fd = os.open(mount.mountpoint, os.O_RDONLY | os.O_DIRECTORY)
    try:
        kernel.umount(mount.mountpoint, kernel.MNT_DETACH)
        with foreign_mount(mount.mountpoint):
            mount.send_signal(signal.SIGTERM)
            assert mount.wait() == 0
    finally:
        os.close(fd)
    assert "cannot unmount" not in mount.stderr()


@needs_root
@unmounts_either_way
def test_unmounts_where_its_mount_point_has_gone(new_mount, place, many, program):  # L12
    """A directory above it was renamed, and something else has its old name."""
    above, elsewhere = os.path.join(place, "above"), os.path.join(place, "elsewhere")
    os.makedirs(os.path.join(above, "mnt"))
    mount = new_mount(program, *many.options, mountpoint=os.path.join(above, "mnt"))
    touch(mount)  # it has found out which mount is its own
    os.rename(above, elsewhere)
    os.makedirs(mount.mountpoint)
    with foreign_mount(mount.mountpoint):
        mount.send_signal(signal.SIGTERM)
        assert mount.wait() == 0
    assert mounts.mount_at(os.path.join(elsewhere, "mnt")) is None
    assert mount.stderr() == ""


@needs_root
def test_mount_point_shows_program_and_source(new_mount, program):
    mount = new_mount(program)
    entry = mounts.mount_at(mount.mountpoint)
    assert entry.fstype == f"fuse.{program}"
    assert entry.source == (mount.source if program == "passthroughfs" else program)
    assert "default_permissions" in entry.super_options


def test_fsname_can_be_given(new_mount, program):
    mount = new_mount(program, "-o", "fsname=something else")
    assert mounts.mount_at(mount.mountpoint).source == "something else"


@needs_root
@pytest.mark.parametrize("flags", [0, os.O_NONBLOCK])
def test_a_descriptor_that_somebody_else_has_mounted(place, many, flags):
    """Also one that does not block; the mount stays, whoever's it is."""
    elsewhere = os.path.join(place, "elsewhere")
    os.mkdir(elsewhere)
    fd = os.open("/dev/fuse", os.O_RDWR | flags)
    try:
        kernel.mount("elsewhere", elsewhere, "fuse", 0, f"fd={fd},rootmode=40000,user_id=0,group_id=0")
        mount = mounts.Mount("lltest", place, operands=[*many.options, f"/dev/fd/{fd}"], pass_fds=(fd,))
    finally:
        os.close(fd)
    try:
        for _ in range(200):
            assert os.listdir(elsewhere) == ["message"]
            assert not os.path.exists(os.path.join(elsewhere, "other"))
        before = cpu_ticks(mount)
        time.sleep(0.3)  # in which it has nothing to do
        assert cpu_ticks(mount) - before < 10
        mount.send_signal(signal.SIGTERM)
        assert mount.wait() == 0
        assert mounts.mount_at(elsewhere) is not None
    finally:
        kernel.umount(elsewhere, kernel.MNT_DETACH)
        mount.abandon()


def cpu_ticks(mount):
    """The processor time of a program so far, in hundredths of a second."""
    with open(f"/proc/{mount.pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize("option", ["clone_fd", "max_idle_threads=1", "max_threads=3"])
def test_options_about_threads(new_mount, program, many, option):
    mount = new_mount(program, *many.options, "-o", option)
    touch(mount)
    mount.stop()
    assert mount.stderr() == ""


def test_odd_bytes_in_the_paths(new_mount, place):
    """A comma, a backslash and a space in SOURCE and mount point reach nobody as an option."""
    source = os.path.join(place, "so,ro\\,u r=ce")
    mountpoint = os.path.join(place, "mo,u\\n t")
    os.mkdir(source)
    os.mkdir(mountpoint)
    mount = new_mount("passthroughfs", source=source, mountpoint=mountpoint)
    entry = mounts.mount_at(mountpoint)
    assert "ro" not in entry.options
    assert entry.source.startswith(os.path.join(place, "so"))
    with open(os.path.join(mountpoint, "f"), "wb") as file:
        file.write(b"x")
    assert os.listdir(source) == ["f"]
    mount.stop()


def test_the_tests_notice_a_program_that_ends_at_once(place):
    """Of the harness itself: no time-out is waited for."""
    start = time.monotonic()
    with pytest.raises(mounts.Failed):
        mounts.Mount("lltest", tempfile.mkdtemp(dir=place), "--nosuch").wait_mounted()
    assert time.monotonic() - start < 10
