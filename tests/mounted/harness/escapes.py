# SPDX-License-Identifier: MIT
"""
Attempts to get out of a mirrored tree: what is inside, what is outside, the ways in which one is made to lead to the
other, and whether somebody got there.
"""

import collections
import contextlib
import errno
import os
import stat
import time

from harness import kernel
from harness.children import Child, in_child

ATTACKER = 4001
HIS_GROUP = 4100
DEADLINE_S = 40  # for one attempt, however often it is made
LIMIT_S = 200  # for all of a row
INSIDE, OUTSIDE = "harmless", "secret"
SECRET_SIZE = 600  # of a file outside, for who sees only that

Spot = collections.namedtuple("Spot", "path one two")  # what is attacked, and the names that are exchanged
Outcome = collections.namedtuple("Outcome", "tries breach succeeded errors")


def populate(path, word):
    """The same names everywhere; what is in them tells where one is."""
    for name in ("file", "other", f"{word}-name"):
        with open(os.path.join(path, name), "w", encoding="ascii") as file:
            file.write(word * (SECRET_SIZE // 6 if word == OUTSIDE else 1))
        give(file.name)
        os.setxattr(file.name, f"user.{word}", word.encode())
        os.setxattr(file.name, "user.mark", word.encode())
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(path, "link"))
    os.symlink(f"{word} target", os.path.join(path, "link"))
    os.setxattr(path, "user.mark", word.encode())
    reset(path)


def give(path):
    os.chown(path, ATTACKER, ATTACKER)
    os.chmod(path, 0o777)


def make_dir(*names):
    path = os.path.join(*names)
    os.makedirs(path, exist_ok=True)
    give(path)
    return path


def reset(path):
    """Makes anew what attempts remove, and removes what they make.  @path: or a descriptor, as names get exchanged."""
    at = os.open(path, os.O_RDONLY | os.O_DIRECTORY) if isinstance(path, str) else path
    try:
        for name in ("new", "mine"):
            _remove(name, at)
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(os.lstat("victim", dir_fd=at).st_mode):
                _remove("victim", at)
        with contextlib.suppress(FileExistsError):
            os.close(os.open("victim", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666, dir_fd=at))
            os.chown("victim", ATTACKER, ATTACKER, dir_fd=at)
        with contextlib.suppress(FileExistsError):
            os.mkdir("empty", dir_fd=at)
    finally:
        if at != path:
            os.close(at)


def _remove(name, at):
    with contextlib.suppress(FileNotFoundError):
        try:
            os.unlink(name, dir_fd=at)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=at)


class Scene:
    """One test's directory on the mount (here) and in the source (there), and a directory outside."""

    def __init__(self, fs, place, name="scene"):
        self.mountpoint, self.here = fs.mount.mountpoint, os.path.join(fs.dir, name)
        self.there = make_dir(fs.source, name)
        self.outside = os.path.join(place, f"outside-{name}")
        os.mkdir(self.outside, 0o700)
        for base, word in ((self.there, INSIDE), (self.outside, OUTSIDE)):
            for names in ((), ("dir",), ("top", "mid", "bottom")):
                populate(make_dir(base, *names), word)
        os.chown(self.outside, 0, 0)
        os.chmod(self.outside, 0o700)
        os.symlink(f"{self.outside}/file", f"{self.there}/filelink")
        os.symlink(f"{self.outside}/dir", f"{self.there}/dirlink")
        os.symlink(f"{self.outside}/top/mid", f"{self.there}/top/midlink")
        self.watched = [self.outside]
        self._inside = [
            os.open(os.path.join(self.there, name), os.O_RDONLY | os.O_DIRECTORY)
            for name in (".", "dir", "top/mid/bottom")
        ]

    def reset(self):
        for fd in self._inside:
            reset(fd)

    def close(self):
        for fd in self._inside:
            os.close(fd)

    def look_outside(self):
        """What any change there would change."""
        return {path: look for watched in self.watched for path, look in _look(watched)}


def _look(path):
    yield path, _facts(os.stat(path))
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _look(entry.path)
            else:
                yield entry.path, _facts(entry.stat(follow_symlinks=False))


def _facts(st):
    return st.st_mode, st.st_uid, st.st_gid, st.st_size, st.st_nlink, st.st_mtime_ns, st.st_ctime_ns


# The ways.  Each is used by root, in the process of the attacker, and gives the path for the operation.


@contextlib.contextmanager
def held(scene, spot):
    """It is known by its first name, and then is a symbolic link."""
    with _holding(scene, spot) as path:
        _exchange(scene, spot)
        try:
            yield path
        finally:
            _exchange(scene, spot)


@contextlib.contextmanager
def racing(scene, spot):
    one, two = (os.path.join(scene.there, name) for name in (spot.one, spot.two))
    with Child(exchange_for_ever, one, two):
        yield os.path.join(scene.here, spot.path)


@contextlib.contextmanager
def moved(scene, spot):
    with _holding(scene, spot) as path:
        _move_out(scene, os.path.join(scene.there, spot.one), spot)
        yield path


@contextlib.contextmanager
def moved_while_open(scene, spot):
    with _holding(scene, spot, os.O_RDONLY | os.O_DIRECTORY) as path:
        _move_out(scene, os.path.join(scene.there, spot.one), spot)
        yield path


@contextlib.contextmanager
def replaced(scene, spot):
    with moved(scene, spot) as path:
        populate(make_dir(scene.there, spot.one), INSIDE)
        yield path


@contextlib.contextmanager
def moved_cwd(scene, spot):
    """It is nobody's descriptor but the working directory."""
    os.chdir(os.path.join(scene.here, spot.path))
    try:
        _move_out(scene, os.path.join(scene.there, spot.one), spot)
        yield "."
    finally:
        os.chdir("/")


@contextlib.contextmanager
def moved_from_bind(scene, spot):
    """A bind mount is part of the source.  What leaves the directory that is mounted leaves the source."""
    aside, part = make_dir(f"{scene.outside}-aside"), make_dir(scene.there, "part")
    populate(make_dir(aside, spot.path), INSIDE)
    kernel.mount(aside, part, None, kernel.MS_BIND)
    try:
        with _holding(scene, Spot(f"part/{spot.path}", None, None)) as path:
            _move_out(scene, os.path.join(aside, spot.one), spot)
            yield path
    finally:
        kernel.umount(part, kernel.MNT_DETACH)


@contextlib.contextmanager
def _detached(scene, spot, used_before):
    """What was mounted in the source is not part of it any more."""
    part = make_dir(scene.there, "part")
    kernel.mount("part", part, "tmpfs")
    root = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
    try:
        populate(make_dir(part, spot.path), OUTSIDE)
        with _holding(scene, Spot(f"part/{spot.path}", None, None)) as path:
            if used_before:
                os.listdir(path)
            kernel.umount(part, kernel.MNT_DETACH)
            scene.watched.append(f"/proc/self/fd/{root}")
            yield path
    finally:
        os.close(root)


def detached(scene, spot):
    return _detached(scene, spot, used_before=False)


def detached_after_use(scene, spot):
    return _detached(scene, spot, used_before=True)


def _exchange(scene, spot):
    kernel.renameat2(os.path.join(scene.there, spot.one), os.path.join(scene.there, spot.two), kernel.RENAME_EXCHANGE)


def exchange_for_ever(_link, one, two):
    while True:
        kernel.renameat2(one, two, kernel.RENAME_EXCHANGE)
        os.sched_yield()


@contextlib.contextmanager
def _holding(scene, spot, flags=os.O_PATH):
    fd = os.open(os.path.join(scene.here, spot.path), flags)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _move_out(scene, path, spot):
    """Renames @path, which is where spot.one is, to a place outside, where it gets secret."""
    new = os.path.join(scene.outside, "moved")
    os.rename(path, new)
    populate(os.path.normpath(os.path.join(new, _below(_dir_of(new, spot), spot.one))), OUTSIDE)


def _below(path, top):
    """As os.path.relpath(), which would ask for the working directory: there may be none."""
    return os.path.relpath(f"/{path}", f"/{top}")


def _dir_of(new, spot):
    is_file = os.path.isfile(os.path.join(new, _below(spot.path, spot.one)))
    return os.path.dirname(spot.path) if is_file else spot.path


# Making an attempt.


@contextlib.contextmanager
def attacker():
    """In this process, which has one thread, and is root again afterwards."""
    os.setgroups([HIS_GROUP])
    os.setegid(ATTACKER)
    os.seteuid(ATTACKER)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])


def attack_all(fs, place, way, spot, operations, tries):
    """
    Makes each attempt of @operations, at most tries[name] times, until it gets out, in a process of its own (one, as
    forking is what costs most).  Returns an Outcome for each name.
    """

    def attack_each():
        return {
            operation.__name__: tuple(attack(Scene(fs, place, operation.__name__), way, spot, operation, tries))
            for operation in operations
        }

    found = in_child(attack_each, timeout_s=LIMIT_S)
    return {name: Outcome(*outcome) for name, outcome in found.items()}


def attack(scene, way, spot, operation, tries):
    errors = collections.Counter()
    deadline = time.monotonic() + DEADLINE_S
    with contextlib.closing(scene), way(scene, spot) as path:
        before = scene.look_outside()
        for n in range(1, tries[operation.__name__] + 1):
            breach = _try(scene, way, operation, path, errors)
            after = scene.look_outside()
            if after != before:
                breach = f"changed: {set(before.items()) ^ set(after.items())}"
            if breach or time.monotonic() > deadline:
                break
    return Outcome(n, breach, n - sum(errors.values()), dict(errors))


def _try(scene, way, operation, path, errors):
    if way is racing:
        scene.reset()
        kernel.drop_names(scene.mountpoint)  # so that they are asked for anew
    try:
        with attacker():
            seen = operation(path, scene)
    except OSError as err:
        errors[errno.errorcode[err.errno]] += 1
        return None
    return f"seen: {seen}" if seen == SECRET_SIZE or OUTSIDE in repr(seen) else None
