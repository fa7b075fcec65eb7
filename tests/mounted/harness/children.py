# SPDX-License-Identifier: MIT
"""Functions run in a forked process: as another user, in a mount namespace of its own, or
at the same time as others.  A child that hangs is a failure of the test, never of the suite."""

import multiprocessing
import os
import pickle
import signal
import time
import traceback

from harness import kernel

DEFAULT_TIMEOUT_S = 60


class ChildFailed(AssertionError):
    """The function raised in the child; the text is the child's traceback."""


class Child:
    """
    Runs @function(@link, *args) in a process of its own.  @link is the child's end of a two-way
    connection, whose other end is self.link: both send and receive with tell() and hear().
    """

    def __init__(self, function, *args, uid=None, gid=None, groups=(), private_mounts=False):
        self.link, theirs = map(_Link, multiprocessing.Pipe())
        self._result = None
        self._ended = False
        self.pid = os.fork()
        if self.pid == 0:
            self.link.close()
            _become(theirs, function, args, uid, gid, groups, private_mounts)
        theirs.close()
        self.pidfd = os.pidfd_open(self.pid)

    def result(self, timeout_s=DEFAULT_TIMEOUT_S):
        """What the function returned; raises what it raised, or TimeoutError."""
        try:
            while self._result is None:
                self._result = self.link.hear_result(timeout_s)
        except EOFError:
            raise ChildFailed("the child died without a result") from None
        finally:
            self.end()
        kind, value = self._result
        if kind == "error":
            raise value
        if kind == "failed":
            raise ChildFailed(value)
        return value

    def end(self):
        """Ends the child, if it has not ended, and collects it."""
        if self._ended:
            return
        if self._result is None:
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        if not kernel.wait_readable(20, self.pidfd):
            raise TimeoutError(f"process {self.pid} cannot be ended")
        os.waitpid(self.pid, 0)
        self._ended = True
        os.close(self.pidfd)
        self.link.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.end()


def in_child(function, *args, timeout_s=DEFAULT_TIMEOUT_S, **kwargs):
    """Runs @function(*args) in a child and waits for its result."""
    return Child(lambda _link: function(*args), **kwargs).result(timeout_s)


def as_user(uid, function, *args, gid=None, groups=()):
    """Runs @function(*args) as user @uid, of group @gid (as @uid if not said) and @groups."""
    return in_child(function, *args, uid=uid, gid=uid if gid is None else gid, groups=groups)


def in_private_mounts(function, *args, timeout_s=DEFAULT_TIMEOUT_S):
    """Runs @function(*args) where mounting changes nothing for the rest of the machine."""
    return in_child(function, *args, private_mounts=True, timeout_s=timeout_s)


class _Link:
    def __init__(self, connection):
        self._connection = connection
        self._results = []

    def tell(self, what):
        self._connection.send(("told", what))

    def hear(self, timeout_s=DEFAULT_TIMEOUT_S):
        if not self._connection.poll(timeout_s):
            raise TimeoutError("no word from the other process")
        kind, value = self._connection.recv()
        if kind != "told":
            raise ChildFailed(f"the child ended instead of saying something: {value}")
        return value

    def has_word(self):
        """Whether hear() would return at once."""
        return self._connection.poll(0)

    def hear_result(self, timeout_s):
        deadline = time.monotonic() + timeout_s
        while self._connection.poll(max(0, deadline - time.monotonic())):
            kind, value = self._connection.recv()
            if kind != "told":
                return kind, value
        raise TimeoutError("the child does not end")

    def tell_result(self, kind, value):
        try:
            self._connection.send((kind, value))
        except (pickle.PicklingError, TypeError, AttributeError):
            self._connection.send(("failed", repr(value)))

    def close(self):
        self._connection.close()


def _become(link, function, args, uid, gid, groups, private_mounts):
    """The child's whole life; does not return."""
    try:
        if private_mounts:
            kernel.private_mounts()
        if uid is not None:
            os.setgroups(list(groups))
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        link.tell_result("value", function(link, *args))
    except OSError as err:
        link.tell_result("error", err)
    except BaseException:
        link.tell_result("failed", traceback.format_exc())
    finally:
        os._exit(0)
