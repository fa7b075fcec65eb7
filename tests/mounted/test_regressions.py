# SPDX-License-Identifier: MIT
"""Mended bugs of the library that show in whole programs: signals, descriptors, memory, severed connections."""

import contextlib
import errno
import os
import re
import resource
import signal
import subprocess
import threading
import time

import pytest

from conftest import children, needs_root
from harness import kernel, mounts
from harness.children import Child
from harness.files import error_of


def with_limit(which, soft, hard):
    """What a program does before it starts with such a limit."""

    def limit():
        mounts.before_exec()
        resource.setrlimit(which, (soft, hard))

    return limit


# --- Few descriptors --------------------------------------------------------------------------


def ends_with_descriptors(number, place, options):
    """Whether lltest mounts with so few descriptors; if it does, it must end as always."""
    mount = mounts.Mount("lltest", place, *options, preexec_fn=with_limit(resource.RLIMIT_NOFILE, number, number))
    try:
        if not mounts.wait_mounts(mount.is_mounted, pidfd=mount.pidfd):
            assert mount.wait() == 1
            return False
        os.listdir(place)
        mount.stop()
        return True
    finally:
        mount.abandon()


@needs_root
def test_a_program_without_a_free_descriptor_ends_in_order(place, transport):
    """Ending threads with pthread_cancel(3) needs a library, which was loaded only then."""
    limits = range(5, 21)
    worked = [number for number in limits if ends_with_descriptors(number, place, transport.options)]
    assert worked and worked[-1] == limits[-1]
    assert worked[0] <= 12


# --- A limit on the length of files ---------------------------------------------------------------


@pytest.mark.parametrize("data", ["daemon", "kernel"])
def test_a_limit_on_files_of_who_started_it_is_an_error(new_mount, data):
    """It used to be a signal that ended the program."""
    if data == "kernel" and not mounts.can_passthrough():
        pytest.skip("data=kernel needs root and passthrough")
    limit = with_limit(resource.RLIMIT_FSIZE, 1 << 20, 1 << 20)
    mount = new_mount("passthroughfs", "-o", f"data={data}", preexec_fn=limit)
    path = os.path.join(mount.mountpoint, "f")
    with open(path, "wb") as file:
        file.write(b"x")
    assert error_of(os.truncate, path, 2 << 20) == errno.EFBIG
    with open(path, "rb+") as file:
        if data == "daemon":  # else the program has no part in it
            assert error_of(os.pwrite, file.fileno(), b"x", 2 << 20) == errno.EFBIG
    assert os.stat(path).st_size == 1


def test_a_soft_limit_on_files_of_who_started_it_is_none(new_mount):
    limit = with_limit(resource.RLIMIT_FSIZE, 1 << 20, resource.RLIM_INFINITY)
    mount = new_mount("passthroughfs", preexec_fn=limit)
    path = os.path.join(mount.mountpoint, "f")
    with open(path, "wb") as file:
        os.truncate(path, 2 << 20)
        os.pwrite(file.fileno(), b"x", 2 << 20)
    assert os.stat(path).st_size == (2 << 20) + 1


def test_a_database_that_may_not_grow_does_not_end_its_mount(new_mount, place):
    limit = with_limit(resource.RLIMIT_FSIZE, 1 << 20, 1 << 20)
    mount = new_mount("tmpfs", "-o", f"data=heap,db={place}/db", preexec_fn=limit)
    with open(os.path.join(mount.mountpoint, "f"), "wb") as file:
        file.write(b"x" * (4 << 20))
        assert error_of(os.fsync, file.fileno()) is not None
    assert os.listdir(mount.mountpoint) == ["f"]
    mount.send_signal(signal.SIGTERM)
    assert mount.wait() == 1


# --- Signals ----------------------------------------------------------------------------------

RESTORED = "INT default, TERM default, HUP default, USR1 default, USR2 default, PIPE default, XFSZ default"
TAKEN = "INT handled, TERM handled, HUP handled, USR1 handled, USR2 handled, PIPE ignored, XFSZ ignored"


@pytest.fixture
def sessions(place, new_mount):
    """Starts the program "sessions" with one session or two; the mount and the second mount point."""
    other = os.path.join(place, "other")
    os.mkdir(other)
    try:

        def start(*options, is_two=False):
            options = [*options, "--other", other] if is_two else options
            mount = new_mount("sessions", *options, executable=mounts.executable("tests/sessions"))
            if is_two:
                assert mounts.wait_mounts(lambda: mounts.mount_at(other), pidfd=mount.pidfd)
            return mount, other

        yield start
    finally:
        while mounts.mount_at(other):
            mounts.unmount(other, kernel.MNT_DETACH)


def wait_told(mount, pattern):
    """Until a line of stdout matches; returns the match."""
    watch = kernel.FileWatch(mount.stdout_path)
    try:
        while not (found := re.search(f"^{pattern}\n", mount.stdout(), re.MULTILINE)):
            ready = kernel.wait_readable(mounts.TIMEOUT_S, watch.fd, mount.pidfd)
            watch.drain()
            if not ready or mount.pidfd in ready:
                break
    finally:
        watch.close()
    found = re.search(f"^{pattern}\n", mount.stdout(), re.MULTILINE)
    assert found
    return found


@pytest.mark.concurrent
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_the_session_whichever_thread_gets_it(sessions, transport, number):
    mount, _ = sessions(*transport.options)
    mount.stop(number)
    assert mount.stdout().endswith(f"closed all: {RESTORED}\n")


@pytest.mark.concurrent
def test_a_signal_stops_all_sessions_of_the_process(sessions, transport):
    mount, other = sessions(*transport.options, is_two=True)
    mount.stop()
    assert mounts.mount_at(other) is None
    assert mount.stdout().endswith(f"closed all: {RESTORED}\n")


@pytest.mark.concurrent
def test_a_session_that_closes_leaves_the_signals_to_the_other(sessions, transport):
    mount, other = sessions(*transport.options, is_two=True)
    mounts.unmount(mount.mountpoint)
    wait_told(mount, f"closed first: {TAKEN}")
    assert mounts.mount_at(other) is not None
    mount.stop()
    assert mounts.mount_at(other) is None
    assert mount.stdout().endswith(f"closed all: {RESTORED}\n")


@pytest.mark.concurrent
@pytest.mark.parametrize("hurry", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_wait_for_what_the_kernel_has(sessions, transport, hurry):
    """The first one does, until a request is answered that the library has sent behind that."""
    mount, _ = sessions(*transport.options, "--dawdle")
    os.stat(mount.mountpoint)  # from the first request on
    mount.send_signal(signal.SIGTERM)
    wait_told(mount, "asked")
    mount.send_signal(signal.SIGHUP)  # a terminal that goes away sends two of them
    if transport.name == "dev_fuse-many":  # elsewhere what is asked now may wait behind the other
        assert os.stat(mount.mountpoint).st_nlink == 2
    time.sleep(1.1)  # what comes sooner counts as the same signal
    mount.stop(hurry)
    assert mount.stdout().endswith(f"closed all: {RESTORED}\n")


@pytest.mark.concurrent
def test_a_program_that_is_killed_while_the_kernel_writes_back_is_gone(sessions, transport):
    """Nobody may be left who waits for its answers and holds the connection."""
    mount, _ = sessions(*transport.options, "--dawdle")
    os.stat(mount.mountpoint)
    mount.send_signal(signal.SIGTERM)
    wait_told(mount, "asked")
    mount.send_signal(signal.SIGKILL)
    assert mount.wait() == -signal.SIGKILL
    # The last is what a ring's requests get that were on their way to it.
    assert error_of(os.statvfs, mount.mountpoint) in (errno.ENOTCONN, errno.ECONNABORTED, errno.ECANCELED)
    mounts.unmount(mount.mountpoint, kernel.MNT_DETACH)


def ask_statfs(_link, path):
    return error_of(os.statvfs, path)


@needs_root
@pytest.mark.concurrent
def test_a_handler_that_waits_learns_of_a_severed_connection(sessions, transport):
    mount, _ = sessions(*transport.options, "--dawdle")
    os.stat(mount.mountpoint)
    child = Child(ask_statfs, mount.mountpoint)
    try:
        wait_told(mount, "asked")
        kernel.umount(mount.mountpoint, kernel.MNT_FORCE | kernel.MNT_DETACH)
        assert child.result() in (errno.ECONNABORTED, errno.ENOTCONN, errno.EINTR)
    finally:
        child.end()
    assert mount.wait() == 0


def test_signals_that_the_program_handles_are_left_to_it(sessions, many):
    mount, _ = sessions(*many.options, "--own")
    mount.send_signal(signal.SIGINT)
    mount.send_signal(signal.SIGHUP)
    wait_told(mount, "own handler")
    mount.stop()
    assert mount.stdout().splitlines() == [
        "own handler",
        "closed first: INT ignored, TERM default, HUP handled, USR1 handled, USR2 default, PIPE default, XFSZ default",
        "closed all: INT ignored, TERM default, HUP handled, USR1 handled, USR2 default, PIPE default, XFSZ default",
    ]


def test_signals_that_the_program_takes_from_us_stay_with_it(sessions, many):
    mount, _ = sessions(*many.options, "--own-late")
    wait_told(mount, "taken")
    mount.send_signal(signal.SIGHUP)
    wait_told(mount, "own handler")
    mount.stop()
    assert mount.stdout().splitlines()[2:] == [
        "closed first: INT ignored, TERM default, HUP handled, USR1 handled, USR2 default, PIPE default, XFSZ default",
        "closed all: INT ignored, TERM default, HUP handled, USR1 handled, USR2 default, PIPE default, XFSZ default",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_to_a_child_is_the_childs(sessions, many, number):
    mount, _ = sessions(*many.options, "--fork")
    child = int(wait_told(mount, r"child (\d+)")[1])
    pidfd = os.pidfd_open(child)
    try:
        os.kill(child, number)
        assert kernel.wait_readable(mounts.TIMEOUT_S, pidfd)
    finally:
        os.close(pidfd)
    assert mount.is_running() and mount.is_mounted()
    mount.stop()


# --- Several sessions -------------------------------------------------------------------------


@pytest.mark.concurrent
def test_sessions_that_are_made_at_once_leave_stderr_to_the_program(place, many):
    """It is replaced while a mount is tried, to hear why it fails."""
    for name in ("one", "other"):
        os.mkdir(os.path.join(place, name))
    done = subprocess.run(
        [mounts.executable("tests/sessions"), *many.options, "--race", "--other", "other", "one"],
        cwd=place,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=mounts.before_exec,
    )
    assert (done.returncode, done.stderr) == (0, "ready\n")


# --- Options ----------------------------------------------------------------------------------


def test_options_of_mount_without_meaning_to_fuse_are_ignored_by_the_library(sessions, many):
    options = "defaults,noexec,relatime,nofail,rw,user,x-a=b\\,c"
    mount, _ = sessions(*many.options, "--raw-options", options)
    assert {"rw", "noexec"} <= set(mounts.mount_at(mount.mountpoint).options)
    mount.stop()


def test_an_unknown_option_is_refused_by_the_library(place):
    command = [mounts.executable("tests/sessions"), "--raw-options", "ro,bogus", os.path.join(place, "other")]
    os.mkdir(command[-1])
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert "bogus: unknown option" in done.stderr


# --- Memory -----------------------------------------------------------------------------------


@pytest.mark.concurrent
def test_threads_that_come_and_go_use_the_same_memory_again(new_mount):
    mount = new_mount("lltest", "-o", "no_io_uring,max_idle_threads=0")
    is_sanitized = mounts.is_sanitized()  # whose memory tells nothing, and which is slow

    def look(part, count):
        for number in range(count):
            with contextlib.suppress(FileNotFoundError):
                os.stat(os.path.join(mount.mountpoint, f"{part}-{number}"))

    def look_in_threads(count):
        threads = [threading.Thread(target=look, args=(part, count)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    look_in_threads(100)
    before = mount.memory_kib()
    look_in_threads(500 if is_sanitized else 5000)
    assert is_sanitized or mount.memory_kib() - before < 20 * 1024


# --- Severed connections ----------------------------------------------------------------------


def stay_in(link, path):
    os.chdir(path)
    link.tell("there")
    link.hear()


@needs_root
def test_a_busy_mount_that_was_forced_ends_and_goes(new_mount, transport):
    mount = new_mount("lltest", *transport.options)
    with Child(stay_in, mount.mountpoint) as child:
        assert child.link.hear() == "there"
        with pytest.raises(OSError) as info:
            kernel.umount(mount.mountpoint, kernel.MNT_FORCE)
        assert info.value.errno == errno.EBUSY
        assert mount.wait() == 0
        assert not mount.is_mounted()
        child.link.tell("leave")
        child.result()


@needs_root
def test_an_aborted_connection_leaves_no_dead_mount(place, new_mount, transport):
    control = os.path.join(place, "fusectl")
    os.mkdir(control)
    try:
        kernel.mount("fusectl", control, "fusectl")
    except OSError as err:
        pytest.skip(f"fusectl cannot be mounted: {err.strerror}")
    try:
        mount = new_mount("lltest", *transport.options)
        assert os.listdir(mount.mountpoint) == ["message"]
        with open(os.path.join(control, str(mount.minor), "abort"), "w", encoding="ascii") as file:
            file.write("1")
        assert mount.wait() == 0
        assert not mount.is_mounted()
    finally:
        kernel.umount(control, kernel.MNT_DETACH)


# --- In the background ------------------------------------------------------------------------


def test_in_the_background_with_the_standard_streams_closed(place, program, many):
    mountpoint = os.path.join(place, "mnt")
    source = os.path.join(place, "source")
    os.mkdir(mountpoint)
    os.mkdir(source)

    def close_streams():
        mounts.before_exec()
        os.close(0)
        os.close(1)

    before = set(children())
    operands = [source, mountpoint] if program == "passthroughfs" else [mountpoint]
    done = subprocess.run(
        [mounts.executable(program), "--daemon", *many.options, *operands],
        stderr=subprocess.PIPE,
        text=True,
        timeout=mounts.TIMEOUT_S,
        preexec_fn=close_streams,
        check=False,
    )
    left = set(children()) - before
    try:
        assert (done.returncode, done.stderr) == (0, "")
        assert mounts.mount_at(mountpoint) is not None
        assert isinstance(os.listdir(mountpoint), list)
        (pid,) = left
        assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (0, 1, 2)} == {"/dev/null"}
    finally:
        if mounts.mount_at(mountpoint):
            mounts.unmount(mountpoint, kernel.MNT_DETACH)
        statuses = []
        for pid in left:
            pidfd = os.pidfd_open(pid)
            if not kernel.wait_readable(mounts.TIMEOUT_S, pidfd):
                os.kill(pid, signal.SIGKILL)
            os.close(pidfd)
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    assert statuses == [0]
