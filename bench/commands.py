# SPDX-License-Identifier: MIT
"""Runs programs and times them.  Whatever is started here is ended, with all its children."""

import contextlib
import os
import select
import signal
import subprocess
import tempfile
import time

import interrupts
from harness import kernel
from subjects import Failed, how_it_ended, last_line

TIMEOUT_S = 300
NOT_SUPPORTED = 3  # the exit status of ops for an operation that the file system does not have


class NotSupported(Exception):
    """The file system has no such operation: nothing is wrong, there is only nothing to measure."""


class NotMeasured(Exception):
    """It is left out for the reason that this gives."""


def environment(work):
    """The same for everybody: nothing of the user's configuration, of make, or of the language."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "SHELL", "TERM")}
    author = {f"GIT_{who}_{what}": "bench" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {
        **kept,
        **author,
        "HOME": work,
        "TMPDIR": work,
        "LC_ALL": "C",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
    }


running = []  # what was started and not ended, for the way down


def start(command, **popen):
    """In a process group of its own, so that its children can be ended with it."""
    with interrupts.held_back():
        process = subprocess.Popen(command, start_new_session=True, preexec_fn=interrupts.before_exec, **popen)
        running.append(process)
    return process


def end_group(process):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # A call on a mount that hangs ends when the mount is aborted, and not by this.
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    running.remove(process)


def end_all():
    for process in list(running):
        end_group(process)


class Finished:
    def __init__(self, seconds, output):
        self.seconds = seconds
        self.output = output


def wait(process, timeout_s):
    """Popen.wait() with a limit polls, up to 50 ms late: of no use to who takes the time."""
    pidfd = os.pidfd_open(process.pid)
    try:
        if not kernel.wait_readable(timeout_s, pidfd):
            raise Failed(f"{process.args[0]}: not finished after {timeout_s} s")
    finally:
        os.close(pidfd)
    return process.wait()


def run(command, work, cwd=None, timeout_s=TIMEOUT_S):
    """Runs @command to its end.  Raises Failed unless it succeeds."""
    with tempfile.TemporaryFile(dir=work) as output, tempfile.TemporaryFile(dir=work) as errors:
        process = start(
            command, cwd=cwd, env=environment(work), stdin=subprocess.DEVNULL, stdout=output, stderr=errors
        )
        begun = time.perf_counter()  # when it runs: how long we take to start it is not its affair
        try:
            status = wait(process, timeout_s)
            seconds = time.perf_counter() - begun
        finally:
            end_group(process)
        if status != 0:
            raise Failed(f"{command[0]}: {how_it_ended(status, text_of(errors))}")
        return Finished(seconds, text_of(output))


def text_of(file):
    file.seek(0)
    return file.read().decode("utf-8", "replace")


class Ops:
    """
    One process of the C driver, see ops.c: wait_ready(), go(), result(), then tidy(), which has it take away what it
    made, and wait_end().  Of several each step is done by all before the next one.  A `with` statement ends it in any
    case.
    """

    def __init__(self, program, operation, directory, entries, count, limit_ms=None):
        self.operation = operation
        limit = [str(limit_ms)] if limit_ms else []
        command = [program, operation, directory, str(entries), str(count), *limit]
        pipe = subprocess.PIPE
        self._process = start(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def wait_ready(self):
        self._expect_line()

    def _expect_line(self):
        if not select.select([self._process.stdout], [], [], TIMEOUT_S)[0]:
            raise Failed(f"{self.operation}: not finished after {TIMEOUT_S} s")
        line = self._process.stdout.readline()
        if not line:
            self._complain()
        return line

    def _complain(self):
        text = last_line(self._process.stderr.read())
        if self._process.wait() == NOT_SUPPORTED:
            raise NotSupported(text)
        raise Failed(text)

    def _say_line(self):
        # It may have ended with an error, which we are about to read.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("\n")
            self._process.stdin.flush()

    def go(self):
        self._say_line()

    def result(self):
        """Nanoseconds for one operation, how many there were, and when they began and ended."""
        ns, count, start, end = self._expect_line().split()
        return float(ns), int(count), int(start), int(end)

    def tidy(self):
        self._say_line()

    def wait_end(self):
        if wait(self._process, TIMEOUT_S) != 0:
            self._complain()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.end()

    def end(self):
        end_group(self._process)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            with contextlib.suppress(OSError):
                stream.close()


class Counted:
    """In a `with` statement: what the program of @mounted was asked for in the meantime."""

    def __init__(self, mounted):
        self._mounted = mounted
        self._before = None
        self.requests = None

    def __enter__(self):
        self._before = self._mounted.requests()
        return self

    def __exit__(self, kind, value, trace):
        if kind is None and self._before is not None:
            self.requests = self._mounted.requests() - self._before

    def per(self, units):
        """The requests of each type for each of @units, or None where nobody counts."""
        if self.requests is None:
            return None
        return {name: count / units for name, count in self.requests.items()}


def measure(bench, mounted, operation, directories, entries, count=1, limit_ms=None, is_cold=False):
    """
    One operation by a process for each of @directories, which hold so many @entries, @count times or for as long
    as @limit_ms allows.  Returns the microseconds for each, as the clock on the wall has it, and the requests for each.
    """
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(Ops(bench.ops, operation, directory, entries, count, limit_ms))
            for directory in directories
        ]
        for process in processes:
            process.wait_ready()
        if is_cold:
            mounted.drop_names()
        with Counted(mounted) as counted:
            for process in processes:
                process.go()
            told = [process.result() for process in processes]
        for process in processes:
            process.tidy()
        for process in processes:
            process.wait_end()
    total = sum(count for _, count, _, _ in told)
    took_ns = max(end for *_, end in told) - min(start for *_, start, _ in told)
    return took_ns / total / 1000, counted.per(total)
