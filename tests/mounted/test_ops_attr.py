# SPDX-License-Identifier: MIT
"""Attributes: modes, owners, times, who may do what, and what a change changes besides."""

import os
import stat
import time

from conftest import needs_root
from harness import kernel
from harness.script import compare, like_a_plain_directory, next_tick

ALICE, BOB, STAFF = 4001, 4002, 4100


@like_a_plain_directory
def test_chmod(t):
    t.write("f")
    t(os.mkdir, "d")
    t(os.mkfifo, "p")
    for name in ("f", "d", "p"):
        for mode in (0o600, 0o000, 0o777, 0o7777, 0o1755, 0o4711, 0o2750):
            t(os.chmod, name, mode)
            t.stat(name)
    fd = t.open("f")
    t(os.fchmod, fd, 0o640)
    t.fstat(fd)
    t.close(fd)
    t(os.symlink, "f", "s")
    t(os.chmod, "s", 0o604)
    t.stat("f", "s")
    t(os.chmod, "missing", 0o600)


@needs_root
@like_a_plain_directory
def test_chown(t):
    t.write("f")
    t(os.mkdir, "d")
    t(os.symlink, "f", "s")
    t(os.chown, "f", ALICE, STAFF)
    t(os.chown, "d", -1, STAFF)
    t(os.lchown, "s", BOB, -1)
    t.stat("f", "d", "s")
    t(os.chown, "s", BOB, BOB)
    t.stat("f", "s")
    fd = t.open("f")
    t(os.fchown, fd, -1, 4294967294)
    t.close(fd)
    t.stat("f")


@like_a_plain_directory
def test_umask(t):
    for umask in (0o000, 0o022, 0o077, 0o777):
        os.umask(umask)
        t.write(f"f{umask}")
        t(os.mkdir, f"d{umask}")
        t(os.mkdir, f"e{umask}", 0o1770)
        t(os.mkfifo, f"p{umask}", 0o666)
        t(os.symlink, "x", f"s{umask}")
        t.close(t.open(f"c{umask}", os.O_CREAT | os.O_WRONLY, 0o6755))
        for kind in "fdepsc":
            t.stat(f"{kind}{umask}")


def _set_times(t, path):
    for atime, mtime in (
        ((1_000_000_000, 123_456_789), (1_100_000_000, 987_654_321)),
        ((0, 0), (0, 1)),
        ((0, kernel.UTIME_OMIT), (5, 6)),
        ((7, 999_999_999), (0, kernel.UTIME_OMIT)),
        ((0, kernel.UTIME_OMIT), (0, kernel.UTIME_OMIT)),
        ((2_147_483_648, 5), (4_000_000_000, 7)),
        ((-100, 5), (-1, 999_999_999)),
    ):
        t(kernel.utimens, path, atime, mtime)
        st = os.lstat(path)
        t.note("times", (st.st_atime_ns, st.st_mtime_ns))


@like_a_plain_directory
def test_times_are_set_to_the_nanosecond(t):
    t.write("f", b"x")
    t(os.mkdir, "d")
    t(os.symlink, "f", "s")
    t(os.mkfifo, "p")
    for path in ("f", "d", "s", "p"):
        _set_times(t, path)


def test_times_are_set_to_now(fs):
    path = fs.path("f")
    with open(path, "wb"):
        pass
    kernel.utimens(path, (1, 2), (3, 4))
    before = time.time_ns() - 20_000_000
    kernel.utimens(path, (0, kernel.UTIME_NOW), (0, kernel.UTIME_OMIT))
    st = os.stat(path)
    assert before <= st.st_atime_ns <= time.time_ns()
    assert st.st_mtime_ns == 3_000_000_004
    kernel.utimens(path, (1, 2), (0, kernel.UTIME_NOW))
    st = os.stat(path)
    assert before <= st.st_mtime_ns <= time.time_ns()
    assert st.st_atime_ns == 1_000_000_002
    os.utime(path)
    assert os.stat(path).st_atime_ns >= before


def test_a_new_file_has_the_times_of_now(fs):
    makers = {
        "f": lambda path: os.close(os.open(path, os.O_CREAT | os.O_WRONLY)),
        "d": os.mkdir,
        "s": lambda path: os.symlink("x", path),
        "p": os.mkfifo,
    }
    for name, make in makers.items():
        before = time.time_ns() - 20_000_000
        make(fs.path(name))
        st = os.lstat(fs.path(name))
        after = time.time_ns()
        for stamp in (st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns, kernel.birth_time_ns(fs.path(name))):
            assert stamp is not None and before <= stamp <= after, name


def test_birth_time_never_changes(fs):
    path = fs.path("f")
    with open(path, "wb"):
        pass
    born = kernel.birth_time_ns(path)
    next_tick()
    with open(path, "wb") as file:
        file.write(b"x")
    os.chmod(path, 0o600)
    os.utime(path, ns=(1, 1))
    os.rename(path, fs.path("g"))
    assert kernel.birth_time_ns(fs.path("g")) == born


@like_a_plain_directory
def test_times_move_when_data_change(t):
    t.write("f", b"content")
    t(os.link, "f", "g")
    watched = ("f", "g", ".")
    fd = t.open("f", os.O_RDWR)
    t.moved(watched, os.pwrite, fd, b"X", 0)
    t.moved(watched, os.pwrite, fd, b"X", 5000)
    t.moved(watched, os.ftruncate, fd, 3)
    t.moved(watched, os.pread, fd, 3, 0)
    t.moved(watched, os.fsync, fd)
    t.moved(watched, os.close, fd)
    t.moved(watched, os.truncate, "f", 10)
    t.moved(watched, _open_and_close, "f", os.O_WRONLY)
    t.moved(watched, _open_and_close, "f", os.O_WRONLY | os.O_TRUNC)


def _listed(path):
    return sorted(os.listdir(path))


def _open_and_close(path, flags):
    os.close(os.open(path, flags, 0o666))


@like_a_plain_directory
def test_times_move_when_attributes_change(t):
    t.write("f", b"content")
    t(os.link, "f", "g")
    t(os.mkdir, "d")
    watched = ("f", "g", "d", ".")
    t.moved(watched, os.chmod, "f", 0o600)
    t.moved(watched, os.chmod, "d", 0o700)
    t.moved(watched, os.chown, "f", os.getuid(), os.getgid())
    t.moved(watched, os.utime, "f", ns=(5, 6))
    t.moved(watched, os.path.isfile, "f")
    t.moved(watched, os.access, "f", os.R_OK)


@like_a_plain_directory
def test_times_move_when_names_are_made(t):
    t(os.makedirs, "d/sub")
    t.write("f")
    watched = (".", "d", "d/sub", "f")
    t.moved(watched, _open_and_close, "d/new", os.O_CREAT | os.O_WRONLY)
    t.moved(watched, _open_and_close, "d/new", os.O_CREAT | os.O_WRONLY)
    t.moved(watched, os.mkdir, "d/dir")
    t.moved(watched, os.symlink, "x", "d/link")
    t.moved(watched, os.mkfifo, "d/fifo")
    t.moved(watched, os.link, "f", "d/hard")
    t.moved(watched, os.mkdir, "d/dir")
    t.moved(watched, _listed, "d")
    t.moved(watched, os.readlink, "d/link")


@like_a_plain_directory
def test_times_move_when_names_are_removed(t):
    t(os.makedirs, "d/sub/sub")
    t.write("d/f")
    t(os.link, "d/f", "other")
    watched = (".", "d", "d/sub", "other")
    t.moved(watched, os.unlink, "d/f")
    t.moved(watched, os.rmdir, "d/sub/sub")
    t.moved(watched, os.rmdir, "d/missing")
    t.moved(watched, os.rmdir, "d")


@like_a_plain_directory
def test_times_move_when_names_are_moved(t):
    t(os.makedirs, "a/sub")
    t(os.mkdir, "b")
    t.write("a/f")
    t.write("b/over")
    t(os.link, "b/over", "other")
    t(os.link, "a/f", "same")
    watched = (".", "a", "b", "other", "same")
    t.moved(watched, os.rename, "a/f", "a/g")
    t.moved(watched, os.rename, "a/g", "b/over")
    t.moved((*watched, "a/sub"), os.rename, "a/sub", "b/sub")
    t.stat("b/sub")
    t.write("a/x")
    t.moved((*watched, "a/x", "b/sub"), kernel.renameat2, "a/x", "b/sub", kernel.RENAME_EXCHANGE)
    t.moved((*watched, "a/x"), os.rename, "a/x", "a/missing/y")


@like_a_plain_directory
def test_the_time_of_a_renamed_file_moves(t):
    t.write("f")
    watched = ["f"]
    before = os.stat("f").st_ctime_ns
    next_tick()
    t(os.rename, "f", "g")
    t.note(f"ctime of {watched}", os.stat("g").st_ctime_ns != before)


def test_the_time_of_a_change_never_runs_backwards(fs):
    changes = (lambda fd: os.fchmod(fd, 0o600), lambda fd: os.fchmod(fd, 0o640), os.utime)
    # The clock of the first stamp of a file is the coarsest.
    for i in range(500):
        fd = os.open(fs.path(f"f{i}"), os.O_RDWR | os.O_CREAT, 0o644)
        last = 0
        for change in changes:
            change(fd)
            now = os.fstat(fd).st_ctime_ns
            assert now >= last
            last = now
        os.close(fd)


def test_writing_never_moves_atime_back(fs):
    path = fs.path("f")
    with open(path, "wb") as file:
        file.write(b"x")
    first = os.stat(path).st_atime_ns
    for _ in range(3):
        next_tick()
        with open(path, "ab") as file:
            file.write(b"x")
        assert os.stat(path).st_atime_ns >= first


def test_listing_moves_the_atime_of_a_changed_directory(tmpfs):
    """relatime: the first access after a change counts."""
    next_tick()
    os.mkdir(tmpfs.path("d"))
    assert os.stat(tmpfs.dir).st_atime_ns < os.stat(tmpfs.dir).st_mtime_ns
    next_tick()
    os.listdir(tmpfs.dir)
    assert os.stat(tmpfs.dir).st_atime_ns >= os.stat(tmpfs.dir).st_mtime_ns


@needs_root
@like_a_plain_directory
def test_new_files_belong_to_their_maker(t):
    t(os.chmod, ".", 0o777)

    def make(t):
        t.write("f")
        t(os.mkdir, "d")
        t(os.symlink, "x", "s")
        t(os.mkfifo, "p")
        t(os.mknod, "n", stat.S_IFREG | 0o600)
        t(os.mknod, "c", stat.S_IFCHR | 0o600, 259)

    t.as_user(ALICE, make, gid=STAFF)
    t.stat("f", "d", "s", "p", "n")
    t.ls()


@needs_root
@like_a_plain_directory
def test_setgid_directory_hands_its_group_down(t):
    t(os.chmod, ".", 0o777)
    t(os.mkdir, "d")
    t(os.chown, "d", 0, STAFF)
    t(os.chmod, "d", 0o2777)

    def make(t):
        t.write("d/f")
        t(os.mkdir, "d/e")
        t(os.mkdir, "d/e/deeper")
        t(os.symlink, "x", "d/s")
        t(os.mkfifo, "d/p")
        t.close(t.open("d/c", os.O_CREAT | os.O_WRONLY, 0o2775))
        t(os.rename, "d/e", "moved")

    t.as_user(ALICE, make)
    t.stat("d", "d/f", "moved", "moved/deeper", "d/s", "d/p", "d/c")
    t.as_user(BOB, lambda t: t.close(t.open("d/g", os.O_CREAT | os.O_WRONLY, 0o2775)), groups=[STAFF])
    t.stat("d/g")


@needs_root
@like_a_plain_directory
def test_others_may_do_what_the_modes_allow(t):
    t(os.chmod, ".", 0o755)
    t.write("secret", b"root only")
    t(os.chmod, "secret", 0o600)
    t.write("public", b"for all")
    t(os.mkdir, "closed", 0o700)
    t.write("closed/f")
    t(os.mkdir, "passage", 0o711)
    t.write("passage/f", b"inside")
    t(os.mkdir, "list", 0o744)
    t.write("list/f")
    t(os.mkdir, "open")
    t(os.chmod, "open", 0o777)
    t.write("team", b"for the team")
    t(os.chown, "team", 0, STAFF)
    t(os.chmod, "team", 0o060)

    def alice(t):
        t.read("secret")
        t.read("public")
        t.write("public")
        t.write("new")
        t(os.mkdir, "new")
        t(os.unlink, "public")
        t(os.rename, "public", "open/public")
        t(os.link, "public", "open/public")
        t(os.chmod, "public", 0o777)
        t(os.chown, "public", ALICE, -1)
        t(os.utime, "public", ns=(1, 2))
        t(os.utime, "public")
        t(os.truncate, "public", 0)
        t.ls("closed")
        t.read("closed/f")
        t.stat("closed/f", "closed/missing")
        t.ls("passage")
        t.read("passage/f")
        t.ls("list")
        t.stat("list/f")
        t.write("open/f", b"alice's")
        t(os.chmod, "open/f", 0o600)
        t(os.chown, "open/f", BOB, -1)
        t(os.chown, "open/f", -1, STAFF)
        t.read("team")
        t(os.access, "secret", os.R_OK)
        t(os.access, "public", os.R_OK)
        t(os.access, "public", os.W_OK)
        t(os.access, "public", os.X_OK)
        t(os.access, "closed", os.X_OK)

    t.as_user(ALICE, alice)

    def bob(t):
        t.read("open/f")
        t(os.unlink, "open/f")
        t.read("team")
        t.write("team", b"x")
        t(os.chown, "open", -1, STAFF)

    t.as_user(BOB, bob, groups=[STAFF])
    t.ls("open")


@needs_root
@like_a_plain_directory
def test_sticky_directory(t):
    t(os.mkdir, "d")
    t(os.chmod, "d", 0o1777)
    t.as_user(ALICE, lambda t: (t.write("d/alice"), t(os.mkdir, "d/dir")))

    def bob(t):
        t.write("d/bob")
        t(os.unlink, "d/alice")
        t(os.rmdir, "d/dir")
        t(os.rename, "d/alice", "d/x")
        t(os.rename, "d/bob", "d/alice")
        t(os.unlink, "d/bob")

    t.as_user(BOB, bob)
    t.as_user(ALICE, lambda t: t(os.unlink, "d/alice"))
    t.ls("d")


@needs_root
@like_a_plain_directory
def test_setuid_and_setgid_bits_go_when_others_write(t):
    def fresh(t):
        t.write("f", b"program")
        t(os.chown, "f", ALICE, STAFF)
        t(os.chmod, "f", 0o6777)

    def write(t):
        fd = t.open("f", os.O_WRONLY)
        t(os.write, fd, b"x")
        t.fstat(fd)
        t.close(fd)

    for change in (
        write,
        lambda t: t(os.truncate, "f", 2),
        lambda t: t.close(t.open("f", os.O_WRONLY | os.O_TRUNC)),
    ):
        fresh(t)
        t.as_user(BOB, change)
        t.stat("f")
        fresh(t)
        change(t)
        t.stat("f")
    fresh(t)
    t(os.chown, "f", BOB, -1)
    t.stat("f")
    fresh(t)
    t.as_user(ALICE, lambda t: t(os.chown, "f", -1, STAFF), gid=STAFF)
    t.stat("f")
    t(os.mkdir, "d")
    t(os.chmod, "d", 0o6777)
    t(os.chown, "d", BOB, BOB)
    t.stat("d")


@needs_root
@like_a_plain_directory
def test_setgid_bit_goes_when_a_stranger_to_the_group_changes_the_mode(t):
    t.write("f")
    t(os.chown, "f", ALICE, STAFF)
    t.as_user(ALICE, lambda t: t(os.chmod, "f", 0o2755))
    t.stat("f")
    t.as_user(ALICE, lambda t: t(os.chmod, "f", 0o2755), groups=[STAFF])
    t.stat("f")


def test_access_of_the_owner(fs):
    path = fs.path("f")
    with open(path, "wb"):
        pass
    os.chmod(path, 0o400)
    assert os.access(path, os.R_OK)
    assert not os.access(path, os.X_OK)
    assert not os.access(fs.path("missing"), os.F_OK)


def _xattr_script(t):
    t.write("f")
    t(os.mkdir, "d")
    t(os.symlink, "f", "s")
    for path in ("f", "d"):
        t(os.listxattr, path)
        t(os.setxattr, path, "user.one", b"value")
        t(os.setxattr, path, "user.empty", b"")
        t(os.setxattr, path, "user.binary", bytes(range(256)))
        t(os.getxattr, path, "user.one")
        t(os.getxattr, path, "user.empty")
        t(os.getxattr, path, "user.binary")
        t(os.getxattr, path, "user.missing")
        t.note("names", sorted(os.listxattr(path)))
        t(os.setxattr, path, "user.one", b"x", os.XATTR_CREATE)
        t(os.setxattr, path, "user.two", b"x", os.XATTR_REPLACE)
        t(os.setxattr, path, "user.one", b"longer value than before", os.XATTR_REPLACE)
        t(os.getxattr, path, "user.one")
        t(os.removexattr, path, "user.one")
        t(os.removexattr, path, "user.one")
        t.note("names", sorted(os.listxattr(path)))
        t(os.setxattr, path, "nonsense", b"x")
        t(os.setxattr, path, "user." + "n" * 300, b"x")
    t(os.setxattr, "s", "user.x", b"x", follow_symlinks=False)
    t(os.setxattr, "s", "user.through", b"x")
    t(os.getxattr, "f", "user.through")
    t(os.rename, "f", "g")
    t(os.getxattr, "g", "user.through")


def test_extended_attributes(passthroughfs):
    compare(passthroughfs.dir, passthroughfs.oracle, _xattr_script)
    seen = os.listxattr(os.path.join(passthroughfs.source, "g"))
    assert sorted(seen) == sorted(os.listxattr(passthroughfs.path("g")))
    assert os.getxattr(os.path.join(passthroughfs.source, "g"), "user.through") == b"x"
