# SPDX-License-Identifier: MIT
"""Set-id bits and capabilities of files: who keeps them by changing a file, and who does not."""

import errno
import mmap
import os
import shutil
import stat
import struct
import subprocess

import pytest

from conftest import needs_root
from harness import kernel
from harness.children import Child, as_user
from harness.script import compare, like_the_kernels_own, like_the_kernels_own_in_each_mode

pytestmark = needs_root

ALICE, BOB, STAFF = 4001, 4002, 4100
STRANGER = {}
MEMBER = {"groups": [STAFF]}
MEMBER_BY_GID = {"gid": STAFF}
MODES = (0o6777, 0o4666, 0o2666, 0o2676)
# Revision 2 of what setcap(8) makes of cap_net_raw=ep.
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


def opened(path, flags, change):
    fd = os.open(path, flags)
    try:
        change(fd)
    finally:
        os.close(fd)


def write(path):
    opened(path, os.O_WRONLY, lambda fd: os.write(fd, b"x"))


def append(path):
    opened(path, os.O_WRONLY | os.O_APPEND, lambda fd: os.write(fd, b"x"))


def write_directly(path):
    opened(path, os.O_WRONLY | os.O_DIRECT, lambda fd: os.write(fd, mmap.mmap(-1, 4096)))


def write_nothing(path):
    opened(path, os.O_WRONLY, lambda fd: os.write(fd, b""))


def truncate(path):
    os.truncate(path, 2)


def truncate_opened(path):
    opened(path, os.O_WRONLY, lambda fd: os.ftruncate(fd, 2))


def truncate_by_opening(path):
    opened(path, os.O_WRONLY | os.O_TRUNC, lambda fd: None)


def copy_in(path):
    def copy(fd):
        source = os.open("source", os.O_RDONLY)
        os.copy_file_range(source, fd, 3)
        os.close(source)

    opened(path, os.O_WRONLY, copy)


def allocate(path):
    opened(path, os.O_WRONLY, lambda fd: kernel.fallocate(fd, 0, 0, 100))


def open_only(path):
    opened(path, os.O_RDWR, lambda fd: os.read(fd, 10))


CHANGES = [
    *(write, append, write_directly, write_nothing, truncate, truncate_opened, truncate_by_opening, copy_in),
    *(allocate, open_only),
]


def bits(path):
    return stat.S_IMODE(os.lstat(path).st_mode) & 0o6000


def make(t, path, mode):
    t.write(path, b"program")
    os.chown(path, ALICE, STAFF)
    os.chmod(path, mode)


def change_all(t):
    """Each change, of files with each mode; what the bits are then."""
    for change in CHANGES:
        for mode in MODES:
            path = f"{change.__name__}-{mode:o}"
            t(change, path)
            t(bits, path)


@pytest.mark.parametrize("who", [STRANGER, MEMBER, MEMBER_BY_GID, None], ids=["stranger", "member", "gid", "root"])
def test_who_writes_keeps_the_bits_or_not(each_own, who):
    def script(t):
        t.write("source", b"source")
        for change in CHANGES:
            for mode in MODES:
                make(t, f"{change.__name__}-{mode:o}", mode)
        if who is None:
            change_all(t)
        else:
            t.as_user(BOB, change_all, **who)
        t.stat(*sorted(os.listdir(".")))
        for change in (write, append, truncate, truncate_opened, truncate_by_opening, copy_in):
            left = [bits(f"{change.__name__}-{mode:o}") for mode in MODES]
            if who is None:
                assert left == [0o6000, 0o4000, 0o2000, 0o2000], change
            else:
                assert left == [0, 0, 0 if who == STRANGER else 0o2000, 0], change

    compare(each_own.dir, each_own.oracle, script)


@like_the_kernels_own_in_each_mode
def test_root_without_the_right_to_keep_bits_loses_them(t):
    """With the change, and not if that fails."""
    t.write("source", b"source")
    for change in CHANGES:
        for mode in MODES:
            make(t, f"{change.__name__}-{mode:o}", mode)
    for mode in MODES:
        make(t, f"refused-{mode:o}", mode)

    def root(t):
        kernel.drop_capability(kernel.CAP_FSETID)
        change_all(t)
        for mode in MODES:
            fd = t.open(f"refused-{mode:o}", os.O_RDWR)
            t.refused(errno.ENOSPC, kernel.fallocate, fd, 0, 0, 1 << 50)
            t.refused(errno.EINVAL, os.ftruncate, fd, -1)
            t.close(fd)

    for groups in ([], [STAFF]):
        t.as_user(0, root, groups=groups)
        t.stat(*sorted(os.listdir(".")))
    for mode in MODES:
        assert bits(f"refused-{mode:o}") == mode & 0o6000


@like_the_kernels_own
def test_a_new_owner_takes_the_bits(t):
    modes = (0o6777, 0o4666, 0o2666, 0o2676, 0o6644)
    changes = {"uid": (BOB, -1), "gid": (-1, BOB), "both": (BOB, BOB)}
    for mode in modes:
        for name in changes:
            make(t, f"root-{name}-{mode:o}", mode)
        make(t, f"alice-{mode:o}", mode)
        make(t, f"staff-{mode:o}", mode)
    for mode in modes:
        for name, owners in changes.items():
            t(os.chown, f"root-{name}-{mode:o}", *owners)
            assert bits(f"root-{name}-{mode:o}") & stat.S_ISUID == 0

    def alice(t):
        for mode in modes:
            t(os.chown, f"alice-{mode:o}", -1, ALICE)

    t.as_user(ALICE, alice)

    def staff(t):
        for mode in modes:
            t(os.chown, f"staff-{mode:o}", -1, ALICE)

    t.as_user(ALICE, staff, groups=[STAFF])
    t.stat(*sorted(os.listdir(".")))
    assert bits("alice-6777") == 0
    t(os.mkdir, "d")
    t(os.chmod, "d", 0o6777)
    t(os.chown, "d", ALICE, STAFF)
    assert bits("d") == 0o6000


@like_the_kernels_own_in_each_mode
def test_a_capability_goes_with_any_change_of_the_bytes(t):
    """Also with one of root's."""
    name = "security.capability"
    t.write("source", b"source")

    def has(path):
        return name in os.listxattr(path)

    def chown(path):
        os.chown(path, ALICE, STAFF)

    for change in [*CHANGES, chown]:
        path = change.__name__
        t.write(path, b"program")
        t(os.setxattr, path, name, CAPABILITY)
        assert t(os.getxattr, path, name) == CAPABILITY
        t(os.chmod, path, 0o751)
        t(os.utime, path, ns=(1, 2))
        t.read(path)
        t(os.link, path, path + "-2")
        assert has(path)
        t(change, path)
        t.note(path, has(path))
        assert has(path) == (change in (open_only, write_nothing)), change
    for path in (os.mkfifo, os.mkdir):
        t(path, path.__name__)
        t(os.setxattr, path.__name__, name, CAPABILITY)
    t(chown, "mkdir")
    t.note("directory", has("mkdir"))


@like_the_kernels_own_in_each_mode
def test_bits_given_to_a_file_in_use_go_when_a_stranger_writes(t):
    t.write("f", b"0123456789")
    t(os.chmod, "f", 0o666)
    reader = t.open("f")

    def stranger(link):
        """Has the file open for writing all the time."""
        fd = os.open("f", os.O_RDWR)
        for at in range(3):
            link.tell(os.pread(fd, 100, 0))
            link.hear()
            os.pwrite(fd, b"x", at)
            link.tell("written")
        os.close(fd)

    with Child(stranger, uid=BOB, gid=BOB) as child:
        for number, mode in enumerate((0o4666, 0o6777, 0o4777)):
            content = b"x" * number + b"0123456789"[number:]
            assert child.link.hear() == content
            t(os.chmod, "f", mode)
            late = t.open("f")
            assert t(os.pread, late, 100, 0) == content
            child.link.tell("write")
            child.link.hear()
            assert t(bits, "f") == 0
            for fd in (reader, late):
                assert t(os.pread, fd, 100, 0) == b"x" * (number + 1) + b"0123456789"[number + 1 :]
            t.close(late)
        child.result()
    t.close(reader)


@like_the_kernels_own_in_each_mode
def test_bits_of_a_file_in_use_stay_when_nobody_writes(t):
    t.write("f", b"0123456789")
    reader = t.open("f")
    writer = t.open("f", os.O_RDWR)
    t(os.pwrite, writer, b"x", 0)
    for mode in MODES:
        t(os.chmod, "f", mode)
        t(os.pread, writer, 100, 0)
        late = t.open("f", os.O_RDWR)
        t(os.pread, late, 100, 0)
        t.close(late)
        assert t(bits, "f") == mode & 0o6000
    t.close(writer)
    t.close(reader)
    assert t(bits, "f") == 0o2000
    assert t.read("f") == b"x123456789"


@like_the_kernels_own_in_each_mode
def test_a_file_that_gets_bits_while_in_use_has_one_content(t):
    """Opened before, opened since, and mapped."""
    size = 3 * mmap.PAGESIZE
    t.write("f", b"." * size)
    before = t.open("f", os.O_RDWR)
    early = mmap.mmap(before, size)
    early[0:5] = b"early"
    t(os.chmod, "f", 0o4755)
    since = t.open("f", os.O_RDWR)
    assert t(os.pread, since, 5, 0) == b"early"
    t(os.pwrite, since, b"since", mmap.PAGESIZE)
    assert early[mmap.PAGESIZE : mmap.PAGESIZE + 5] == b"since"
    late = mmap.mmap(since, size)
    assert late[0:5] == b"early"
    late[0:5] = b"later"
    assert t(os.pread, before, 5, 0) == b"later"
    assert t(os.pread, since, 5, 0) == b"later"
    t(os.pwrite, before, b"BEFORE", 2 * mmap.PAGESIZE)
    assert late[2 * mmap.PAGESIZE : 2 * mmap.PAGESIZE + 6] == b"BEFORE"
    early.close()
    late.close()
    t.close(before)
    t.close(since)
    t.read("f")


@like_the_kernels_own_in_each_mode
def test_a_file_that_gets_bits_while_only_mapped_has_one_content(t):
    t.write("f", b"." * (2 * mmap.PAGESIZE))
    fd = t.open("f", os.O_RDWR)
    early = kernel.SharedMap(fd, 2 * mmap.PAGESIZE)
    t.close(fd)
    t(os.chmod, "f", 0o4755)
    fd = t.open("f", os.O_RDWR)
    assert t(os.pread, fd, 1, 0) == b"."
    early[0:5] = b"early"
    assert t(os.pread, fd, 5, 0) == b"early"
    late = mmap.mmap(fd, 0)
    late[mmap.PAGESIZE : mmap.PAGESIZE + 4] = b"late"
    early[mmap.PAGESIZE + 4 : mmap.PAGESIZE + 9] = b"early"
    late.flush()
    late.close()
    t.close(fd)
    assert t.read("f")[mmap.PAGESIZE : mmap.PAGESIZE + 9] == b"lateearly"
    early.close()


@like_the_kernels_own_in_each_mode
def test_a_file_with_bits_is_mapped_as_any(t):
    t.write("f", b"." * 10_000)
    t(os.chmod, "f", 0o6755)
    reader = t.open("f")
    shared = mmap.mmap(reader, 10_000, prot=mmap.PROT_READ)
    private = mmap.mmap(reader, 10_000, access=mmap.ACCESS_COPY)
    writer = t.open("f", os.O_RDWR)
    t(os.pwrite, writer, b"new", 5000)
    assert shared[5000:5003] == b"new"
    private[0:4] = b"mine"
    assert t(os.pread, reader, 4, 0) == b"...."
    shared.close()
    private.close()
    t.close(reader)
    t.close(writer)
    t.stat("f")


def rewrite(path, flags=0):
    """The beginning, as it was."""
    buffer = mmap.mmap(-1, mmap.PAGESIZE)
    with open(path, "rb") as file:
        buffer[:] = file.read(mmap.PAGESIZE)
    opened(path, os.O_WRONLY | flags, lambda fd: os.write(fd, buffer))


def rewrite_directly(path):
    rewrite(path, os.O_DIRECT)


def copy_itself(path):
    source = os.open(path, os.O_RDONLY)
    opened(path, os.O_WRONLY, lambda fd: os.copy_file_range(source, fd, 100, 0, os.fstat(fd).st_size))
    os.close(source)


def user_of(program):
    return int(subprocess.run([program, "-u"], capture_output=True, check=True).stdout)


@pytest.mark.parametrize(
    "program, data",
    [
        *(("tmpfs", data) for data in ("kernel", "heap", "heap,no_writeback")),
        *(("passthroughfs", data) for data in ("kernel", "daemon")),
    ],
)
def test_a_program_that_a_stranger_wrote_to_does_not_run_as_its_owner(new_mount, many, program, data):
    """Before anybody has asked for its attributes again: execve(2) does not."""
    path = new_mount(program, *many.options, "-o", f"data={data},allow_other,suid").mountpoint
    changes = (rewrite, rewrite_directly, append, copy_itself, allocate)
    for change in changes:
        shutil.copy("/usr/bin/id", os.path.join(path, change.__name__))
        os.chmod(os.path.join(path, change.__name__), 0o4777)

    def stranger(change):
        program = os.path.join(path, change.__name__)
        before = user_of(program)
        change(program)
        return before, user_of(program)

    for change in changes:
        assert as_user(BOB, stranger, change) == (0, BOB), change
