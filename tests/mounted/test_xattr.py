# SPDX-License-Identifier: MIT
"""Extended attributes: who may do what with which, at the borders, and what they cost."""

import errno
import os

import pytest

from conftest import needs_root
from harness import kernel
from harness.children import in_child
from harness.script import like_the_kernels_own

pytestmark = needs_root

ALICE, BOB = 4001, 4002
KIB = 1 << 10
MIB = 1 << 20


def set_(path, name, value, flags=0):
    os.setxattr(path, name, value, flags, follow_symlinks=False)


def get(path, name):
    return os.getxattr(path, name, follow_symlinks=False)


def remove(path, name):
    os.removexattr(path, name, follow_symlinks=False)


def names(path):
    return sorted(os.listxattr(path, follow_symlinks=False))


def make_each_kind(t):
    t.write("file")
    t(os.mkdir, "dir")
    t(os.symlink, "file", "link")
    t(os.mkfifo, "fifo")
    t(os.mknod, "null", 0o020666, os.makedev(1, 3))


@like_the_kernels_own
def test_namespaces_on_each_kind_of_file(t):
    make_each_kind(t)
    for path in ("file", "dir", "link", "fifo", "null"):
        for name in ("trusted.a", "security.a", "user.a"):
            if name == "user.a" and path not in ("file", "dir"):
                t.refused(errno.EPERM, set_, path, name, b"value")
                t.refused(errno.ENODATA, get, path, name)
                continue
            t(set_, path, name, b"value")
            assert t(get, path, name) == b"value"
            t(set_, path, name, b"another, longer")
            assert t(get, path, name) == b"another, longer"
        expected = ["security.a", "trusted.a"] + (["user.a"] if path in ("file", "dir") else [])
        assert t(names, path) == expected
        t(remove, path, "trusted.a")
        t.refused(errno.ENODATA, get, path, "trusted.a")
        t.refused(errno.ENODATA, remove, path, "trusted.a")
        assert t(names, path) == [name for name in expected if name != "trusted.a"]
    # The link has attributes of its own.
    t(os.setxattr, "link", "user.through", b"x")
    assert t(get, "file", "user.through") == b"x"


@like_the_kernels_own
def test_create_and_replace(t):
    t.write("f")
    t.refused(errno.ENODATA, set_, "f", "user.a", b"1", os.XATTR_REPLACE)
    t.refused(errno.ENODATA, get, "f", "user.a")
    t(set_, "f", "user.a", b"2", os.XATTR_CREATE)
    t.refused(errno.EEXIST, set_, "f", "user.a", b"3", os.XATTR_CREATE)
    assert t(get, "f", "user.a") == b"2"
    t(set_, "f", "user.a", b"4", os.XATTR_REPLACE)
    assert t(get, "f", "user.a") == b"4"
    t(set_, "f", "user.a", b"5")
    assert t(get, "f", "user.a") == b"5"
    t.refused(errno.EINVAL, set_, "f", "user.a", b"6", 4)


@like_the_kernels_own
def test_short_buffers_and_the_question_for_the_size(t):
    t.write("f")
    t(set_, "f", "user.value", b"0123456789")
    t(set_, "f", "user.empty", b"")
    for size in (0, 1, 9, 10, 11, 100):
        t(kernel.getxattr, "f", "user.value", size)
        t(kernel.getxattr, "f", "user.empty", size)
    assert kernel.getxattr("f", "user.value", 0) == (10, b"")
    assert kernel.getxattr("f", "user.value", 10) == (10, b"0123456789")
    assert kernel.getxattr("f", "user.empty", 10) == (0, b"")
    t.refused(errno.ERANGE, kernel.getxattr, "f", "user.value", 9)
    for size in (0, 1, 21, 22, 23, 100):
        t(kernel.listxattr, "f", size)
    assert kernel.listxattr("f", 0) == (22, [])
    assert kernel.listxattr("f", 22) == (22, [b"user.empty", b"user.value"])
    t.refused(errno.ERANGE, kernel.listxattr, "f", 21)
    t.write("none")
    assert t(kernel.listxattr, "none", 0) == (0, [])


@like_the_kernels_own
def test_borders_of_names_and_values(t):
    t.write("f")
    longest = "user." + "n" * 250
    t(set_, "f", longest, b"x")
    assert t(get, "f", longest) == b"x"
    for call, *value in ((set_, b"x"), (get,), (remove,)):
        t.refused(errno.ERANGE, call, "f", longest + "n", *value)
        t.refused(errno.ERANGE, call, "f", "", *value)
        for name in ("user.", "trusted.", "security."):
            t.refused(errno.EINVAL, call, "f", name, *value)
        for name in ("nonsense", "nonsense.a", "system.a", "User.a", "user", "btrfs.a"):
            t.refused(errno.EOPNOTSUPP, call, "f", name, *value)
    for size in (4096, 4097, 60_000, kernel.XATTR_SIZE_MAX):
        value = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        t(set_, "f", "user.big", value)
        assert t(get, "f", "user.big") == value
    t.refused(errno.E2BIG, set_, "f", "user.big", b"x" * (kernel.XATTR_SIZE_MAX + 1))
    assert len(t(get, "f", "user.big")) == kernel.XATTR_SIZE_MAX
    t(set_, "f", "user.big", b"")
    assert t(get, "f", "user.big") == b""
    odd = b"user.\xff\xfe \n\x01="
    t(set_, "f", odd, b"\0" * 5)
    assert t(get, "f", odd) == b"\0" * 5
    t(names, "f")


@like_the_kernels_own
def test_a_long_list(t):
    t.write("f")
    expected = sorted(f"trusted.{number:04}.{'n' * 200}" for number in range(300))
    for name in expected:
        set_("f", name, name.encode())
    assert t(names, "f") == expected
    for name in expected[::2]:
        remove("f", name)
    assert t(names, "f") == expected[1::2]
    for name in expected[1::2]:
        assert get("f", name) == name.encode()


@like_the_kernels_own
def test_trusted_attributes_are_hidden_from_ordinary_users(t):
    t(os.chmod, ".", 0o777)
    make_each_kind(t)
    for path in ("file", "dir", "link", "fifo"):
        t(set_, path, "trusted.a", b"secret")
        t(set_, path, "security.a", b"open")
    for path in ("file", "dir"):
        t(set_, path, "user.a", b"u")

    def look(t):
        for path in ("file", "dir", "link", "fifo"):
            assert t(names, path) == ["security.a"] + (["user.a"] if path in ("file", "dir") else [])
            t.refused(errno.ENODATA, get, path, "trusted.a")
            t.refused(errno.EPERM, set_, path, "trusted.a", b"x")
            t.refused(errno.EPERM, remove, path, "trusted.a")
            t.refused(errno.EPERM, set_, path, "security.a", b"x")
            t.refused(errno.EPERM, remove, path, "security.a")
            assert t(get, path, "security.a") == b"open"

    t.as_user(ALICE, look)

    def without_the_capability():
        kernel.drop_capability(kernel.CAP_SYS_ADMIN)
        return names("file"), names("link")

    assert in_child(without_the_capability) == (["security.a", "user.a"], ["security.a"])
    assert t(names, "file") == ["security.a", "trusted.a", "user.a"]


@like_the_kernels_own
def test_user_attributes_obey_the_mode(t):
    t(os.chmod, ".", 0o777)
    for path, mode in (("open", 0o666), ("readable", 0o644), ("closed", 0o600)):
        t.write(path)
        t(set_, path, "user.a", b"value")
        t(os.chmod, path, mode)
    t(os.mkdir, "sticky")
    t(os.chmod, "sticky", 0o1777)

    def alice(t):
        t(set_, "open", "user.b", b"hers")
        t(remove, "open", "user.a")
        assert t(get, "readable", "user.a") == b"value"
        t.refused(errno.EACCES, set_, "readable", "user.b", b"x")
        t.refused(errno.EACCES, remove, "readable", "user.a")
        t.refused(errno.EACCES, get, "closed", "user.a")
        t.refused(errno.EACCES, set_, "closed", "user.b", b"x")
        t(names, "closed")
        t.refused(errno.EPERM, set_, "sticky", "user.a", b"x")

    t.as_user(ALICE, alice)
    assert t(names, "open") == ["user.b"]
    t(os.chown, "sticky", BOB, BOB)
    t.as_user(BOB, lambda t: t(set_, "sticky", "user.a", b"x"))
    assert t(names, "sticky") == ["user.a"]


@like_the_kernels_own
def test_attributes_stay_with_the_file(t):
    t.write("f", b"content")
    t(os.link, "f", "g")
    t.moved(["f", "."], set_, "f", "user.a", b"1")
    t.moved(["f", "."], get, "f", "user.a")
    t.moved(["f", "."], names, "f")
    assert t(get, "g", "user.a") == b"1"
    t(os.rename, "f", "h")
    assert t(get, "h", "user.a") == b"1"
    t(os.unlink, "h")
    fd = t.open("g", os.O_RDWR)
    t(os.unlink, "g")
    for name in ("user.a", "user.b", "trusted.c"):
        t(os.setxattr, fd, name, b"after")
    assert t(os.getxattr, fd, "user.a") == b"after"
    t.note("names", sorted(os.listxattr(fd)))
    t(os.removexattr, fd, "user.a")
    t.refused(errno.ENODATA, os.getxattr, fd, "user.a")
    t.close(fd)
    t.write("g")
    assert t(names, "g") == []
    t.moved(["g"], remove, "g", "user.a")
    t(set_, "g", "user.a", b"")
    t.moved(["g"], remove, "g", "user.a")


def test_attributes_outlive_the_kernels_caches(tmpfs_many):
    path = tmpfs_many.path("d/f")
    os.mkdir(tmpfs_many.path("d"))
    os.mknod(path)
    for number in range(5):
        set_(path, f"user.{number}", b"%d" % number * 100)
    kernel.drop_names(tmpfs_many.mount.mountpoint)
    assert names(path) == [f"user.{number}" for number in range(5)]
    assert [get(path, f"user.{number}") for number in range(5)] == [b"%d" % number * 100 for number in range(5)]


# --- What they cost ---------------------------------------------------------------------------


def free(path):
    st = os.statvfs(path)
    return st.f_bfree * st.f_frsize


def fill(path, size=60 * KIB):
    """Gives the file attributes until there is no room.  How many there are."""
    for number in range(10_000):
        try:
            set_(path, f"trusted.{number:05}", b"x" * size)
        except OSError as err:
            assert err.errno == errno.ENOSPC
            return number
    raise AssertionError("there is room without end")


@pytest.mark.parametrize("make", [os.mknod, os.mkdir, lambda path: os.symlink("x", path)], ids=["file", "dir", "link"])
def test_attributes_count_against_the_size(limited, make):
    top = limited("size=1m")
    path = os.path.join(top, "f")
    make(path)
    before = free(top)
    count = fill(path)
    assert MIB // (60 * KIB) - 2 <= count <= MIB // (60 * KIB)
    assert free(top) <= before - count * 60 * KIB
    assert names(path) == [f"trusted.{number:05}" for number in range(count)]
    with pytest.raises(OSError) as full:
        set_(path, "trusted.00000", b"z" * kernel.XATTR_SIZE_MAX)
    assert full.value.errno == errno.ENOSPC
    assert get(path, "trusted.00000") == b"x" * (60 * KIB)
    set_(path, "trusted.00000", b"short")
    set_(path, "trusted.more", b"y" * (50 * KIB))
    assert get(path, "trusted.00000") == b"short"
    for name in names(path):
        remove(path, name)
    assert free(top) == before
    assert fill(path) == count
    (os.rmdir if make is os.mkdir else os.unlink)(path)
    assert free(top) >= before
    os.mknod(path)
    assert fill(path) == count


def test_room_that_attributes_give_back_is_there_for_bytes(limited):
    top = limited("size=1m")
    os.mknod(os.path.join(top, "a"))
    fill(os.path.join(top, "a"))
    os.unlink(os.path.join(top, "a"))
    with open(os.path.join(top, "b"), "wb", buffering=0) as file:
        assert file.write(b"x" * (900 * KIB)) == 900 * KIB
        os.fsync(file.fileno())


def test_a_list_has_an_end(tmpfs_many):
    """What cannot be listed is not taken: a list has at most 64 KiB."""
    path = tmpfs_many.path("f")
    os.mknod(path)
    length = 0
    for number in range(1000):
        name = f"user.{number:04}{'n' * 246}"
        try:
            set_(path, name, b"")
        except OSError as err:
            assert err.errno == errno.ENOSPC
            break
        length += len(name) + 1
    assert 65536 - 256 < length <= 65536
    assert len(names(path)) == number
