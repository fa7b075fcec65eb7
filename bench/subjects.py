# SPDX-License-Identifier: MIT
"""
What is measured: how each is mounted, what it tells about itself, and how it is taken down whatever
happened.  Which there are is in comparisons.py.
"""

import collections
import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time

import interrupts
from harness import kernel, mounts

MS_NOSUID = 2
MS_NODEV = 4
MS_REMOUNT = 32
MOUNT_FLAGS = MS_NOSUID | MS_NODEV  # what a FUSE mount has, for all
SETTLE_TIMEOUT_S = 60
STOP_TIMEOUT_S = 60

Failed = mounts.Failed


class Subject:
    """
    Its name in the tables, and how to mount it: @mount(directory, on_disk) returns a mounted one, whose
    files come to lie on a disk if they can and shall.  @known_failures are patterns of what does not work and is
    none of our business, @why_not_large says why very many files in a directory are beyond it.  What @is_slow gets fewer
    files in a directory, what @has_small_file a file of SLOW_FILE_MIB.  @same_names_as another subject's are kept, which is
    measured where it is about names only.  What is no program (@is_program) has no memory of its own.
    """

    def __init__(
        self,
        name,
        mount,
        is_ours=False,
        is_slow=False,
        has_small_file=False,
        passes_data_through=False,
        known_failures=(),
        why_not_large="",
        same_names_as="",
        is_program=True,
    ):
        self.name = name
        self.mount = lambda directory, on_disk=False: mount(self, directory, on_disk)
        self.is_ours = is_ours
        self.is_slow = is_slow
        self.has_small_file = has_small_file
        self.passes_data_through = passes_data_through
        self.known_failures = known_failures
        self.why_no_names = f"names are kept as with {same_names_as}" if same_names_as else ""
        self.why_not_large = why_not_large or self.why_no_names
        self.is_program = is_program


class KernelMount:
    """The kernel's tmpfs: no program, so nothing to ask and nothing to wait for."""

    command = None

    def __init__(self, subject, directory):
        self.subject = subject
        self.directory = directory
        begun = time.perf_counter()
        kernel.mount("bench", directory, "tmpfs", MOUNT_FLAGS, "nr_inodes=0,mode=755")
        os.stat(directory)
        self.start_s = time.perf_counter() - begun

    def is_usable(self):
        return True

    def settle(self):
        pass

    def drop_names(self):
        """Here as for all: but this file system holds on to its names."""
        kernel.mount(None, self.directory, None, MS_REMOUNT | MOUNT_FLAGS)

    def requests(self):
        return None

    def close(self):
        kernel.umount(self.directory)

    def abandon(self):
        with contextlib.suppress(OSError):
            kernel.umount(self.directory, kernel.MNT_DETACH)


class Unmounted:
    """In the place of a mounted one, where each step mounts by itself."""

    def __init__(self, subject):
        self.subject = subject
        self.directory = None

    def is_usable(self):
        return True


class DiskDirectory:
    """A directory of its own in @parent, on a file system that is there and is not ours to mount."""

    command = None

    def __init__(self, subject, parent):
        self.subject = subject
        self.directory = tempfile.mkdtemp(prefix="source-", dir=parent)

    def is_usable(self):
        return True

    def settle(self):
        """What was written is on the disk, so that whoever comes next does not wait for that."""
        subprocess.run(["sync", "--file-system", self.directory], check=True)

    def drop_names(self):
        pass

    def requests(self):
        return None

    def close(self):
        shutil.rmtree(self.directory)

    def abandon(self):
        shutil.rmtree(self.directory, ignore_errors=True)


class DaemonMount(mounts.Mount):
    """A file system in user space, of what is in @source if it is given."""

    def __init__(self, subject, directory, program, options, transport, source=None):
        with interrupts.held_back():
            super().__init__(
                os.path.basename(program),
                directory,
                *options,
                source=source,
                executable=program,
                preexec_fn=interrupts.before_exec,
            )
        self.subject = subject
        self.directory = directory
        self.start_s = None  # from its start until it has answered
        self._wait_ready(transport, time.perf_counter())
        self._log = kernel.FileWatch(self.stderr_path)

    def _wait_ready(self, transport, begun):
        self.wait_mounted()
        try:
            os.stat(self.directory)  # answered only when the transport is settled
        except OSError as error:
            self.abandon()
            raise Failed(f"{self.program} does not answer: {error.strerror}") from error
        self.start_s = time.perf_counter() - begun
        running = self.transport()
        if running != transport:
            self.abandon()
            raise Failed(f"{self.program} runs over {running}, not over {transport}")

    @property
    def command(self):
        """How it was started, but for the directories."""
        return " ".join([self.program, *self.options])

    def transport(self):
        """What really runs: libfuse has a thread of this name for each ring."""
        for path in glob.glob(f"/proc/{self.pid}/task/*/comm"):
            with contextlib.suppress(OSError), open(path, encoding="ascii") as file:
                if file.read().startswith("fuse-ring"):
                    return "io_uring"
        return "dev_fuse"

    def is_usable(self):
        return self.is_running() and self.is_mounted()

    def cpu_s(self):
        """The processor time used so far, by the clock that every process has (clock_getcpuclockid(3))."""
        return time.clock_gettime(~self.pid << 3 | 2)

    def settle(self):
        """Waits until the program has no more to do: forgets and releases need no answer, so that nobody
        else can tell when they are done."""
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        quiet = 0
        while quiet < 3:
            before = self.cpu_s()
            time.sleep(0.01)
            quiet = quiet + 1 if self.cpu_s() - before < 0.0002 else 0
            if time.monotonic() > deadline:
                raise Failed(f"{self.program} is still busy after {SETTLE_TIMEOUT_S} s")

    def drop_names(self):
        """The kernel forgets what it knows of this file system, and of no other: a remount does that."""
        kernel.mount(None, self.directory, None, MS_REMOUNT | MOUNT_FLAGS)
        self.settle()

    def requests(self):
        """The requests so far by type, as the program counts them; None for a program that does not."""
        if not self.subject.is_ours:
            return None
        with open(self.stderr_path, "rb") as log:
            log.seek(0, os.SEEK_END)
            self.send_signal(signal.SIGUSR1)
            return self._read_counters(log)

    def _read_counters(self, log):
        deadline = time.monotonic() + mounts.TIMEOUT_S
        text = ""
        while "stats: end" not in text:
            left = deadline - time.monotonic()
            if not kernel.wait_readable(left, self._log.fd, self.pidfd) or not self.is_running():
                raise Failed(f"{self.program} does not tell its counters")
            self._log.drain()
            text += log.read().decode("utf-8", "replace")
        return collections.Counter(
            {name: int(count) for name, count in re.findall(r"stats: (\w+) count=(\d+)", text)}
        )

    def close(self):
        """As a user would end it; a peer may say what it likes as it ends."""
        mounts.unmount(self.mountpoint)
        if not kernel.wait_readable(STOP_TIMEOUT_S, self.pidfd):
            raise Failed(f"{self.program} does not end")
        status = self.wait()
        self._log.close()
        if status != 0 and self.subject.is_ours:
            raise Failed(f"{self.program}: {how_it_ended(status, re.sub('.*stats: .*', '', self.stderr()))}")


class MirrorMount(DaemonMount):
    """A program that shows a @storage, which was made for it and goes with it.  @source is how it is told on the
    command line, unless it is among the @options."""

    def __init__(self, subject, directory, program, options, transport, storage, source=None):
        self.storage = storage
        try:
            super().__init__(subject, directory, program, options, transport, source)
        except BaseException:
            storage.abandon()
            raise

    @property
    def command(self):
        return super().command.replace(self.storage.directory, "SOURCE")

    def settle(self):
        super().settle()
        self.storage.settle()

    def close(self):
        super().close()
        # Detached: the kernel may hold on to files of it for a moment longer than the program lives.
        self.storage.abandon()

    def abandon(self):
        super().abandon()
        self.storage.abandon()


def how_it_ended(status, text):
    how = f"ended by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    return f"{how}: {last_line(text)}" if text.strip() else how


def last_line(text):
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"
