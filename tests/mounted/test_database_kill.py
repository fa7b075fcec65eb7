# SPDX-License-Identifier: MIT
"""
A kept tmpfs that is killed at any moment: what was synced is there, and what is there was there at one time.

Two processes change a directory of their own, by operations that a seed chooses, and sync now and then; a third commits
without pause.  After the kill, each directory has to be as it was after some operation of its process, and after none
before the last one that was synced.  LLFUSE_KILL_SEED repeats a run, LLFUSE_KILLS says how many kills there are.
"""

import errno
import itertools
import mmap
import os
import random
import signal
import struct
import time

import pytest

from conftest import TMPFS_EXACT, TMPFS_KERNEL, Case, transport_named
from harness import kernel, mounts
from harness.children import Child
from harness.database import assert_sound

KILLS = int(os.environ.get("LLFUSE_KILLS") or (5 if mounts.is_sanitized() else 50))
LOAD_MAX_S = 0.15
BLOCK = 512  # writes do not cross a page, whose two sides the kernel writes one after the other
CASES = [Case(subject, transport) for subject in (TMPFS_KERNEL, TMPFS_EXACT) for transport in mounts.MANY]


# What a call on a file system gives whose program was killed.
ENDS = (errno.ENOTCONN, errno.ECONNABORTED, errno.ECANCELED, errno.EINTR, errno.EIO)


class Model:
    """A directory in memory: from paths to nodes.  A node is [kind, content, mode, xattr]."""

    def __init__(self, nodes=None):
        self.nodes = nodes if nodes is not None else {}

    def of_kind(self, *kinds):
        return [path for path, node in self.nodes.items() if node[0] in kinds]

    def folders(self):
        return ["", *self.of_kind("dir")]

    def is_empty(self, path):
        return not any(other.startswith(path + "/") for other in self.nodes)

    def described(self):
        first = {}
        return {
            path: (tuple(node), first.setdefault(id(node), path)) for path, node in sorted(self.nodes.items())
        }


def described(top):
    """The same of a directory on the mount."""
    result, first = {}, {}
    for folder, names, files in os.walk(top):
        for name in (*names, *files):
            path = os.path.join(folder, name)
            st = os.lstat(path)
            short = os.path.relpath(path, top)
            if os.path.islink(path):
                node = ["link", os.readlink(path).encode(), 0, b""]
            elif os.path.isdir(path):
                node = ["dir", b"", st.st_mode & 0o7777, xattr_of(path)]
            else:
                with open(path, "rb") as file:
                    node = ["file", file.read(), st.st_mode & 0o7777, xattr_of(path)]
            result[short] = (tuple(node), st.st_ino)
    result = dict(sorted(result.items()))
    return {path: (node, first.setdefault(number, path)) for path, (node, number) in result.items()}


def xattr_of(path):
    try:
        return os.getxattr(path, "user.x")
    except OSError as err:
        assert err.errno == errno.ENODATA
        return b""


class Operation:
    """One change, done to a model and to a directory; @apply returns False if it makes no sense now."""

    def __init__(self, chance, model, number):
        self.kind = chance.choice(KINDS)
        self.folder = chance.choice(model.folders())
        self.name = f"{self.folder}/{chance.choice('abcdefgh')}".lstrip("/")
        self.files = sorted(model.of_kind("file"))
        self.any = sorted(model.nodes)
        self.chance = chance
        self.model = model
        self.data = b"%8d" % number * (BLOCK // 8)

    def apply(self, top):
        """@top None: to the model alone."""
        return getattr(self, self.kind)(top)

    def free(self):
        return self.name not in self.model.nodes

    def mkdir(self, top):
        if not self.free() or self.name.count("/") > 3:
            return
        self.model.nodes[self.name] = ["dir", b"", 0o755, b""]
        if top:
            os.mkdir(f"{top}/{self.name}", 0o755)

    def create(self, top):
        if not self.free():
            return
        self.model.nodes[self.name] = ["file", b"", 0o644, b""]
        if top:
            os.close(os.open(f"{top}/{self.name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))

    def symlink(self, top):
        if not self.free():
            return
        self.model.nodes[self.name] = ["link", self.data[:100], 0, b""]
        if top:
            os.symlink(self.data[:100], f"{top}/{self.name}")

    def append(self, top):
        if not self.files:
            return
        path = self.chance.choice(self.files)
        self.model.nodes[path][1] += self.data
        if top:
            fd = os.open(f"{top}/{path}", os.O_WRONLY | os.O_APPEND)
            os.write(fd, self.data)
            os.close(fd)

    def truncate(self, top):
        if not self.files:
            return
        path = self.chance.choice(self.files)
        node = self.model.nodes[path]
        size = self.chance.choice([0, len(node[1]) // BLOCK // 2 * BLOCK])
        node[1] = node[1][:size]
        if top:
            os.truncate(f"{top}/{path}", size)

    def link(self, top):
        if not self.files or not self.free():
            return
        path = self.chance.choice(self.files)
        self.model.nodes[self.name] = self.model.nodes[path]
        if top:
            os.link(f"{top}/{path}", f"{top}/{self.name}")

    def chmod(self, top):
        paths = [path for path in self.any if self.model.nodes[path][0] != "link"]
        if not paths:
            return
        path, mode = self.chance.choice(paths), self.chance.choice([0o600, 0o755, 0o700, 0o644])
        self.model.nodes[path][2] = mode
        if top:
            os.chmod(f"{top}/{path}", mode)

    def setxattr(self, top):
        if not self.files:
            return
        path = self.chance.choice(self.files)
        self.model.nodes[path][3] = self.data[:20]
        if top:
            os.setxattr(f"{top}/{path}", "user.x", self.data[:20])

    def remove(self, top):
        if not self.any:
            return
        path = self.chance.choice(self.any)
        is_dir = self.model.nodes[path][0] == "dir"
        if is_dir and not self.model.is_empty(path):
            return
        del self.model.nodes[path]
        if top:
            (os.rmdir if is_dir else os.unlink)(f"{top}/{path}")

    def rename(self, top):
        if not self.any:
            return
        path = self.chance.choice(self.any)
        nodes, moved = self.model.nodes, self.model.nodes[path]
        if self.name == path or f"{self.name}/".startswith(f"{path}/"):
            return
        if not self.free():
            old = nodes[self.name]
            if old is moved or (old[0] == "dir") != (moved[0] == "dir") or not self.model.is_empty(self.name):
                return
            del nodes[self.name]
        for below in [other for other in nodes if other.startswith(path + "/")]:
            nodes[self.name + below[len(path) :]] = nodes.pop(below)
        nodes[self.name] = nodes.pop(path)
        if top:
            os.rename(f"{top}/{path}", f"{top}/{self.name}")

    def exchange(self, top):
        if len(self.files) < 2:
            return
        a, b = self.chance.sample(self.files, 2)
        nodes = self.model.nodes
        nodes[a], nodes[b] = nodes[b], nodes[a]
        if top:
            kernel.renameat2(f"{top}/{a}", f"{top}/{b}", kernel.RENAME_EXCHANGE)


KINDS = ["mkdir", "create", "create", "symlink", "append", "append", "append", "truncate", "link", "chmod", "setxattr",
         "remove", "rename", "rename", "exchange"]


def replay(seed, model, top=None):
    """Does one operation after the other, and yields its number before and after."""
    chance = random.Random(seed)
    for number in itertools.count(1):
        operation = Operation(chance, model, number)
        yield number, False
        operation.apply(top)
        yield number, True


class Progress:
    """Of one process, seen by another, whatever happens to either."""

    def __init__(self):
        self._map = mmap.mmap(-1, 16)

    def began(self, number):
        self._map[0:8] = struct.pack("q", number)

    def synced(self, number):
        self._map[8:16] = struct.pack("q", number)

    def get(self):
        return struct.unpack("qq", self._map[:])


def work(_link, top, seed, nodes, progress):
    """Until the file system is gone."""
    folder = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    chance = random.Random(seed + 1)
    try:
        for number, is_done in replay(seed, Model(nodes), top):
            if not is_done:
                progress.began(number)
            elif chance.random() < 0.05:
                os.fsync(folder)
                progress.synced(number)
    except OSError as err:
        return err.errno
    return None


def commit_without_pause(_link, top):
    folder = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        while True:
            os.fsync(folder)
    except OSError as err:
        return err.errno


def state_that_was(seed, nodes, progress, found):
    """The model after the operation that @found shows.  None if there is no such one that may be."""
    began, synced = progress.get()
    model = Model(nodes)
    if synced == 0 and model.described() == found:
        return model
    if began == 0:
        return None
    for number, is_done in replay(seed, model):
        if is_done and number >= synced and model.described() == found:
            return model
        if is_done and number >= began:
            return None
    return None


def copied(nodes):
    """Hard links stay what they are."""
    copies = {}
    return {path: copies.setdefault(id(node), list(node)) for path, node in nodes.items()}


def kill_under_load(chance, mount, folders, models):
    """Returns what is needed to check each folder."""
    seeds = [chance.getrandbits(32) for _ in folders]
    progresses = [Progress() for _ in folders]
    children = [
        Child(work, f"{mount.mountpoint}/{folder}", seed, copied(model.nodes), progress)
        for folder, seed, model, progress in zip(folders, seeds, models, progresses)
    ]
    children.append(Child(commit_without_pause, mount.mountpoint))
    time.sleep(chance.uniform(0, LOAD_MAX_S))  # any moment will do
    mount.send_signal(signal.SIGKILL)
    ends = [child.result() for child in children]
    assert all(end in ENDS for end in ends), ends
    mount.wait()
    mounts.unmount(mount.mountpoint, kernel.MNT_DETACH)
    return list(zip(folders, seeds, models, progresses))


@pytest.mark.limit(300)
@pytest.mark.parametrize("case", CASES, ids=repr)
def test_what_a_kill_leaves_was_there_at_one_time(case, uring_switch, new_mount, place):
    if case.subject.why_not():
        pytest.skip(case.subject.why_not())
    seed = int(os.environ.get("LLFUSE_KILL_SEED") or random.SystemRandom().getrandbits(32))
    print(f"LLFUSE_KILL_SEED={seed}")
    chance = random.Random(seed)
    options = [*transport_named(case.transport, uring_switch).options, *case.subject.options]
    path = os.path.join(place, "tree.db")
    mountpoint = os.path.join(place, "mnt")
    os.mkdir(mountpoint)

    def start():
        return new_mount("tmpfs", *options, "-o", f"db={path},commit=1", mountpoint=mountpoint)

    mount = start()
    folders = ["one", "two"]
    for folder in folders:
        os.mkdir(f"{mountpoint}/{folder}")
    fd = os.open(mountpoint, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    models = [Model(), Model()]
    for kill in range(KILLS):
        checks = kill_under_load(chance, mount, folders, models)
        mount = start()
        models = []
        for folder, used, before, progress in checks:
            found = described(f"{mountpoint}/{folder}")
            model = state_that_was(used, copied(before.nodes), progress, found)
            assert model, f"kill {kill}: {folder} is as it never was; began, synced: {progress.get()}"
            models.append(model)
        if kill % 10 == 0:
            assert_sound(path)
    mount.stop("umount")
    assert_sound(path)
