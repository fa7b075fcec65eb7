# SPDX-License-Identifier: MIT
"""Trees as they look, and databases as SQLite sees them."""

import collections
import contextlib
import fcntl
import hashlib
import os
import sqlite3
import stat
import struct

# src/tmpfs/control.h
PATH_SIZE = 4096
SAVE_FORMAT = f"=Q{PATH_SIZE}s"
COPY_FORMAT = "=QIiQQQ128s"
COPY_RUNS, COPY_DONE, COPY_FAILED = 1, 2, 3

Copy = collections.namedtuple("Copy", "number state error done total stop_ns reason")


def _ask(fd, which, layout, *values):
    """By ioctl(2), of the tmpfs whose root directory is open as @fd."""
    command = 3 << 30 | struct.calcsize(layout) << 16 | ord("L") << 8 | which
    data = bytearray(struct.pack(layout, *values))
    fcntl.ioctl(fd, command, data)
    return struct.unpack(layout, data)


def begin_copy(fd, path):
    """The number of the copy."""
    return _ask(fd, 2, SAVE_FORMAT, 0, os.fsencode(path))[0]


def copy_of(fd, number=0):
    """How the saving of a copy goes or went: the last, if it is not told which."""
    return Copy._make(_ask(fd, 3, COPY_FORMAT, number, 0, 0, 0, 0, 0, b""))


def _xattrs(path):
    return {
        name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
    }


def _contents(path, st):
    if stat.S_ISREG(st.st_mode):
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    if stat.S_ISLNK(st.st_mode):
        return os.readlink(path)
    return st.st_rdev


def look_at(path):
    """All that a remount is to keep of one inode, but its number, by which hard links are told."""
    st = os.lstat(path)
    size = 0 if stat.S_ISDIR(st.st_mode) else st.st_size
    return (
        st.st_mode, st.st_uid, st.st_gid, st.st_nlink, size, st.st_mtime_ns, st.st_ctime_ns, _xattrs(path),
        _contents(path, st),
    )


def describe(top):
    """From each path below @top, in bytes, to what it is."""
    top = os.fsencode(top)
    paths = [top]
    for folder, names, files in os.walk(top):
        paths += [os.path.join(folder, name) for name in (*names, *files)]
    seen = {}
    described = {}
    for path in sorted(paths):
        number = os.lstat(path).st_ino
        described[path[len(top) :]] = (seen.setdefault(number, path[len(top) :]), number, look_at(path))
    return described


@contextlib.contextmanager
def reading(path):
    """A connection that writes nothing.  Without it, SQLite would tidy up after a killed mount."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        db.text_factory = bytes
        yield db


def query(path, sql, *parameters):
    with reading(path) as db:
        return db.execute(sql, parameters).fetchall()


def assert_sound(path):
    """What every database of ours is, whenever one looks."""
    with reading(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [(b"ok",)]
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        nameless = "SELECT id FROM inodes WHERE id NOT IN (SELECT inode FROM contents)"
        assert db.execute(nameless).fetchall() == []
        behind = "SELECT chunks.inode, offset FROM chunks, inodes WHERE inode = id AND offset + length(chunks.data) > size"
        assert db.execute(behind).fetchall() == []
