# SPDX-License-Identifier: MIT
"""Starts the programs, waits for their mounts by event, and takes everything down again."""

import contextlib
import errno
import json
import os
import re
import select
import signal
import subprocess
import time

from harness import kernel

TIMEOUT_S = 20
SANITIZER_REPORT = re.compile(
    r"ERROR: AddressSanitizer|ERROR: LeakSanitizer|LeakSanitizer:|runtime error:|WARNING: ThreadSanitizer"
    r"|ThreadSanitizer:|AddressSanitizer:"
)


class Failed(AssertionError):
    """A program did not do what every test expects of it."""


def build_dir():
    """Where the programs under test are."""
    return os.environ.get("LLFUSE_BUILD") or os.path.join(
        os.path.dirname(os.path.abspath(__file__)), *[os.pardir] * 3, "build"
    )


def is_sanitized():
    """Whether the programs are built with sanitizers, which makes them slower."""
    try:
        with open(os.path.join(build_dir(), "meson-info/intro-buildoptions.json"), encoding="utf-8") as file:
            options = {option["name"]: option["value"] for option in json.load(file)}
    except OSError:
        return False
    return options.get("b_sanitize") not in (None, [], "none")


def executable(program):
    return os.path.join(os.path.abspath(build_dir()), program)


class MountEntry:
    """One line of /proc/self/mountinfo."""

    def __init__(self, line):
        fields = line.split(b" ")
        rest = fields[fields.index(b"-") :]
        self.minor = int(fields[2].split(b":")[1])
        self.mountpoint = os.fsdecode(_unescape(fields[4]))
        self.options = fields[5].decode().split(",")
        self.fstype = rest[1].decode()
        self.source = os.fsdecode(_unescape(rest[2]))
        self.super_options = rest[3].decode().strip().split(",")


def _unescape(field):
    return re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), field)


def all_mounts(pid="self"):
    with open(f"/proc/{pid}/mountinfo", "rb") as file:
        return [MountEntry(line) for line in file]


def unmount(mountpoint, flags=0):
    """umount2(2), or what an ordinary user has in its place, which knows no MNT_FORCE."""
    if os.geteuid() == 0:
        kernel.umount(mountpoint, flags)
        return
    lazily = ["-z"] if flags else []
    done = subprocess.run(
        ["fusermount3", "-u", *lazily, mountpoint],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode != 0:
        raise OSError(errno.EPERM, done.stderr.strip(), mountpoint)


def mounts_of_ours():
    """The mount points below the tests' own directory, each as often as it is mounted on."""
    work = os.path.dirname(os.environ["LLFUSE_TEST_WORK"])
    return [entry.mountpoint for entry in all_mounts() if entry.mountpoint.startswith(work + "/")]


def mount_at(mountpoint):
    """The topmost mount at @mountpoint, or None."""
    found = [entry for entry in all_mounts() if entry.mountpoint == mountpoint]
    return found[-1] if found else None


def wait_mounts(condition, timeout_s=TIMEOUT_S, pidfd=None):
    """
    Waits until @condition() of the mounts holds; True if it does.  False when the time is over, or
    when the process of @pidfd ends first.
    """
    deadline = time.monotonic() + timeout_s
    with open("/proc/self/mountinfo", "rb") as file:
        poll = select.poll()
        poll.register(file, select.POLLPRI | select.POLLERR)
        if pidfd is not None:
            poll.register(pidfd, select.POLLIN)
        while True:
            if condition():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            for fd, _ in poll.poll(left * 1000):
                if fd == pidfd:
                    return condition()


def before_exec():
    """Gives a program the signals of a shell's foreground job, which the tests may not have
    themselves, and lets it end with us, however we end."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    kernel.die_with_parent(signal.SIGKILL)


live = []  # Every mount that was started and not taken down, for the watchdog.


class Mount:
    """
    One running program.  Use it in a `with` statement, which stops it as a user would (SIGTERM),
    and fails unless it ends with status 0 and without a sanitizer's report.  @operands replaces the
    whole command line; what else is given goes to subprocess.Popen().
    """

    def __init__(self, program, mountpoint, *options, source=None, **popen):
        self.program = program
        self.mountpoint = os.path.realpath(mountpoint)
        self.source = source
        self.options = options
        self.minor = None
        self._log_checked = 0
        work = os.environ["LLFUSE_TEST_WORK"]
        serial = len(os.listdir(work))
        self.stderr_path = os.path.join(work, f"{serial:05}-{program}.stderr")
        self.stdout_path = os.path.join(work, f"{serial:05}-{program}.stdout")
        # In the sandbox no search for leaks is possible: see sandbox.c.
        if program == "passthroughfs" and is_sanitized() and not any(o.startswith("--sandbox") for o in options):
            options = self.options = (*options, "--sandbox=none")
        with contextlib.ExitStack() as stack:
            stdout = stack.enter_context(open(self.stdout_path, "wb"))
            stderr = stack.enter_context(open(self.stderr_path, "ab"))
            operands = popen.pop("operands", None)
            if operands is None:
                operands = [*options, *([] if source is None else [source]), mountpoint]
            popen.setdefault("start_new_session", True)
            popen.setdefault("preexec_fn", before_exec)
            self.process = subprocess.Popen(
                [popen.pop("executable", executable(program)), *operands],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                **popen,
            )
        self.pidfd = os.pidfd_open(self.process.pid)
        live.append(self)

    @property
    def pid(self):
        return self.process.pid

    def wait_mounted(self):
        """Waits until the program has mounted.  The file system may not have answered yet."""
        if not wait_mounts(self.is_mounted, pidfd=self.pidfd):
            status = self.process.poll()
            told = self.stderr()
            self.abandon()
            raise Failed(f"{self.program} {' '.join(self.options)}: not mounted, status {status}: {told}")
        self.minor = mount_at(self.mountpoint).minor
        return self

    def is_mounted(self):
        return mount_at(self.mountpoint) is not None

    def is_running(self):
        return self.process.poll() is None

    def stderr(self):
        with open(self.stderr_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def stdout(self):
        with open(self.stdout_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_logged(self, pattern, timeout_s=TIMEOUT_S):
        """Waits until stderr contains a match of @pattern, and returns it."""
        watch = kernel.FileWatch(self.stderr_path)
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                watch.drain()
                found = re.search(pattern, self.stderr(), re.MULTILINE)
                if found:
                    return found
                left = deadline - time.monotonic()
                ready = kernel.wait_readable(left, watch.fd, self.pidfd)
                if not ready or self.pidfd in ready:
                    found = re.search(pattern, self.stderr(), re.MULTILINE)
                    if found:
                        return found
                    raise Failed(f"{self.program} does not log {pattern!r}: {self.stderr()}")
        finally:
            watch.close()

    def memory_kib(self):
        """The resident memory of the program."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return int(re.search(r"^VmRSS:\s+(\d+) kB", file.read(), re.MULTILINE)[1])

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def send_signal(self, number):
        self.process.send_signal(number)

    def pause(self):
        """Stops the program until it gets a SIGCONT: none of its threads answers any more."""
        self.send_signal(signal.SIGSTOP)
        ended = os.waitid(os.P_PIDFD, self.pidfd, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if ended.si_code != os.CLD_STOPPED:
            raise Failed(f"{self.program} ended instead of being stopped: {self.stderr()}")

    def wait(self, timeout_s=TIMEOUT_S):
        """Waits for the program's end and returns its exit status."""
        if not kernel.wait_readable(timeout_s, self.pidfd):
            told = self.stderr()
            self.abandon()
            raise Failed(f"{self.program} {' '.join(self.options)} does not end: {told}")
        status = self.process.wait()
        if self in live:
            live.remove(self)
            os.close(self.pidfd)
        self.check_log()
        return status

    def stop(self, how=signal.SIGTERM, status=0):
        """Ends the program with a signal, or by "umount", and checks how it ended."""
        if how == "umount":
            unmount(self.mountpoint)
        else:
            self.send_signal(how)
        ended = self.wait()
        if ended != status:
            self.abandon()
            raise Failed(f"{self.program}: exit status {ended}, not {status}: {self.stderr()}")
        if self.is_mounted():
            self.abandon()
            raise Failed(f"{self.program} ended and left its mount")

    def check_log(self):
        """Fails if a sanitizer reported something since the last call."""
        text = self.stderr()
        fresh = text[self._log_checked :]
        self._log_checked = len(text)
        if SANITIZER_REPORT.search(fresh):
            raise Failed(f"{self.program} {' '.join(self.options)}: {fresh}")

    def abort(self):
        """Makes every call on the mount, also one that hangs, end with an error."""
        with contextlib.suppress(OSError):
            unmount(self.mountpoint, kernel.MNT_FORCE | kernel.MNT_DETACH)
        # Requests in the ring of a program that does not run outlive the end of the connection.
        with contextlib.suppress(OSError):
            if self.process.returncode is None:
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        with contextlib.suppress(OSError):
            if self.minor is not None:
                with open(f"/sys/fs/fuse/connections/{self.minor}/abort", "w", encoding="ascii") as file:
                    file.write("1")

    def abandon(self):
        """Takes everything down, whatever state it is in."""
        if self not in live:
            while self.is_mounted():
                try:
                    unmount(self.mountpoint, kernel.MNT_DETACH)
                except OSError:
                    break
            return
        live.remove(self)
        if self.is_mounted():
            self.abort()
        if self.process.poll() is None:
            self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(TIMEOUT_S)
        os.close(self.pidfd)
        if self.is_mounted():
            with contextlib.suppress(OSError):
                unmount(self.mountpoint, kernel.MNT_DETACH)

    def __enter__(self):
        return self.wait_mounted()

    def __exit__(self, kind, value, trace):
        if kind is not None:
            self.abandon()
        elif self in live:
            self.stop()


def abort_all():
    for mount in list(live):
        mount.abort()


def take_down_all():
    for mount in list(live):
        mount.abandon()


def kernel_version():
    return tuple(int(part) for part in re.match(r"(\d+)\.(\d+)", os.uname().release).groups())


def can_passthrough():
    """Whether the kernel lets us register backing files: with root, and FUSE passthrough (Linux 6.9)."""
    version = kernel_version()
    return os.geteuid() == 0 and version >= (6, 9)


class Transport:
    """One way in which requests come, as command line options."""

    def __init__(self, name):
        self.name = name
        self.is_uring, self.is_single = {
            "io_uring-many": (True, False),
            "io_uring-single": (True, True),
            "dev_fuse-many": (False, False),
            "dev_fuse-single": (False, True),
        }[name]

    @property
    def options(self):
        options = ["-o", "io_uring" if self.is_uring else "no_io_uring"]
        return options + ["--single"] if self.is_single else options


MANY = ("io_uring-many", "dev_fuse-many")
TRANSPORTS = (*MANY, "io_uring-single", "dev_fuse-single")
if is_sanitized():
    # Sanitizers take long, and what they find in a handler they find on any transport.
    TRANSPORTS = ("io_uring-many", "dev_fuse-single")
PARAMETER = "/sys/module/fuse/parameters/enable_uring"


class UringSwitch:
    """The kernel's switch for FUSE over io_uring: on for the time of the tests."""

    def __init__(self):
        self._before = None

    def why_not(self):
        """Switches it on.  Returns why that cannot be, or None."""
        try:
            with open(PARAMETER, encoding="ascii") as file:
                state = file.read().strip()
        except OSError:
            return "this kernel has no FUSE over io_uring (no parameter enable_uring)"
        try:
            with open("/proc/sys/kernel/io_uring_disabled", encoding="ascii") as file:
                if file.read().strip() == "2":
                    return "kernel.io_uring_disabled is 2"
        except OSError:
            pass
        if state == "Y":
            return None
        try:
            self._set("Y")
        except OSError as err:
            return f"enable_uring is {state} and cannot be set: {err.strerror}"
        if self._before is None:
            self._before = state
        return None

    def restore(self):
        if self._before is not None:
            self._set(self._before)

    @staticmethod
    def _set(value):
        with open(PARAMETER, "w", encoding="ascii") as file:
            file.write(value)
