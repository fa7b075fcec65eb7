# SPDX-License-Identifier: MIT
"""
Scripts of system calls that are run on a file system under test and on a plain directory: what
the calls return, which errors they give and what the files then look like must be the same.
"""

import errno
import os
import stat
import time

from harness import children


CLOCK_REALTIME_COARSE = 5


class Fd(int):
    """A descriptor, whose number is of no interest in a comparison."""

    def __repr__(self):
        return "fd"


def next_tick():
    """Returns when a time stamp taken now differs from those taken before."""
    # The kernel stamps by the fine clock, too, and never earlier than it last did.
    start = time.clock_gettime_ns(time.CLOCK_REALTIME)
    while time.clock_gettime_ns(CLOCK_REALTIME_COARSE) <= start:
        time.sleep(0.0005)


class Trace:
    """
    Records what a script sees in the current directory.  t(os.rename, "a", "b") calls and records the
    result or the errno; it returns the result, or None after an error.
    """

    def __init__(self):
        self.lines = []

    def note(self, what, seen):
        self.lines.append(f"{what} -> {seen!r}")

    def __call__(self, call, *args, **kwargs):
        what = f"{call.__name__}({', '.join([_short(a) for a in args] + [f'{k}={v!r}' for k, v in kwargs.items()])})"
        try:
            result = call(*args, **kwargs)
        except OSError as err:
            self.note(what, errno.errorcode.get(err.errno, err.errno))
            return None
        self.note(what, _short(result))
        return result

    def refused(self, number, call, *args, **kwargs):
        """As t(), of a call that has to fail with errno @number."""
        self(call, *args, **kwargs)
        assert self.lines[-1].endswith(f" -> {errno.errorcode[number]!r}"), self.lines[-1]

    def open(self, path, flags=os.O_RDONLY, mode=0o666):
        def open_(path, flags, mode):
            return Fd(os.open(path, flags, mode))

        return self(open_, path, flags, mode)

    def close(self, fd):
        self(os.close, fd)

    def write(self, path, data=b""):
        """Makes or overwrites a file."""

        def write(path, data):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            try:
                return os.write(fd, data)
            finally:
                os.close(fd)

        return self(write, path, data)

    def read(self, path):
        def read(path):
            with open(path, "rb") as file:
                return file.read()

        return self(read, path)

    def ls(self, path="."):
        def ls(path):
            return sorted(os.listdir(path))

        return self(ls, path)

    def stat(self, *paths):
        def lstat(path):
            return look(os.lstat(path))

        for path in paths:
            self(lstat, path)

    def fstat(self, fd):
        def fstat(fd):
            return look(os.fstat(fd))

        self(fstat, fd)

    def as_user(self, uid, part, gid=None, groups=()):
        """Runs @part(trace), a part of the script, in a process of user @uid."""

        def other():
            trace = Trace()
            part(trace)
            return trace.lines

        self.lines += [f"as {uid}: {line}" for line in children.as_user(uid, other, gid=gid, groups=groups)]

    def moved(self, watched, call, *args, **kwargs):
        """Calls, and records which of mtime and ctime changed on which of @watched."""
        before = {path: os.lstat(path) for path in watched}
        next_tick()
        result = self(call, *args, **kwargs)
        for path, old in before.items():
            try:
                new = os.lstat(path)
            except OSError as err:
                self.note(f"times of {path}", errno.errorcode[err.errno])
                continue
            changed = [name for name in ("st_mtime_ns", "st_ctime_ns") if getattr(old, name) != getattr(new, name)]
            backwards = [name for name in changed if getattr(old, name) > getattr(new, name)]
            self.note(f"times of {path}", (changed, backwards))
        return result


def look(st):
    """What two file systems must agree on.  The size of a directory is each one's own affair."""
    seen = {
        "type": stat.S_IFMT(st.st_mode),
        "mode": oct(stat.S_IMODE(st.st_mode)),
        "nlink": st.st_nlink,
        "uid": st.st_uid,
        "gid": st.st_gid,
    }
    if not stat.S_ISDIR(st.st_mode):
        seen["size"] = st.st_size
    if stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode):
        seen["rdev"] = st.st_rdev
    return seen


def _short(value):
    text = repr(value)
    return text if len(text) < 400 else f"{text[:200]}... {len(text)} characters, hash {hash(text)}"


def run(directory, script, *args):
    """Runs @script(trace, *args) in @directory."""
    trace = Trace()
    umask = os.umask(0o022)
    os.chdir(directory)
    try:
        script(trace, *args)
    finally:
        os.chdir("/")
        os.umask(umask)
    return trace.lines


def compare(directory, oracle, script, *args):
    """Fails unless @script sees the same in @directory as in the plain directory @oracle."""
    expected = run(oracle, script, *args)
    try:
        seen = run(directory, script, *args)
    except Exception as err:
        raise AssertionError(f"works in a plain directory, but here: {err!r}") from err
    different = [f"plain directory: {e}\n           here: {s}" for e, s in zip(expected, seen) if e != s]
    assert not different, "\n" + "\n".join(different)
    assert len(expected) == len(seen)


def like_a_plain_directory(script):
    """Makes a test of a script: it must see on each file system what it sees on the oracle."""

    def test(fs):
        compare(fs.dir, fs.oracle, script)

    return _named_after(script, test)


def like_the_kernels_own(script):
    """The same, byte for byte: as the kernel's file system of the same type."""

    def test(own):
        compare(own.dir, own.oracle, script)

    return _named_after(script, test)


def like_the_kernels_own_once(script):
    """The same of what no transport has a part in."""

    def test(own_once):
        compare(own_once.dir, own_once.oracle, script)

    return _named_after(script, test)


def like_the_kernels_own_in_each_mode(script):
    """The same, also where each write comes to the program."""

    def test(each_own):
        compare(each_own.dir, each_own.oracle, script)

    return _named_after(script, test)


def like_the_kernels_own_in_each_mode_once(script):
    """The same of what no transport has a part in."""

    def test(each_own_once):
        compare(each_own_once.dir, each_own_once.oracle, script)

    return _named_after(script, test)


def _named_after(script, test):
    test.__name__ = script.__name__
    test.__doc__ = script.__doc__
    test.__module__ = script.__module__
    return test
