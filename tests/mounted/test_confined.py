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
  moved      the attacker holds a directory, or a file in it, and the directory is renamed out of SOURCE;
             moved_while_open: opened to be listed; moved_cwd: as the working directory; moved_from_bind: out of
             a directory that is bind-mounted in SOURCE
  replaced   as moved, and another directory comes in its place
  detached   the attacker holds a directory of a file system in SOURCE that is then unmounted; detached_after_use: and
             has been in it before

Below the table: symbolic links that are not to be followed, files that are not to be opened, file handles that nobody
was given, and our own mount.
"""

import errno
import os
import stat
import struct
import time

import pytest

from conftest import BY_DESCRIPTOR, BY_PATH, SOURCE_DISK, needs_root, transport_named
from harness import acl, kernel, mounts
from harness.children import Child, as_user, in_child
from harness.escapes import ATTACKER, HIS_GROUP, OUTSIDE, SECRET_SIZE, Scene, Spot, attack_all
from harness.escapes import attacker, detached, detached_after_use, exchange_for_ever, give, held, moved, moved_cwd
from harness.escapes import moved_from_bind, moved_while_open, racing, replaced
from harness.files import error_of, get, put

PASSTHROUGHFS = SOURCE_DISK
TRIES = 60  # against passthroughfs, at least
FACTOR = 5  # as many times the tries that by_path withstood
MOST_TRIES = 20_000  # against by_path

pytestmark = [
    needs_root,
    pytest.mark.skipif(mounts.is_sanitized(), reason="what leads out is the kernel's to say, and slow to try"),
]


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


def list_open(path, _scene):
    return os.listdir(int(os.path.basename(path)))


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
    (moved_while_open, "dir", A_DIRECTORY, [list_open]),
    (replaced, "dir", A_DIRECTORY, SOME_BELOW),
    (moved_cwd, "dir", A_DIRECTORY, SOME_BELOW),
    (moved_from_bind, "dir", A_DIRECTORY, SOME_BELOW),
    (detached, "dir", A_DIRECTORY, SOME_BELOW),
    # The names that it saw then the kernel knows for a moment more.
    (detached_after_use, "dir", A_DIRECTORY, [readdir, create, unlink, rename]),
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


VICTIMS = [pytest.param(BY_PATH, "dev_fuse-many", id="by_path")]
VICTIMS += [pytest.param(PASSTHROUGHFS, name, id=name) for name in mounts.MANY]
each_victim = pytest.mark.parametrize("subject, transport", VICTIMS)


# Links themselves: what lies behind one is not meant.


def link_itself(path):
    os.link(path, f"{path}-2", follow_symlinks=False)


OF_A_LINK = {
    "chown": lambda path: os.chown(path, ATTACKER, HIS_GROUP, follow_symlinks=False),
    "utimens": lambda path: os.utime(path, ns=(1, 2), follow_symlinks=False),
    "setxattr": lambda path: os.setxattr(path, "trusted.new", b"x", follow_symlinks=False),
    "getxattr": lambda path: os.getxattr(path, "trusted.mark", follow_symlinks=False),
    "listxattr": lambda path: os.listxattr(path, follow_symlinks=False),
    "removexattr": lambda path: os.removexattr(path, "trusted.mark", follow_symlinks=False),
    "link": link_itself,
}
TARGETS = {
    "absolute": lambda scene, _fd: f"{scene.outside}/file",
    "relative": lambda scene, _fd: os.path.relpath(f"{scene.outside}/file", scene.there),
    "another-link": lambda scene, _fd: "filelink",
    "root-of-the-daemon": lambda scene, _fd: f"/proc/self/root{scene.outside}/file",
    "descriptor-of-a-process": lambda _scene, fd: f"/proc/{os.getpid()}/fd/{fd}",
}


@pytest.mark.parametrize("target", TARGETS)
@each_victim
def test_a_link_itself_is_meant(arena, place, subject, transport, target):
    scene = Scene(arena.fs(subject, transport), place)
    followed = set()
    fd = os.open(f"{scene.outside}/file", os.O_RDONLY)
    try:
        for name, operation in OF_A_LINK.items():
            os.setxattr(f"{scene.outside}/file", "trusted.mark", OUTSIDE.encode())
            os.symlink(TARGETS[target](scene, fd), f"{scene.there}/a-{name}")
            before = scene.look_outside()
            try:
                seen = operation(f"{scene.here}/a-{name}")
            except OSError as err:
                seen = err.errno
            if scene.look_outside() != before or (seen and seen != errno.ENODATA):
                followed.add(name)
    finally:
        os.close(fd)
        scene.close()
    assert followed == (set(OF_A_LINK) if subject is BY_PATH else set())


# Files that are not to be opened.

IN_OPEN = 0x20


def make_special(kind, path):
    mode = {"fifo": stat.S_IFIFO, "device": stat.S_IFCHR, "socket": stat.S_IFSOCK}[kind]
    os.mknod(path, mode | 0o666, os.makedev(1, 3))


def list_with_attributes(path):
    with os.scandir(os.path.dirname(path)) as entries:
        return [entry.stat(follow_symlinks=False) for entry in entries]


OF_A_SPECIAL_FILE = {
    "lookup": os.lstat,
    "list": list_with_attributes,
    "statx": kernel.birth_time_ns,
    "chmod": lambda path: os.chmod(path, 0o640),
    "chown": lambda path: os.chown(path, ATTACKER, HIS_GROUP),
    "utimens": lambda path: os.utime(path, ns=(1, 2)),
    "setxattr": lambda path: os.setxattr(path, "trusted.mark", b"x"),
    "getxattr": lambda path: os.getxattr(path, "trusted.given"),
    "listxattr": os.listxattr,
    "link": lambda path: os.link(path, f"{path}-2"),
    "rename": lambda path: os.rename(path, f"{path}-2"),
    "open as a path": lambda path: os.close(os.open(path, os.O_PATH)),
}


@pytest.mark.parametrize("kind", ["fifo", "device", "socket"])
@each_victim
def test_what_is_no_file_is_not_opened_to_look_at_it(arena, subject, transport, kind):
    fs = arena.fs(subject, transport)

    def try_all():
        opened = {}
        for name, operation in OF_A_SPECIAL_FILE.items():
            os.mkdir(f"{fs.source}/{name}")
            make_special(kind, f"{fs.source}/{name}/it")
            os.setxattr(f"{fs.source}/{name}/it", "trusted.given", b"x")
            with kernel.Events() as events:
                events.add(f"{fs.source}/{name}/it", mask=IN_OPEN)
                try:
                    operation(f"{fs.dir}/{name}/it")
                except OSError as err:
                    opened[name] = err.strerror  # A socket tells nobody but who opens it.
                if events.read():
                    opened[name] = "opened"
        return opened

    opened = in_child(try_all, timeout_s=60)
    assert opened.keys() == (OF_A_SPECIAL_FILE.keys() if subject is BY_PATH else set()), opened


def open_and_close(path, flags):
    os.close(os.open(path, flags | os.O_NONBLOCK))


@pytest.mark.parametrize("kind", ["fifo", "device"])
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDWR, os.O_RDWR | os.O_TRUNC], ids=["read", "write", "truncate"])
@each_victim
def test_what_was_a_file_is_not_opened_when_it_is_none(arena, subject, transport, kind, flags):
    """Known as a file, it is exchanged: held, as in the table, and then all the time."""
    fs = arena.fs(subject, transport)
    one, two = f"{fs.source}/file", f"{fs.source}/{kind}"
    make_special(kind, two)
    with open(one, "wb"), kernel.Events() as events:
        events.add(two, mask=IN_OPEN)
        fd = os.open(f"{fs.dir}/file", os.O_PATH)
        kernel.renameat2(one, two, kernel.RENAME_EXCHANGE)
        in_child(open_and_close, f"/proc/self/fd/{fd}", flags)
        os.close(fd)
        assert bool(events.read()) == (subject is BY_PATH)
        if subject is BY_PATH:
            return
        with Child(exchange_for_ever, one, two):
            in_child(open_often, fs, flags, TRIES)
        assert not events.read()


def open_often(fs, flags, tries):
    reached = 0
    deadline = time.monotonic() + 30
    while tries > 0 or (not reached and time.monotonic() < deadline):
        tries -= 1
        kernel.drop_names(fs.mount.mountpoint)
        try:
            fd = os.open(f"{fs.dir}/file", flags | os.O_NONBLOCK)
        except OSError:
            continue  # No reader, or it was exchanged in the middle.
        reached += stat.S_ISREG(os.fstat(fd).st_mode)
        os.close(fd)
    assert reached, "not once was the file there"


@each_victim
def test_a_fifo_in_the_place_of_a_file_holds_nobody_up(arena, subject, transport):
    fs = arena.fs(subject, transport)
    one, two = f"{fs.source}/file", f"{fs.source}/fifo"
    make_special("fifo", two)
    with open(one, "wb"):
        fd = os.open(f"{fs.dir}/file", os.O_PATH)
    kernel.renameat2(one, two, kernel.RENAME_EXCHANGE)
    try:
        with Child(lambda _link: os.close(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY))) as child:
            was_opened = wait_for_reader(one, child)
            child.result()
    finally:
        os.close(fd)
    assert was_opened == (subject is BY_PATH)


def wait_for_reader(fifo, child, timeout_s=30):
    """Whether somebody opens @fifo to read before @child ends; lets the reader go."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        has_ended = child.link.has_word()
        try:
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
            return True
        except OSError:  # ENXIO: nobody reads.
            if has_ended:
                return False
        time.sleep(0.001)
    raise TimeoutError("neither is there a reader nor does the child end")


# File handles.


def forge(handle, nodeid, generation):
    """The kernel's form of a handle: see fuse_encode_fh() in Linux fs/fuse/inode.c."""
    return handle[:8] + struct.pack("=III", nodeid >> 32 & 0xFFFFFFFF, nodeid & 0xFFFFFFFF, generation & 0xFFFFFFFF)


def open_handle(fs, handle):
    """What is in the file, or the error."""
    root = os.open(fs.mount.mountpoint, os.O_RDONLY)
    try:
        with open(kernel.open_by_handle(root, handle, os.O_RDONLY), "rb") as file:
            return file.read()
    except OSError as err:
        return errno.errorcode[err.errno]
    finally:
        os.close(root)


@each_victim
def test_a_forged_handle_opens_nothing(arena, place, subject, transport):
    """From what the file outside is called where the source lies, and any way to put that into a handle of ours."""
    scene = Scene(fs := arena.fs(subject, transport), place)
    scene.close()
    ours = kernel.name_to_handle(f"{scene.here}/file")
    theirs = kernel.name_to_handle(f"{scene.outside}/file")
    words = struct.unpack_from(f"={(len(theirs) - 8) // 4}I", theirs, 8)
    nodeids = {first << 32 | second for first in (0, *words) for second in (0, *words)}
    nodeids.add(os.stat(f"{scene.outside}/file").st_ino)
    generations = {0, 1, struct.unpack_from("=I", ours, 16)[0], *words}
    found = {open_handle(fs, forge(ours, nodeid, generation)) for nodeid in nodeids for generation in generations}
    if subject is not BY_PATH:
        assert found <= {"ESTALE", "EISDIR"}
    elif struct.unpack_from("=Ii", theirs) == (8, 1):  # else by_path cannot forge it either
        assert OUTSIDE.encode() * (SECRET_SIZE // 6) in found


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "forgotten"])
@pytest.mark.parametrize(
    "subject, transport", [pytest.param(BY_DESCRIPTOR, "dev_fuse-many", id="by_descriptor"), *VICTIMS[1:]]
)
def test_a_handle_does_not_lead_into_a_directory_that_left(arena, place, subject, transport, is_known):
    scene = Scene(fs := arena.fs(subject, transport), place)
    scene.close()
    handle = kernel.name_to_handle(f"{scene.here}/dir/file")
    fd = os.open(f"{scene.here}/dir/file", os.O_PATH)
    if not is_known:
        os.close(fd)
        kernel.drop_names(fs.mount.mountpoint)
    with moved(scene, A_DIRECTORY):
        found = open_handle(fs, handle)
    if is_known:
        os.close(fd)
    assert (found == OUTSIDE.encode() * (SECRET_SIZE // 6)) if subject is BY_DESCRIPTOR else found == "ESTALE"


@pytest.mark.parametrize(
    "subject, options",
    [
        pytest.param(BY_DESCRIPTOR, BY_DESCRIPTOR.options, id="by_descriptor"),
        pytest.param(PASSTHROUGHFS, ["-o", "data=daemon"], id="daemon"),
        pytest.param(PASSTHROUGHFS, ["-o", "data=daemon,cache=always"], id="cache-always"),
        pytest.param(PASSTHROUGHFS, ["-o", "data=kernel"], id="kernel"),
    ],
)
def test_a_file_that_left_is_not_emptied_by_an_open_that_fails(new_mount, place, subject, options):
    for name in ("source", "outside"):
        os.mkdir(f"{place}/{name}")
    put(f"{place}/source/file", b"precious")
    mount = new_mount(
        subject.program, *options, source=f"{place}/source", executable=mounts.executable(subject.executable)
    ).wait_mounted()
    fd = os.open(f"{mount.mountpoint}/file", os.O_PATH)
    os.rename(f"{place}/source/file", f"{place}/outside/file")
    error = error_of(os.open, f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_TRUNC)
    os.close(fd)
    got_out = get(f"{place}/outside/file") == b""
    assert got_out if subject is BY_DESCRIPTOR else (error, got_out) == (errno.ESTALE, False)


# Our own mount.


@each_victim
def test_our_own_mount_is_not_seen_in_itself(new_mount, place, uring_switch, subject, transport):
    """What it covers is: else there is no end of it, and with few workers none of a request."""
    source = f"{place}/source"
    point = f"{source}/point"
    os.makedirs(point)
    with open(f"{source}/file", "wb"):
        pass
    options = transport_named(transport, uring_switch).options
    executable = mounts.executable(subject.executable)
    new_mount(subject.program, *options, source=source, mountpoint=point, executable=executable)

    def recurs():
        return os.path.exists(f"{point}/point/file") and os.path.exists(f"{point}/point/point/file")

    assert in_child(recurs, timeout_s=30) == (subject is BY_PATH)
    if subject is not BY_PATH:
        assert os.listdir(f"{point}/point") == []
