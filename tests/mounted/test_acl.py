# SPDX-License-Identifier: MIT
"""POSIX ACLs: what they say and who may say it, what the mode makes of them, what new files get."""

import errno
import os
import stat

import pytest

from conftest import needs_root
from harness import acl, kernel
from harness.acl import getfacl, setfacl
from harness.children import as_user
from harness.script import like_the_kernels_own

pytestmark = needs_root

ALICE, BOB, STAFF = 4001, 4002, 4100
FOR_ALICE = f"u::rw-,u:{ALICE}:rw-,g::r--,m::rw-,o::---"


def mode(path):
    return oct(stat.S_IMODE(os.lstat(path).st_mode))


def has_acls(path):
    return sorted(name for name in os.listxattr(path, follow_symlinks=False) if name.startswith("system."))


@like_the_kernels_own
def test_the_mode_follows_the_acl(t):
    t.write("f")
    t.refused(errno.ENODATA, getfacl, "f")
    t(setfacl, "f", FOR_ALICE)
    assert t(getfacl, "f") == FOR_ALICE
    assert t(mode, "f") == "0o660"
    assert t(has_acls, "f") == [acl.ACCESS]
    t(setfacl, "f", f"u::r--,u:{ALICE}:rwx,g::rwx,g:{STAFF}:-w-,m::--x,o::-w-")
    assert t(mode, "f") == "0o412"
    # One that says no more than the mode is not kept.
    t(setfacl, "f", "u::rwx,g::r-x,o::--x")
    assert t(mode, "f") == "0o751"
    assert t(has_acls, "f") == []
    t.refused(errno.ENODATA, getfacl, "f")
    # Three entries and a mask say more.
    t(setfacl, "f", "u::rwx,g::rwx,m::r--,o::---")
    assert t(mode, "f") == "0o740"
    assert t(getfacl, "f") == "u::rwx,g::rwx,m::r--,o::---"


@like_the_kernels_own
def test_the_acl_follows_the_mode(t):
    t.write("f")
    t(setfacl, "f", FOR_ALICE)
    t(os.chmod, "f", 0o6751)
    assert t(getfacl, "f") == f"u::rwx,u:{ALICE}:rw-,g::r--,m::r-x,o::--x"
    t(os.chmod, "f", 0o000)
    assert t(getfacl, "f") == f"u::---,u:{ALICE}:rw-,g::r--,m::---,o::---"
    fd = t.open("f")
    t(os.fchmod, fd, 0o640)
    t.close(fd)
    assert t(getfacl, "f") == f"u::rw-,u:{ALICE}:rw-,g::r--,m::r--,o::---"
    t(os.chown, "f", ALICE, STAFF)
    t(getfacl, "f")
    t.stat("f")


@like_the_kernels_own
def test_an_acl_goes_and_the_mode_stays(t):
    t.write("f")
    t(setfacl, "f", FOR_ALICE)
    t.moved(["f"], os.removexattr, "f", acl.ACCESS)
    assert t(mode, "f") == "0o660"
    assert t(has_acls, "f") == []
    t.moved(["f"], os.removexattr, "f", acl.ACCESS)
    t(os.mkdir, "d")
    t(setfacl, "d", FOR_ALICE, acl.DEFAULT)
    t.moved(["d"], setfacl, "d", FOR_ALICE)
    t.moved(["d"], setfacl, "d", FOR_ALICE, acl.DEFAULT)
    assert t(has_acls, "d") == [acl.ACCESS, acl.DEFAULT]
    t(os.removexattr, "d", acl.DEFAULT)
    t(os.removexattr, "d", acl.DEFAULT)
    assert t(has_acls, "d") == [acl.ACCESS]
    t(setfacl, "d", "", acl.DEFAULT)
    t(setfacl, "d", "")
    t(has_acls, "d")
    t.stat("d")


@like_the_kernels_own
def test_what_is_no_acl_is_refused(t):
    t.write("f")
    t(os.mkdir, "d")
    t(os.symlink, "f", "s")
    t(os.mkfifo, "p")
    t.refused(errno.EACCES, setfacl, "f", FOR_ALICE, acl.DEFAULT)
    t.refused(errno.EACCES, setfacl, "p", FOR_ALICE, acl.DEFAULT)
    t.refused(errno.EOPNOTSUPP, setfacl, "s", FOR_ALICE)
    t.refused(errno.EOPNOTSUPP, getfacl, "s")
    t(setfacl, "p", FOR_ALICE)
    for text in (
        "u::rwx,g::r-x",
        "u::rwx,g::r-x,m::rwx",
        f"u::rwx,u:{ALICE}:rwx,g::r-x,o::---",
        f"u::rwx,g::r-x,g:{STAFF}:rwx,o::---",
        "u::rwx,u::rwx,g::r-x,o::---",
        "u::rwx,g::r-x,m::rwx,m::rwx,o::---",
        "g::r-x,u::rwx,o::---",
        "o::---",
    ):
        t.refused(errno.EINVAL, setfacl, "f", text)
        t.refused(errno.EINVAL, setfacl, "d", text, acl.DEFAULT)
    good = acl.pack(FOR_ALICE)
    for value in (good[:-1], good + b"\0", b"\3" + good[1:], good[:6] + b"\x08" + good[7:], b"\2\0\0"):
        t(os.setxattr, "f", acl.ACCESS, value)
    t.refused(errno.EINVAL, os.setxattr, "f", acl.ACCESS, good[:-1])
    t.stat("f", "d", "s", "p")
    for path in ("f", "d", "s", "p"):
        t(has_acls, path)


def can(path, flags):
    os.close(os.open(path, flags))


def create(path):
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


@like_the_kernels_own
def test_who_is_named_may(t):
    t.write("f", b"content")
    t(setfacl, "f", f"u::rw-,u:{ALICE}:r--,g::---,g:{STAFF}:-w-,m::rw-,o::---")
    t(os.mkdir, "d")
    t.write("d/inside")
    t(setfacl, "d", f"u::rwx,u:{ALICE}:rwx,u:{BOB}:--x,g::---,m::rwx,o::---")

    def alice(t):
        assert t.read("f") == b"content"
        t.refused(errno.EACCES, can, "f", os.O_WRONLY)
        t(os.access, "f", os.R_OK)
        t(os.access, "f", os.W_OK)
        assert t.ls("d") == ["inside"]
        t.write("d/hers")
        t(os.unlink, "d/inside")

    def staff(t):
        t.refused(errno.EACCES, can, "f", os.O_RDONLY)
        t.refused(errno.EACCES, can, "f", os.O_RDWR)
        t(can, "f", os.O_WRONLY)

    def bob(t):
        t.refused(errno.EACCES, can, "f", os.O_RDONLY)
        t.refused(errno.EACCES, can, "f", os.O_WRONLY)
        t.refused(errno.EACCES, os.listdir, "d")
        t.read("d/hers")
        t.refused(errno.EACCES, os.unlink, "d/hers")

    t.as_user(ALICE, alice)
    t.as_user(BOB, staff, groups=[STAFF])
    t.as_user(BOB, staff, gid=STAFF)
    t.as_user(BOB, bob)
    # The mask is the most that they may.
    t(os.chmod, "f", 0o600)
    t.as_user(ALICE, lambda t: t.refused(errno.EACCES, can, "f", os.O_RDONLY))
    t(os.chmod, "f", 0o640)
    t.as_user(ALICE, lambda t: t(can, "f", os.O_RDONLY))
    t(os.removexattr, "f", acl.ACCESS)
    t.as_user(ALICE, lambda t: t.refused(errno.EACCES, can, "f", os.O_RDONLY))
    # Who is named is not one of the others.
    t(setfacl, "f", f"u::rw-,u:{ALICE}:---,g::r--,m::rw-,o::rw-")
    t.as_user(ALICE, lambda t: t.refused(errno.EACCES, can, "f", os.O_RDONLY))
    t.as_user(BOB, lambda t: t(can, "f", os.O_RDWR))


@like_the_kernels_own
def test_the_owner_alone_changes_an_acl(t):
    t(os.chmod, ".", 0o777)
    t.write("f")
    t(os.chmod, "f", 0o666)
    t(os.chown, "f", ALICE, ALICE)

    def stranger(t):
        t.refused(errno.EPERM, setfacl, "f", FOR_ALICE)
        t.refused(errno.EPERM, os.removexattr, "f", acl.ACCESS)
        t(getfacl, "f")

    t.as_user(BOB, stranger)
    t.as_user(ALICE, lambda t: t(setfacl, "f", FOR_ALICE))
    t.as_user(BOB, stranger)
    assert t(getfacl, "f") == FOR_ALICE


# --- What new files get -----------------------------------------------------------------------

INHERITED = f"u::rwx,u:{ALICE}:rwx,g::r-x,g:{STAFF}:rw-,m::rwx,o::r--"


def tmpfile(path):
    fd = os.open(path, os.O_TMPFILE | os.O_RDWR, 0o666)
    try:
        kernel.link_fd(fd, path + "/t")
    finally:
        os.close(fd)


@like_the_kernels_own
def test_a_default_acl_is_inherited_instead_of_the_umask(t):
    t(os.mkdir, "d")
    t(setfacl, "d", INHERITED, acl.DEFAULT)
    assert t(mode, "d") == "0o755"
    os.umask(0o077)
    t.close(t.open("d/f", os.O_CREAT | os.O_WRONLY, 0o666))
    assert t(getfacl, "d/f") == f"u::rw-,u:{ALICE}:rwx,g::r-x,g:{STAFF}:rw-,m::rw-,o::r--"
    assert t(mode, "d/f") == "0o664"
    t.close(t.open("d/g", os.O_CREAT | os.O_WRONLY, 0o640))
    assert t(mode, "d/g") == "0o640"
    t(os.mkdir, "d/e")
    assert t(getfacl, "d/e") == INHERITED
    assert t(getfacl, "d/e", acl.DEFAULT) == INHERITED
    assert t(mode, "d/e") == "0o774"
    t(os.mkdir, "d/h", 0o700)
    assert t(getfacl, "d/h", acl.DEFAULT) == INHERITED
    assert t(mode, "d/h") == "0o700"
    t(os.mkfifo, "d/p")
    t(os.mknod, "d/n", stat.S_IFREG | 0o622)
    t(os.symlink, "x", "d/s")
    t(tmpfile, "d")
    t(os.mkdir, "d/e/deeper")
    for path in ("d/p", "d/n", "d/t", "d/e/deeper"):
        t(getfacl, path)
        t(has_acls, path)
    for path in ("d/p", "d/n", "d/t", "d/s", "d/e/deeper"):
        t(mode, path)
    assert t(has_acls, "d/s") == []
    assert t(mode, "d/t") == "0o664"
    # What is moved in keeps what it has.
    t.write("outside")
    t(os.rename, "outside", "d/outside")
    t(os.link, "d/outside", "d/again")
    assert t(has_acls, "d/again") == []
    assert t(mode, "d/again") == "0o600"
    t.as_user(ALICE, lambda t: t.refused(errno.EACCES, create, "d/mine"))
    t.as_user(ALICE, lambda t: t(create, "d/e/mine"))
    t(getfacl, "d/e/mine")
    t.stat("d/e/mine")


@like_the_kernels_own
def test_without_a_default_acl_the_umask_holds(t):
    t(os.mkdir, "d")
    t(setfacl, "d", INHERITED, acl.DEFAULT)
    t(os.mkdir, "d/plain")
    t(os.removexattr, "d/plain", acl.DEFAULT)
    t(os.mkdir, "with_access")
    t(setfacl, "with_access", FOR_ALICE)
    for umask in (0o000, 0o027, 0o777):
        os.umask(umask)
        for path in ("d/plain", "with_access"):
            t(create, f"{path}/f{umask}")
            t(os.mkdir, f"{path}/d{umask}")
            t(os.mkfifo, f"{path}/p{umask}")
            for kind in "fdp":
                t(mode, f"{path}/{kind}{umask}")
                assert t(has_acls, f"{path}/{kind}{umask}") == []
    assert t(mode, "d/plain/f23") == "0o640"


@like_the_kernels_own
def test_a_default_acl_of_three_entries_makes_modes_alone(t):
    t(os.mkdir, "d")
    t(setfacl, "d", "u::rwx,g::rw-,o::-w-", acl.DEFAULT)
    assert t(has_acls, "d") == [acl.DEFAULT]
    os.umask(0o777)
    t(create, "d/f")
    t(os.mkdir, "d/e")
    assert t(mode, "d/f") == "0o662"
    assert t(mode, "d/e") == "0o762"
    assert t(has_acls, "d/f") == []
    assert t(has_acls, "d/e") == [acl.DEFAULT]


# --- The setgid bit ---------------------------------------------------------------------------


def change_acls(t):
    """All that may take the setgid bit, each of a file and a directory of its own."""
    for kind in "fd":
        t(setfacl, f"{kind}1", f"u::rwx,u:{BOB}:r-x,g::r-x,m::rwx,o::---")
        t(setfacl, f"{kind}2", "u::rwx,g::r-x,o::---")
        t(os.removexattr, f"{kind}3", acl.ACCESS)
        t(os.removexattr, f"{kind}4", acl.ACCESS)
    # That says nothing of the directory itself.
    t(setfacl, "d5", FOR_ALICE, acl.DEFAULT)


def change_acls_as_weak_root(t):
    kernel.drop_capability(kernel.CAP_FSETID)
    change_acls(t)


@like_the_kernels_own
def test_the_setgid_bit_is_for_members_of_the_group(t):
    paths = [f"{kind}{number}" for kind in "fd" for number in range(1, 6)]
    for path in paths:
        if path.startswith("d"):
            t(os.mkdir, path)
        else:
            t.write(path)

    def after(who, uid=ALICE, change=change_acls):
        for path in paths:
            if path.endswith("3"):
                t(setfacl, path, FOR_ALICE)
            os.chown(path, ALICE, STAFF)
            os.chmod(path, 0o2770)
        if who is None:
            change_acls(t)
        else:
            t.as_user(uid, change, **who)
        t.stat(*paths)
        return [path for path in paths if os.lstat(path).st_mode & stat.S_ISGID]

    assert after({}) == ["f5", "d5"]
    assert after({"groups": [STAFF]}) == paths
    assert after({"gid": STAFF}) == paths
    assert after(None) == paths
    assert after({}, 0, change_acls_as_weak_root) == ["f5", "d5"]
    assert after({"groups": [STAFF]}, 0, change_acls_as_weak_root) == paths


# --- Caches and room --------------------------------------------------------------------------


def test_acls_outlive_the_kernels_caches(tmpfs_many):
    path, below = tmpfs_many.path("f"), tmpfs_many.path("d", "e")
    with open(path, "wb") as file:
        file.write(b"content")
    setfacl(path, f"u::rw-,u:{ALICE}:r--,g::---,m::r--,o::---")
    os.mkdir(tmpfs_many.path("d"))
    setfacl(tmpfs_many.path("d"), INHERITED, acl.DEFAULT)
    kernel.drop_names(tmpfs_many.mount.mountpoint)
    assert as_user(ALICE, can, path, os.O_RDONLY) is None
    with pytest.raises(PermissionError):
        as_user(BOB, can, path, os.O_RDONLY)
    os.mkdir(below)
    kernel.drop_names(tmpfs_many.mount.mountpoint)
    assert getfacl(below, acl.DEFAULT) == INHERITED
    assert getfacl(path) == f"u::rw-,u:{ALICE}:r--,g::---,m::r--,o::---"


def test_acls_count_against_the_size(limited):
    """A directory that inherits costs more, and one for whose ACLs there is no room is not made."""
    top = limited("size=1m,nr_inodes=0")
    long = ",".join(f"u:{number}:rwx" for number in range(1000, 1500))
    parent = os.path.join(top, "d")
    os.mkdir(parent)
    setfacl(parent, f"u::rwx,{long},g::r-x,m::rwx,o::r-x", acl.DEFAULT)
    for number in range(1000):
        try:
            os.mkdir(f"{parent}/{number}")
        except OSError as err:
            assert err.errno == errno.ENOSPC
            break
    cost = 2 * len(acl.pack(long))
    assert (1 << 20) // (cost + 500) <= number <= (1 << 20) // cost
    assert not os.path.exists(f"{parent}/{number}")
    assert os.lstat(parent).st_nlink == 2 + number
    os.removexattr(f"{parent}/0", acl.DEFAULT)
    os.removexattr(f"{parent}/0", acl.ACCESS)
    os.mkdir(f"{parent}/{number}")
    assert getfacl(f"{parent}/{number}", acl.DEFAULT).startswith("u::rwx,u:1000:rwx")
