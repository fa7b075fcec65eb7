# SPDX-License-Identifier: MIT
"""passthroughfs and its source: what is shared, what shows up, and what the daemon never follows."""

import contextlib
import errno
import fcntl
import mmap
import os
import re
import resource
import signal
import socket
import stat
import subprocess

import pytest

from conftest import needs_root
from harness import kernel, mounts
from harness.children import Child, as_user, in_child
from harness.files import error_of, get, put, wait_until
from test_bad_input import assert_refused, run


FIELDS = ("mode", "ino", "nlink", "uid", "gid", "size", "blocks", "blksize", "rdev", "mtime_ns", "atime_ns", "ctime_ns")


@pytest.fixture
def both(passthroughfs):
    """The same directory seen through the mount, and in the source."""
    return passthroughfs.dir, passthroughfs.source


def test_attributes_are_the_sources(both):
    here, there = both
    put(f"{there}/f", b"x" * 12345)
    os.mkdir(f"{there}/d")
    os.symlink("somewhere", f"{there}/s")
    os.mkfifo(f"{there}/p")
    for name in ("f", "d", "s", "p"):
        os.utime(f"{there}/{name}", ns=(1_111_111_111, 2_222_222_222), follow_symlinks=False)
        one, two = os.lstat(f"{here}/{name}"), os.lstat(f"{there}/{name}")
        for field in FIELDS:
            assert getattr(one, f"st_{field}") == getattr(two, f"st_{field}"), (name, field)
        assert kernel.birth_time_ns(f"{here}/{name}") == kernel.birth_time_ns(f"{there}/{name}")


def test_hard_links_are_one_inode(both):
    here, there = both
    put(f"{there}/a", b"1")
    os.link(f"{there}/a", f"{there}/b")
    os.link(f"{here}/b", f"{here}/c")
    assert {os.stat(f"{here}/{name}").st_ino for name in "abc"} == {os.stat(f"{there}/a").st_ino}
    assert os.stat(f"{here}/a").st_nlink == 3
    put(f"{here}/a", b"22")
    assert get(f"{here}/c") == b"22" and os.stat(f"{here}/b").st_size == 2
    os.unlink(f"{here}/a")
    assert os.stat(f"{here}/b").st_nlink == 2


def test_what_a_file_system_in_the_source_cannot_do_is_not_remembered_for_all(new_mount, place, many):  # L9
    source = f"{place}/source"
    os.makedirs(f"{source}/inner")
    new_mount("lltest", mountpoint=f"{source}/inner")
    mount = new_mount("passthroughfs", *many.options, "--debug-fuse", source=source)
    for number in range(2):
        assert error_of(put, f"{mount.mountpoint}/inner/new") == errno.EOPNOTSUPP
        put(f"{mount.mountpoint}/new{number}")
    assert len(re.findall(r"\bCREATE\b", mount.stderr())) == 4


def test_what_is_written_is_in_the_source(both):
    here, there = both
    put(f"{here}/f", b"one")
    assert get(f"{there}/f") == b"one"
    with open(f"{here}/f", "ab") as file:
        file.write(b" two")
        file.flush()
        assert get(f"{there}/f") == b"one two"
    os.truncate(f"{here}/f", 2)
    assert get(f"{there}/f") == b"on"
    os.mkdir(f"{here}/d")
    os.rename(f"{here}/f", f"{here}/d/g")
    assert os.listdir(f"{there}/d") == ["g"]
    os.unlink(f"{here}/d/g")
    os.rmdir(f"{here}/d")
    assert os.listdir(there) == []


def test_new_names_in_the_source_show_up(both):
    here, there = both
    assert not os.path.exists(f"{here}/new")
    put(f"{there}/new", b"content")
    wait_until(lambda: os.path.exists(f"{here}/new"))
    assert get(f"{here}/new") == b"content"
    wait_until(lambda: os.listdir(here) == ["new"])


def test_names_removed_from_the_source_go(both):
    here, there = both
    put(f"{here}/old")
    os.stat(f"{here}/old")
    os.unlink(f"{there}/old")
    wait_until(lambda: not os.path.exists(f"{here}/old"))
    wait_until(lambda: os.listdir(here) == [])


def test_changed_content_in_the_source_shows_up(both):
    here, there = both
    put(f"{here}/f", b"before")
    assert get(f"{here}/f") == b"before"
    put(f"{there}/f", b"after, and longer")
    wait_until(lambda: get(f"{here}/f") == b"after, and longer")
    os.chmod(f"{there}/f", 0o604)
    wait_until(lambda: stat.S_IMODE(os.stat(f"{here}/f").st_mode) == 0o604)


def test_renames_in_the_source_show_up(both):
    here, there = both
    os.makedirs(f"{here}/a/b")
    put(f"{here}/a/b/f", b"x")
    os.rename(f"{there}/a", f"{there}/z")
    wait_until(lambda: not os.path.exists(f"{here}/a"))
    assert get(f"{here}/z/b/f") == b"x"


def test_a_file_replaced_in_the_source_is_another_file(both):
    """Also where the source's file system gives the inode number to the new file."""
    here, there = both
    put(f"{there}/f", b"the old file")
    fd = os.open(f"{here}/f", os.O_RDONLY)
    try:
        os.unlink(f"{there}/f")
        put(f"{there}/f", b"new")
        assert os.pread(fd, 100, 0) == b"the old file"
        wait_until(lambda: get(f"{here}/f") == b"new")
        assert os.pread(fd, 100, 0) == b"the old file"
        assert os.fstat(fd).st_nlink == 0
    finally:
        os.close(fd)


def test_an_inode_number_used_again_is_another_file(both):
    """Known, not open, removed from the source, and its number given to a file of another type."""
    here, there = both
    for _ in range(20):
        put(f"{there}/f", b"a file")
        wait_until(lambda: os.path.exists(f"{here}/f"))
        number = os.stat(f"{here}/f").st_ino
        os.unlink(f"{there}/f")
        os.mkdir(f"{there}/d")
        put(f"{there}/d/inside")
        again = os.stat(f"{there}/d").st_ino == number
        wait_until(lambda: os.path.exists(f"{here}/d"))
        assert stat.S_ISDIR(os.stat(f"{here}/d").st_mode)
        assert os.listdir(f"{here}/d") == ["inside"]
        os.unlink(f"{there}/d/inside")
        os.rmdir(f"{there}/d")
        wait_until(lambda: not os.path.exists(f"{here}/d") and not os.path.exists(f"{here}/f"))
        if again:
            break


def test_symlinks_are_shown_not_followed(both):
    here, there = both
    os.symlink("/etc/passwd", f"{there}/absolute")
    os.symlink("../../../../../../etc", f"{there}/up")
    os.symlink("/nonexistent", f"{there}/dangling")
    assert os.readlink(f"{here}/absolute") == "/etc/passwd"
    assert os.readlink(f"{here}/up") == "../../../../../../etc"
    assert stat.S_ISLNK(os.lstat(f"{here}/dangling").st_mode)
    assert not os.path.exists(f"{here}/dangling")
    assert get(f"{here}/absolute") == get("/etc/passwd")
    os.lchown(f"{here}/dangling", os.getuid(), os.getgid())
    os.utime(f"{here}/absolute", ns=(1, 2), follow_symlinks=False)
    assert os.lstat(f"{there}/absolute").st_mtime_ns == 2


@needs_root
def test_a_directory_swapped_for_a_symlink_leads_nobody_out(both):
    """The daemon is root and would get through; the caller is not and must not."""
    here, there = both
    outside = os.path.dirname(there) + "/../outside"
    os.makedirs(outside, exist_ok=True)
    os.chmod(outside, 0o700)
    put(f"{outside}/secret", b"secret")
    os.chmod(f"{outside}/secret", 0o644)
    os.mkdir(f"{there}/d")
    put(f"{there}/d/secret", b"harmless")

    def look():
        fd = os.open(f"{here}/d", os.O_RDONLY | os.O_DIRECTORY)
        seen = []
        for _ in range(3):
            try:
                seen.append(get(f"{here}/d/secret"))
            except OSError as err:
                seen.append(err.strerror)
            try:
                seen.append(os.open("secret", os.O_RDONLY, dir_fd=fd) and os.listdir(fd))
            except OSError as err:
                seen.append(err.strerror)
        return seen

    as_user(4001, look)
    os.rename(f"{there}/d", f"{there}/was")
    os.symlink(outside, f"{there}/d")
    for _ in range(5):
        try:
            seen = as_user(4001, look)
        except OSError as err:
            seen = [err.strerror]
        assert b"secret" not in seen
    wait_until(lambda: os.path.islink(f"{here}/d"))
    with pytest.raises(PermissionError):
        as_user(4001, get, f"{here}/d/secret")


def test_special_files_are_not_opened_to_look_at_them(both):
    """A FIFO without a partner would hold an opener up for ever."""
    here, there = both
    os.mkfifo(f"{there}/fifo")
    with socket.socket(socket.AF_UNIX) as server:
        cwd = os.getcwd()
        os.chdir(there)
        server.bind("socket")
        os.chdir(cwd)

    def look():
        with os.scandir(here) as entries:
            seen = {entry.name: entry.stat(follow_symlinks=False).st_mode for entry in entries}
        for name in ("fifo", "socket"):
            os.chmod(f"{here}/{name}", 0o600)
            os.utime(f"{here}/{name}", ns=(1, 2))
            os.link(f"{here}/{name}", f"{here}/{name}2")
            os.rename(f"{here}/{name}2", f"{here}/{name}3")
            os.listxattr(f"{here}/{name}")
        return seen

    seen = in_child(look, timeout_s=20)
    assert stat.S_ISFIFO(seen["fifo"]) and stat.S_ISSOCK(seen["socket"])
    assert os.stat(f"{there}/fifo").st_mtime_ns == 2
    assert stat.S_IMODE(os.stat(f"{there}/socket3").st_mode) == 0o600


@needs_root
@pytest.mark.parametrize("set_late", [False, True], ids=["open-to-read-first", "bit-set-while-open"])
def test_a_write_drops_setuid_however_the_file_was_opened_before(both, set_late):
    """With kernel passthrough the first open decides whose rights the writes have."""
    here, there = both
    os.chmod(here, 0o777)
    put(f"{here}/f")
    os.chmod(f"{here}/f", 0o777 if set_late else 0o4777)

    def write():
        with open(f"{here}/f", "wb", buffering=0, opener=lambda path, _: os.open(path, os.O_WRONLY)) as file:
            file.write(b"x")

    with open(f"{here}/f", "rb"):
        if set_late:
            child = Child(write_when_told, f"{here}/f", uid=4001, gid=4001)
            try:
                child.link.hear()
                os.chmod(f"{here}/f", 0o4777)
                child.link.tell("go")
                child.result()
            finally:
                child.end()
        else:
            as_user(4001, write)
    assert stat.S_IMODE(os.stat(f"{there}/f").st_mode) == 0o777


def write_when_told(link, path):
    fd = os.open(path, os.O_WRONLY)
    try:
        link.tell("open")
        link.hear()
        os.write(fd, b"x")
    finally:
        os.close(fd)


@needs_root
def test_what_another_user_makes_is_that_users_in_the_source(both):
    here, there = both
    os.chmod(here, 0o777)

    def make():
        os.umask(0o027)
        put(f"{here}/f")
        os.mkdir(f"{here}/d")
        os.symlink("x", f"{here}/s")
        os.mkfifo(f"{here}/p")
        os.close(os.open(f"{here}/c", os.O_CREAT | os.O_WRONLY, 0o666))

    as_user(4001, make, gid=4100)
    for name in "fdspc":
        st = os.lstat(f"{there}/{name}")
        assert (st.st_uid, st.st_gid) == (4001, 4100), name
    assert stat.S_IMODE(os.stat(f"{there}/c").st_mode) == 0o640
    assert stat.S_IMODE(os.stat(f"{there}/d").st_mode) == 0o750
    put(f"{here}/after")
    assert os.stat(f"{there}/after").st_uid == 0


@needs_root
def test_a_default_acl_of_the_source_replaces_the_umask(both):
    here, there = both
    os.mkdir(f"{there}/d")
    # user::rwx, group::rwx, other::r-x as the kernel keeps it: version, then tag, permissions and id.
    acl = b"\2\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + mode.to_bytes(2, "little") + b"\xff\xff\xff\xff"
        for tag, mode in ((1, 7), (4, 7), (32, 5))
    )
    try:
        os.setxattr(f"{there}/d", "system.posix_acl_default", acl)
    except OSError:
        pytest.skip("the source's file system has no ACLs")
    umask = os.umask(0o077)
    try:
        put(f"{here}/d/f")
        os.mkdir(f"{here}/d/sub")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(os.stat(f"{there}/d/f").st_mode) == 0o664
    assert stat.S_IMODE(os.stat(f"{there}/d/sub").st_mode) == 0o775


@needs_root
def test_more_files_than_descriptors(new_mount, many):
    """Known inodes need no descriptor each where the daemon may use file handles."""
    mount = new_mount(
        "passthroughfs",
        *many.options,
        preexec_fn=lambda: (mounts.before_exec(), resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300)))[0],
    )
    for number in range(2000):
        put(os.path.join(mount.source, f"f{number}"), b"%d" % number)
    with os.scandir(mount.mountpoint) as entries:
        assert sum(entry.stat().st_size > 0 for entry in entries) == 2000
    for number in range(0, 2000, 7):
        assert get(os.path.join(mount.mountpoint, f"f{number}")) == b"%d" % number


@needs_root
def test_no_more_descriptors_than_allowed_without_handles(new_mount, many):
    mount = new_mount(
        "passthroughfs", *many.options, "--sandbox=none", "-o", "descriptors=20",
        preexec_fn=lambda: (mounts.before_exec(), kernel.drop_capability_for_good(kernel.CAP_DAC_READ_SEARCH))[0],
    )
    os.mkdir(os.path.join(mount.source, "d"))
    for number in range(500):
        put(os.path.join(mount.source, "d", f"f{number}"), b"%d" % number)
    with open(os.path.join(mount.mountpoint, "d", "f0"), "rb") as kept:
        for _ in range(2):
            for number in range(500):
                path = os.path.join(mount.mountpoint, "d", f"f{number}")
                assert os.stat(path).st_size == len(str(number)) and get(path) == b"%d" % number
        assert mount.descriptors() < 100
        assert kept.read() == b"0"


def test_descriptors_beyond_the_limit_are_refused(place):
    command = [mounts.executable("passthroughfs"), "-o", "descriptors=1000000000", place, place]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "descriptors=1000000000: at most half of the limit" in done.stderr


@needs_root
def test_a_source_that_spans_file_systems(new_mount, place, many):
    """Two file systems give the same inode numbers to different files."""
    source = os.path.join(place, "source")
    os.makedirs(source)
    parts = []
    try:
        for number in range(3):
            part = os.path.join(source, f"part{number}")
            os.mkdir(part)
            kernel.mount("part", part, "tmpfs")
            parts.append(part)
            put(os.path.join(part, "f"), b"content %d" % number)
        assert len({os.stat(os.path.join(part, "f")).st_ino for part in parts}) < 3
        mount = new_mount("passthroughfs", *many.options, source=source)
        for _ in range(2):
            for number in range(3):
                path = os.path.join(mount.mountpoint, f"part{number}", "f")
                if not os.path.exists(path):
                    assert os.listdir(os.path.dirname(path)) == []
                    continue
                assert get(path) == b"content %d" % number
        mount.stop()
    finally:
        for part in parts:
            kernel.umount(part, kernel.MNT_DETACH)


needs_identity_handles = pytest.mark.skipif(mounts.kernel_version() < (6, 6), reason="needs AT_HANDLE_FID")


@needs_root
@needs_identity_handles
@pytest.mark.parametrize("descriptors", [1, 100])
@pytest.mark.parametrize("names", ["f", "fxy"], ids=["one-after-the-other", "at-once"])
def test_files_that_a_server_gives_one_number_are_told_apart(new_mount, place, many, descriptors, names):
    source = f"{place}/source"
    os.mkdir(source)
    served = new_mount("one_number", mountpoint=source, executable=mounts.executable("tests/one_number")).wait_mounted()
    options = ("-o", f"cache=never,descriptors={descriptors}")
    mount = new_mount("passthroughfs", *many.options, *options, source=source).wait_mounted()
    here = mount.mountpoint
    for number in range(1, 9):
        assert not os.path.exists(f"{source}/anew")
        for name in names:
            assert get(f"{here}/{name}") == (b"%d" % number if name == "f" else name.encode())
    with open(f"{here}/f", "rb", buffering=0) as file:
        assert not os.path.exists(f"{source}/anew")
        assert get(f"{here}/f") == b"9"
        with pytest.raises(OSError) as error:
            file.read()
        assert error.value.errno == errno.ESTALE
    mount.stop()
    served.stop()


@pytest.fixture
def overlay(place):
    """overlay("index=on"): its lower layer, and an overlayfs on top of it that is mounted when it is called with options."""
    lower, source = f"{place}/lower", f"{place}/source"
    for path in (lower, f"{place}/upper", f"{place}/work", source):
        os.mkdir(path)

    def mount(options):
        layers = f"lowerdir={lower},upperdir={place}/upper,workdir={place}/work"
        try:
            kernel.mount("overlay", source, "overlay", 0, f"{layers},{options}")
        except OSError as err:
            pytest.skip(f"no overlayfs here: {err}")
        return source

    mount.lower = lower
    yield mount
    with contextlib.suppress(OSError):
        kernel.umount(source, kernel.MNT_DETACH)


@needs_root
@pytest.mark.parametrize("cache", ["auto", "always"])
def test_a_write_to_one_of_an_overlays_names_is_not_seen_by_the_others(new_mount, overlay, many, cache):
    """Two names of one file in a lower layer have one number, and are two files as soon as they are written to."""
    names = "abcd"
    put(f"{overlay.lower}/a", b"old")
    for name in names[1:]:
        os.link(f"{overlay.lower}/a", f"{overlay.lower}/{name}")
    source = overlay("index=off")
    assert len({os.stat(f"{source}/{name}").st_ino for name in names}) == 1
    mount = new_mount("passthroughfs", *many.options, "-o", f"cache={cache}", source=source)
    here = mount.mountpoint
    with os.scandir(here) as entries:
        assert sorted(entry.name for entry in entries if entry.stat().st_size == 3) == list(names)
    with open(f"{here}/d", "rb") as file:
        put(f"{here}/a", b"a is new")
        os.truncate(f"{here}/b", 1)
        os.chmod(f"{here}/c", 0o604)
        os.unlink(f"{here}/d")
        assert file.read() == b"old"
    for top in (here, source):
        assert [get(f"{top}/{name}") for name in "abc"] == [b"a is new", b"o", b"old"]
        assert sorted(os.listdir(top)) == ["a", "b", "c"]
    assert get(f"{overlay.lower}/a") == b"old"
    mount.stop()


@needs_root
@pytest.mark.parametrize("flags", [0, kernel.RENAME_EXCHANGE], ids=["rename", "exchange"])
def test_a_rename_of_one_of_an_overlays_names_changes_nothing(new_mount, overlay, many, flags):
    """Who has it open and who opens it anew have one inode: they see each other's locks."""
    for name in ("a", "other"):
        put(f"{overlay.lower}/{name}", b"old")
    os.link(f"{overlay.lower}/a", f"{overlay.lower}/b")
    mount = new_mount("passthroughfs", *many.options, "-o", "cache=never", source=overlay("index=on"))
    here = mount.mountpoint
    os.mkdir(f"{here}/d")
    put(f"{here}/d/other")
    with open(f"{here}/a", "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        kernel.renameat2(f"{here}/a", f"{here}/d/other", flags)
        with open(f"{here}/d/other", "rb") as again, pytest.raises(BlockingIOError):
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    mount.stop()


@needs_root
@needs_identity_handles
@pytest.mark.parametrize("index", ["on", "off"])
def test_hard_links_in_an_overlays_upper_layer_are_one_inode(new_mount, overlay, many, index):
    put(f"{overlay.lower}/low", b"old")
    source = overlay(f"index={index}")
    put(f"{source}/high", b"old")
    os.link(f"{source}/high", f"{source}/high2")
    mount = new_mount("passthroughfs", *many.options, source=source)
    here = mount.mountpoint
    os.stat(f"{here}/low")
    os.link(f"{here}/high2", f"{here}/high3")
    os.link(f"{here}/low", f"{here}/low2")
    for name in ("high", "high2", "high3", "low", "low2"):
        assert os.stat(f"{here}/{name}").st_nlink == (2 if name.startswith("low") else 3)
    for name, other in (("high", "high2"), ("high2", "high3")):
        with open(f"{here}/{name}", "rb") as file:
            assert os.pread(file.fileno(), 3, 0) == b"old"
            put(f"{here}/{other}", b"new")
            assert os.pread(file.fileno(), 3, 0) == b"new"
            put(f"{here}/{other}", b"old")
    put(f"{here}/low2", b"new")
    assert get(f"{here}/low") == b"new"
    mount.stop()


@needs_root
def test_the_source_learns_who_sets_attributes_that_are_its_own_business(new_mount, place, many):
    """The kernel checks nothing of system.* but ACLs, and the source by who it is that asks."""
    source = os.path.join(place, "source")
    os.makedirs(source)
    probe = mounts.executable("tests/probefs")
    inner = new_mount("probefs", *many.options, "-o", "allow_other", mountpoint=source, executable=probe)
    mount = new_mount("passthroughfs", *many.options, "-o", "allow_other", source=inner.wait_mounted().mountpoint)

    def set_it():
        os.setxattr(mount.mountpoint, "system.uid", b"")

    for uid in (4001, 0):
        as_user(uid, set_it)
        assert os.getxattr(mount.mountpoint, "system.uid") == b"%d" % uid
    mount.stop()
    inner.stop()


@needs_root
def test_a_read_only_source(new_mount, place, many):
    source = os.path.join(place, "source")
    os.makedirs(source)
    kernel.mount("source", source, "tmpfs")
    try:
        put(os.path.join(source, "f"), b"x")
        kernel.mount(None, source, None, 32 | 1)
        mount = new_mount("passthroughfs", *many.options, source=source)
        assert get(os.path.join(mount.mountpoint, "f")) == b"x"
        with pytest.raises(OSError) as error:
            put(os.path.join(mount.mountpoint, "g"))
        assert error.value.strerror == "Read-only file system"
        mount.stop()
    finally:
        kernel.umount(source, kernel.MNT_DETACH)


@needs_root
def test_a_full_source(new_mount, place, many):
    """ENOSPC of the source reaches the caller, and what was written before stays."""
    source = os.path.join(place, "source")
    os.makedirs(source)
    kernel.mount("source", source, "tmpfs", 0, "size=1m")
    try:
        mount = new_mount("passthroughfs", *many.options, source=source)
        path = os.path.join(mount.mountpoint, "f")
        with pytest.raises(OSError) as error:
            fd = os.open(path, os.O_CREAT | os.O_WRONLY)
            try:
                for _ in range(50):
                    os.write(fd, b"x" * 50_000)
                os.fsync(fd)
            finally:
                os.close(fd)
        assert error.value.strerror == "No space left on device"
        assert os.stat(path).st_size == os.stat(os.path.join(source, "f")).st_size > 500_000
        os.unlink(path)

        def has_room():
            try:
                put(path, b"again")
            except OSError:
                return False
            return True

        wait_until(has_room)  # The kernel tells the daemon of the last close in its own time.
        mount.stop()
    finally:
        kernel.umount(source, kernel.MNT_DETACH)


def test_names_of_odd_bytes_in_the_source(both):
    here, there = map(os.fsencode, both)
    names = [b"\xff\xfe", b"a\nb", b" ", b"-", b"\xc3\xa9", b"n" * 255]
    for name in names:
        put(there + b"/" + name, name)
    assert sorted(os.listdir(here)) == sorted(names)
    for name in names:
        assert get(here + b"/" + name) == name


def test_a_directory_that_moves_in_the_source_while_open(both):
    here, there = both
    os.makedirs(f"{there}/a/sub")
    put(f"{there}/a/f", b"x")
    fd = os.open(f"{here}/a", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.makedirs(f"{there}/elsewhere")
        os.rename(f"{there}/a", f"{there}/elsewhere/b")
        assert sorted(os.listdir(fd)) == ["f", "sub"]
        again = os.open("f", os.O_RDONLY, dir_fd=fd)
        assert os.read(again, 10) == b"x"
        os.close(again)
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    "first, second",
    [
        (os.O_RDONLY, os.O_WRONLY),
        (os.O_WRONLY, os.O_RDONLY),
        (os.O_RDONLY, os.O_RDWR),
        (os.O_WRONLY | os.O_APPEND, os.O_RDWR),
    ],
)
def test_opens_in_different_modes_at_the_same_time(both, first, second):
    """Kernel passthrough shares one backing file among all opens of an inode."""
    here, there = both
    put(f"{there}/f", b"0123456789")
    one, two = os.open(f"{here}/f", first), os.open(f"{here}/f", second)
    try:
        for fd, flags in ((one, first), (two, second)):
            if flags & os.O_ACCMODE != os.O_RDONLY:
                assert os.write(fd, b"W") == 1
            if flags & os.O_ACCMODE != os.O_WRONLY:
                assert len(os.pread(fd, 100, 0)) >= 10
    finally:
        os.close(one)
        os.close(two)
    assert get(f"{there}/f") == get(f"{here}/f")
    if first & os.O_APPEND:
        assert get(f"{there}/f") == b"W123456789W"
    else:
        assert get(f"{there}/f") == b"W123456789"


def test_what_a_map_stored_shows_when_the_file_is_closed(passthroughfs):
    path, size = passthroughfs.path("f"), 1 << 20
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, size)
    with mmap.mmap(fd, size) as view:
        assert os.stat(path).st_blocks == 0
        view[:] = b"x" * size
        os.fsync(fd)
        os.close(fd)
        there = os.stat(os.path.join(passthroughfs.source, "f"))
        assert (os.stat(path).st_blocks, os.stat(path).st_mtime_ns) == (there.st_blocks, there.st_mtime_ns)
        assert there.st_blocks >= size // 512


def test_what_a_map_stored_outlives_the_signal_that_ends_the_mount(new_mount, transport):
    mount = new_mount("passthroughfs", *transport.options, "-o", "data=daemon")
    path = os.path.join(mount.mountpoint, "f")
    put(path, b"-" * 4096)
    fd = os.open(path, os.O_RDWR)
    with mmap.mmap(fd, 4096) as view:
        os.close(fd)
        view[:6] = b"stored"
        mount.stop(signal.SIGTERM)
    assert get(os.path.join(mount.source, "f")) == b"stored" + b"-" * 4090


@needs_root
def test_what_a_map_stored_and_cannot_be_had_is_told(new_mount, many):
    """It is asked for by way of the mount point."""
    mount = new_mount("passthroughfs", *many.options, "-o", "data=daemon")
    put(os.path.join(mount.mountpoint, "f"), b"-" * 4096)
    fd = os.open(os.path.join(mount.mountpoint, "f"), os.O_RDWR)
    with mmap.mmap(fd, 4096) as view:
        os.close(fd)
        view[:6] = b"stored"
        kernel.umount(mount.mountpoint, kernel.MNT_DETACH)
        mount.stop(signal.SIGTERM)
    assert "what the kernel has not written back may be lost: No such file or directory" in mount.stderr()


def read_without_pause(link, path):
    """All of it, never from what the kernel has of it."""
    fd = os.open(path, os.O_RDONLY)
    link.tell("reads")
    try:
        while True:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.lseek(fd, 0, os.SEEK_SET)
            while os.read(fd, 1 << 20):
                pass
    except OSError as err:
        return err.errno


def test_what_maps_stored_arrives_while_others_read(new_mount, transport):
    """What the kernel sends at once is not taken up by reading ahead."""
    mount = new_mount("passthroughfs", *transport.options, "-o", "data=daemon")
    files = [os.path.join(mount.mountpoint, str(number)) for number in range(30)]
    for path in files:
        put(path, b"-" * 4096)
    with contextlib.ExitStack() as stack:
        for number in range(12):
            put(os.path.join(mount.source, f"large-{number}"), os.urandom(8 << 20))
            path = os.path.join(mount.mountpoint, f"large-{number}")
            reader = stack.enter_context(Child(read_without_pause, path))
            assert reader.link.hear() == "reads"
        for path in files:
            fd = os.open(path, os.O_RDWR)
            view = stack.enter_context(mmap.mmap(fd, 4096))
            os.close(fd)
            view[:6] = b"stored"
        mount.stop(signal.SIGTERM)
    assert {get(os.path.join(mount.source, str(number)))[:6] for number in range(30)} == {b"stored"}


def read_by_map_when_told(link, path):
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
        link.tell(view[:4])
        link.hear()
        return view[:4]


def test_what_is_mapped_stays_readable_after_the_signal_that_ends_the_mount(new_mount, transport):
    """Programs that run from the mount go on as long as the kernel has what they need."""
    # Nobody watches the source, as what changed there would be dropped.
    mount = new_mount("passthroughfs", *transport.options, "-o", "data=daemon,cache=always")
    put(os.path.join(mount.source, "f"), b"here")
    reader = Child(read_by_map_when_told, os.path.join(mount.mountpoint, "f"))
    assert reader.link.hear() == b"here"
    mount.stop(signal.SIGTERM)
    reader.link.tell("go on")
    assert reader.result() == b"here"


# --- Who moves the bytes ----------------------------------------------------------------------


def moved_by(new_mount, *options):
    """What the log says of a mount with @options, after some use."""
    mount = new_mount("passthroughfs", "--debug", *options)
    told = mount.wait_logged(r"data: (\w+)")[1]
    data = os.urandom(300_000)
    with open(os.path.join(mount.mountpoint, "f"), "wb") as file:
        file.write(data)
    with open(os.path.join(mount.mountpoint, "f"), "rb") as file:
        assert file.read() == data
    mount.send_signal(signal.SIGUSR1)
    mount.wait_logged("stats: end")
    asked = re.findall(r"stats: write count=([1-9]\d*)", mount.stderr())
    assert bool(asked) == (told == "daemon")
    return told


@pytest.mark.parametrize("options", [[], ["-o", "data=auto"], ["-o", "data=kernel"]], ids=["unasked", "auto", "kernel"])
def test_with_privilege_the_kernel_moves_the_bytes(new_mount, options):
    if not mounts.can_passthrough():
        pytest.skip("needs root and passthrough")
    assert moved_by(new_mount, *options) == "kernel"


def test_the_program_moves_the_bytes_if_it_is_told_to(new_mount):
    assert moved_by(new_mount, "-o", "data=daemon") == "daemon"


@needs_root
@pytest.mark.parametrize("data", ["kernel", "daemon"])
def test_a_file_that_can_only_be_appended_to_is_appended_to(new_mount, place, data):
    """See chattr(1)."""
    source = f"{place}/source"
    os.mkdir(source)
    put(f"{source}/log", b"one ")
    mark = lambda how: subprocess.run(["chattr", how, f"{source}/log"], check=False, capture_output=True).returncode
    if mark("+a"):
        pytest.skip("the file system has no such files")
    try:
        mount = new_mount("passthroughfs", "-o", f"data={data}", source=source).wait_mounted()
        path = f"{mount.mountpoint}/log"
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
        assert os.pwrite(fd, b"more", 0) == 4
        os.close(fd)
        assert get(path) == get(f"{source}/log") == b"one more"
        # The last is allowed in the source, where no mapping comes of it that can be written to.
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND | os.O_TRUNC, os.O_RDWR | os.O_APPEND):
            with pytest.raises(PermissionError):
                os.open(path, flags)
        mount.stop()
    finally:
        mark("-a")


@needs_root
def test_bytes_that_only_the_kernel_is_to_move_need_the_capability(place):
    def before():
        kernel.drop_capability_for_good(kernel.CAP_SYS_ADMIN)
        mounts.before_exec()

    refused = run("passthroughfs", "-o", "data=kernel", place, place, preexec_fn=before)
    assert_refused("passthroughfs", refused, 1, "data=kernel", "CAP_SYS_ADMIN")


@pytest.mark.parametrize("value", ["", "heap", "Kernel"])
def test_nobody_else_moves_the_bytes(place, value):
    assert_refused("passthroughfs", run("passthroughfs", "-o", f"data={value}", place, place), 2, "data=")
