# SPDX-License-Identifier: MIT
"""
No request reaches anything outside SOURCE: a table of attempts to get out.

Each attempt is made first against by_path (tests/doubles/by_path.c), a mirror without any care, and must succeed:
so it is worth something.  It is then made against passthroughfs, at least as often, and must fail.

The attacker is an ordinary user.  What lies outside belongs to that user too, but in a directory that only root, and
so the daemon, can go through: whoever sees or changes it was let out by the daemon.  An attempt is an operation on a
file or below a directory of the mount, and a way in which that is made to lead outside meanwhile:

  held       the attacker holds the file or directory, then it is exchanged with a symbolic link: no luck is needed
  racing     another process exchanges the two all the time
  moved      the attacker holds a directory, or a file in it, and the directory is renamed out of SOURCE
  replaced   as moved, and another directory comes in its place
  cwd        as moved, with the directory as the working directory
  from_bind  as moved, out of a directory that is bind-mounted in SOURCE
  detached   the attacker holds a directory of a file system in SOURCE that is then unmounted
"""

import contextlib
import os
import select
import socket
import stat
import struct
import threading

import pytest

from conftest import BY_DESCRIPTOR, BY_PATH, SUBJECTS, needs_root, transport_named
from harness import acl, kernel, mounts
from harness.children import Child, as_user, in_child
from harness.escapes import ATTACKER, HIS_GROUP, OUTSIDE, SECRET_SIZE, Scene, Spot, attack_all
from harness.escapes import attacker, detached, exchange_for_ever, give, held, moved, moved_cwd, moved_from_bind
from harness.escapes import racing, replaced

PASSTHROUGHFS = SUBJECTS[-1]
TRIES = 100  # against passthroughfs, at least
FACTOR = 10  # as many times the tries that by_path withstood
MOST_TRIES = 20_000  # against by_path

pytestmark = needs_root


# Operations on a file.  Each returns what it saw.


def read(path, _scene):
    with open(path, "rb") as file:
        return file.read()


def size(path, _scene):
    return kernel.fresh_size(path)


def write(path, _scene, flags=0):
    fd = os.open(path, os.O_WRONLY | flags)
    try:
        os.write(fd, b"x")
    finally:
        os.close(fd)


def open_truncating(path, scene):
    write(path, scene, os.O_TRUNC)


def append(path, scene):
    write(path, scene, os.O_APPEND)


def truncate(path, _scene):
    os.truncate(path, 3)


def chmod(path, _scene):
    os.chmod(path, 0o750)


def chown(path, _scene):
    os.chown(path, -1, HIS_GROUP)


def utimens(path, _scene):
    os.utime(path, ns=(1, 2))


def setxattr(path, _scene):
    os.setxattr(path, "user.mark", b"changed")


def getxattr(path, _scene):
    return os.getxattr(path, "user.mark")


def listxattr(path, _scene):
    return os.listxattr(path)


def removexattr(path, _scene):
    os.setxattr(path, "user.mark", b"to be removed")
    os.removexattr(path, "user.mark")


def remove_only_xattr(path, _scene):
    os.removexattr(path, "user.mark")


def set_acl(path, _scene):
    os.setxattr(path, acl.ACCESS, acl.pack(f"u::rwx,u:{HIS_GROUP}:r--,g::r-x,m::rwx,o::r-x"))


def link(path, scene):
    fd = os.open(path, os.O_PATH)
    try:
        kernel.link_fd(fd, f"{scene.here}/new")
    finally:
        os.close(fd)


def copy_from(path, scene):
    return copy(path, f"{scene.here}/other", f"{scene.here}/other")


def copy_to(path, scene):
    copy(f"{scene.here}/other", path, path)


def copy(source, target, result):
    with open(source, "rb") as one, open(target, "r+b") as two:
        os.copy_file_range(one.fileno(), two.fileno(), 1000)
    with open(result, "rb") as file:
        return file.read()


FILE = [read, size, write, open_truncating, append, truncate, chmod, chown, utimens, setxattr, getxattr, listxattr]
FILE += [removexattr, set_acl, link, copy_from, copy_to]


# Operations below a directory.


def lookup(path, _scene):
    return os.stat(f"{path}/file").st_size


def read_below(path, scene):
    return read(f"{path}/file", scene)


def write_below(path, scene):
    write(f"{path}/file", scene)


def chmod_below(path, scene):
    chmod(f"{path}/file", scene)


def readdir(path, _scene):
    return os.listdir(path)


def readdirplus(path, _scene):
    with os.scandir(path) as entries:
        return [(entry.name, entry.stat(follow_symlinks=False).st_size) for entry in entries]


def readlink(path, _scene):
    return os.readlink(f"{path}/link")


def create(path, _scene):
    os.close(os.open(f"{path}/new", os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def create_over(path, _scene):
    os.close(os.open(f"{path}/file", os.O_CREAT | os.O_TRUNC | os.O_WRONLY))


def mkdir(path, _scene):
    os.mkdir(f"{path}/new")


def mknod(path, _scene):
    os.mkfifo(f"{path}/new")


def symlink(path, _scene):
    os.symlink("target", f"{path}/new")


def link_into(path, scene):
    os.link(f"{scene.here}/victim", f"{path}/new")


def link_from(path, scene):
    os.link(f"{path}/file", f"{scene.here}/new")


def unlink(path, _scene):
    os.unlink(f"{path}/victim")


def rmdir(path, _scene):
    os.rmdir(f"{path}/empty")


def rename(path, _scene, flags=0):
    kernel.renameat2(f"{path}/victim", f"{path}/new", flags)


def rename_noreplace(path, scene):
    rename(path, scene, kernel.RENAME_NOREPLACE)


def rename_whiteout(path, scene):
    rename(path, scene, kernel.RENAME_WHITEOUT)


def rename_exchange(path, _scene):
    kernel.renameat2(f"{path}/victim", f"{path}/empty", kernel.RENAME_EXCHANGE)
    kernel.renameat2(f"{path}/victim", f"{path}/empty", kernel.RENAME_EXCHANGE)


def rename_into(path, scene):
    os.rename(f"{scene.here}/victim", f"{path}/new")


def rename_out_of(path, scene):
    os.rename(f"{path}/victim", f"{scene.here}/new")


def tmpfile(path, scene):
    fd = os.open(path, os.O_TMPFILE | os.O_RDWR)
    try:
        kernel.link_fd(fd, f"{scene.here}/new")
    finally:
        os.close(fd)


DIRECTORY = [lookup, read_below, write_below, chmod_below, readdir, readdirplus, readlink, create, create_over, mkdir]
DIRECTORY += [mknod, symlink, link_into, link_from, unlink, rmdir, rename, rename_noreplace, rename_whiteout]
DIRECTORY += [rename_exchange, rename_into, rename_out_of, tmpfile]
ITSELF = [chmod, chown, utimens, setxattr, getxattr]
SOME_BELOW = [lookup, read_below, readdir, create, unlink, rename]

A_FILE = Spot("file", "file", "filelink")
A_DIRECTORY = Spot("dir", "dir", "dirlink")
A_FILE_BELOW = Spot("dir/file", "dir", "dirlink")
DEEP = Spot("top/mid/bottom", "top/mid", "top/midlink")

TABLE = [
    (held, "file", A_FILE, FILE),
    (racing, "file", A_FILE, FILE),
    (held, "dir", A_DIRECTORY, DIRECTORY + ITSELF),
    (racing, "dir", A_DIRECTORY, DIRECTORY + ITSELF),
    (held, "deep", DEEP, DIRECTORY),
    (racing, "deep", DEEP, SOME_BELOW),
    (moved, "dir", A_DIRECTORY, DIRECTORY + ITSELF),
    (moved, "deep", DEEP, SOME_BELOW),
    (moved, "file", A_FILE_BELOW, FILE),
    (replaced, "dir", A_DIRECTORY, SOME_BELOW),
    (moved_cwd, "dir", A_DIRECTORY, SOME_BELOW),
    (moved_from_bind, "dir", A_DIRECTORY, SOME_BELOW),
    (detached, "dir", A_DIRECTORY, SOME_BELOW),
]
ROWS = [pytest.param(way, spot, operations, id=f"{way.__name__}-{where}") for way, where, spot, operations in TABLE]
BY_LINK = (held, racing)  # what a path does not withstand; the others, what a descriptor does not


class Arena:
    """Where attempts are made."""

    def __init__(self, shared_mounts, switch, place):
        self._shared_mounts, self._switch, self._place = shared_mounts, switch, place
        self._withstood = shared_mounts.__dict__.setdefault("withstood", {})

    def fs(self, subject, transport="dev_fuse-many"):
        return self._shared_mounts.place(subject, transport_named(transport, self._switch))

    def attack(self, fs, way, spot, operations, tries):
        base = os.path.join(self._place, fs.mount.program)
        os.mkdir(base)
        return attack_all(fs, base, way, spot, operations, tries)

    def naive(self, way, spot, operations):
        """How the attempts end where no care is taken; made once."""
        if (way, spot) not in self._withstood:
            fs = self.fs(BY_PATH if way in BY_LINK else BY_DESCRIPTOR)
            tries = {operation.__name__: MOST_TRIES if way is racing else 1 for operation in operations}
            self._withstood[way, spot] = self.attack(fs, way, spot, operations, tries)
        return self._withstood[way, spot]


@pytest.fixture
def arena(shared_mounts, uring_switch, place):
    return Arena(shared_mounts, uring_switch, place)


def explain(outcomes):
    return "".join(f"\n  {name}: {outcome}" for name, outcome in outcomes.items())


@pytest.mark.limit(300)
@pytest.mark.parametrize("way, spot, operations", ROWS)
def test_who_takes_no_care_is_got_out_of(arena, way, spot, operations):
    withstood = {name: each for name, each in arena.naive(way, spot, operations).items() if not each.breach}
    assert not withstood, explain(withstood)


def is_wrong(way, outcome):
    """A link leads nobody out, but the file itself is there.  What has left SOURCE is not there any more."""
    if outcome.breach:
        return True
    if way in BY_LINK:
        return not outcome.succeeded
    return outcome.succeeded or not outcome.errors.keys() <= {"ESTALE", "ENOENT"}


@pytest.mark.limit(300)
@pytest.mark.parametrize("transport", mounts.MANY)
@pytest.mark.parametrize("way, spot, operations", ROWS)
def test_no_attempt_gets_out(arena, way, spot, operations, transport):
    naive = arena.naive(way, spot, operations)
    tries = {
        name: min(max(TRIES, FACTOR * each.tries), MOST_TRIES) if way is racing else 1 for name, each in naive.items()
    }
    outcomes = arena.attack(arena.fs(PASSTHROUGHFS, transport), way, spot, operations, tries)
    wrong = {name: outcome for name, outcome in outcomes.items() if is_wrong(way, outcome)}
    assert not wrong, explain(wrong)
