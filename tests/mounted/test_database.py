# SPDX-License-Identifier: MIT
"""A tmpfs that is kept in a database: what a remount finds, what is committed when, and what can go wrong."""

import contextlib
import errno
import mmap
import os
import signal
import sqlite3
import stat
import struct
import subprocess
import tempfile
import threading

import pytest

from conftest import TMPFS_HEAP, TMPFS_KERNEL, Case, needs_root, transport_named
from harness import kernel, mounts
from harness.children import Child, as_user
from harness.database import (
    COPY_DONE, COPY_FAILED, COPY_RUNS, assert_sound, begin_copy, copy_of, describe, look_at, query,
)
from harness.files import get, put, wait_until

MIB = 1 << 20
CHUNK = 65536
CASES = (Case(TMPFS_KERNEL, "io_uring-many"), Case(TMPFS_HEAP, "dev_fuse-many"))
ONCE = (Case(TMPFS_HEAP, "dev_fuse-many"),)


class Database:
    """One database, and what is mounted of it."""

    def __init__(self, case, transport, new_mount, place):
        self.path = os.path.join(place, "tree.db")
        self.place = place
        self.is_kernel = case.subject is TMPFS_KERNEL
        self._options = [*transport.options, *case.subject.options]
        self._new_mount = new_mount

    def start(self, *options, path=None, how="db", **popen):
        """Mounts without waiting for it."""
        mountpoint = tempfile.mkdtemp(prefix="mnt-", dir=self.place)
        return mounts.Mount("tmpfs", mountpoint, *self._options, "-o", f"{how}={path or self.path}", *options, **popen)

    def mount(self, *options, path=None, how="db", **popen):
        return self._new_mount("tmpfs", *self._options, "-o", f"{how}={path or self.path}", *options, **popen)

    def mount_plain(self, *options):
        return self._new_mount("tmpfs", *self._options, *options)

    def kill(self, mount):
        """As a power cut, but for the disk."""
        mount.send_signal(signal.SIGKILL)
        mount.wait()
        mounts.unmount(mount.mountpoint, kernel.MNT_DETACH)
        assert_sound(self.path)

    def stop(self, mount, how="umount"):
        mount.stop(how)
        assert_sound(self.path)


@pytest.fixture(params=CASES, ids=repr)
def database(request, uring_switch, new_mount, place):
    case = request.param
    if case.subject.why_not():
        pytest.skip(case.subject.why_not())
    yield Database(case, transport_named(case.transport, uring_switch), new_mount, place)


@pytest.fixture(params=ONCE, ids=repr)
def database_once(request, uring_switch, new_mount, place):
    """Where neither transport nor plane matter."""
    yield Database(request.param, transport_named(request.param.transport, uring_switch), new_mount, place)


def refused(database, *options, **kwargs):
    """The one line with which a mount is refused."""
    mount = database.start(*options, **kwargs)
    status = mount.wait()
    assert status != 0 and not mount.is_mounted()
    lines = mount.stderr().splitlines()
    assert len(lines) == 1 and lines[0].startswith("tmpfs: "), lines
    return lines[0]


def ctl(*words, status=0):
    done = subprocess.run([mounts.executable("llfusectl"), *words], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done.stderr


def write_sync(path, data, flags=os.O_WRONLY | os.O_CREAT):
    fd = os.open(path, flags, 0o644)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


# --- What a remount finds -------------------------------------------------------------------------


def make_tree(top):
    """Something of everything."""
    folder = os.path.join(top, "dir")
    os.makedirs(os.path.join(folder, "deeper", "deepest"))
    put(os.path.join(folder, "empty"))
    put(os.path.join(folder, "small"), b"hello\n")
    put(os.path.join(folder, "large"), os.urandom(3 * CHUNK + 17))
    os.link(os.path.join(folder, "large"), os.path.join(top, "other name"))
    os.symlink("dir/small", os.path.join(top, "link"))
    os.symlink("x" * 4095, os.path.join(top, "long link"))
    os.mkfifo(os.path.join(top, "fifo"))
    os.mknod(os.path.join(top, "socket"), stat.S_IFSOCK | 0o600)
    with open(os.path.join(top, "holes"), "wb") as file:
        file.write(b"begin")
        file.seek(50 * MIB)
        file.write(b"end")
        file.truncate(1 << 40)
    top_bytes = os.fsencode(top)
    for name in (b"\xff\xfe", b"new\nline", b"'; --", b"n" * 255, "ä€😀".encode()):
        put(os.path.join(top_bytes, name), name)
    os.setxattr(folder, "user.note", b"\0binary\xff")
    os.setxattr(os.path.join(folder, "small"), "user.empty", b"")
    os.chmod(os.path.join(folder, "small"), 0o4711)
    os.utime(os.path.join(folder, "small"), ns=(1, 1234567890123456789))
    os.utime(os.path.join(folder, "deeper"), ns=(-1, -5 * 10**9))
    if os.geteuid() == 0:
        os.mknod(os.path.join(top, "device"), stat.S_IFBLK | 0o640, os.makedev(259, 70000))
        os.chown(os.path.join(folder, "large"), 1000, 2000)
        os.setxattr(folder, "trusted.note", b"root's")
        os.setxattr(os.path.join(folder, "small"), "security.note", b"kept")


@pytest.mark.parametrize("how", ["umount", signal.SIGTERM])
def test_a_remount_finds_everything(database, how):
    mount = database.mount()
    make_tree(mount.mountpoint)
    with_holes = describe_without_the_long_one(mount.mountpoint)
    database.stop(mount, how)
    for _ in range(2):
        mount = database.mount()
        assert describe_without_the_long_one(mount.mountpoint) == with_holes
        database.stop(mount)


def describe_without_the_long_one(top):
    """A terabyte is not to be read."""
    path = os.path.join(top, "holes")
    hidden = path + " (a hole)"
    os.rename(path, hidden)
    st = os.stat(hidden)
    with open(hidden, "rb") as file:
        parts = file.read(5), os.pread(file.fileno(), 5, 50 * MIB), os.pread(file.fileno(), 5, 60 * MIB)
    assert parts == (b"begin", b"end\0\0", bytes(5)) and st.st_size == 1 << 40
    assert st.st_blocks * 512 < 4 * CHUNK
    aside = tempfile.mkdtemp(dir=os.path.dirname(top))
    os.rmdir(aside)
    found = {}
    for name in os.listdir(os.fsencode(top)):
        full = os.path.join(os.fsencode(top), name)
        if full == os.fsencode(hidden):
            continue
        found[name] = describe(full) if os.path.isdir(full) and not os.path.islink(full) else describe_one(full)
    os.rename(hidden, path)
    return found


def describe_one(path):
    return os.lstat(path).st_ino, look_at(path)


def test_birth_times_and_numbers_stay(database):
    mount = database.mount()
    put(os.path.join(mount.mountpoint, "f"), b"x")
    before = (kernel.birth_time_ns(os.path.join(mount.mountpoint, "f")), os.stat(os.path.join(mount.mountpoint, "f")).st_ino)
    database.stop(mount)
    mount = database.mount()
    after = (kernel.birth_time_ns(os.path.join(mount.mountpoint, "f")), os.stat(os.path.join(mount.mountpoint, "f")).st_ino)
    assert after == before
    put(os.path.join(mount.mountpoint, "g"))
    assert os.stat(os.path.join(mount.mountpoint, "g")).st_ino > after[1]


def test_what_changed_after_a_remount_is_found_too(database):
    mount = database.mount()
    make_tree(mount.mountpoint)
    database.stop(mount)
    mount = database.mount()
    top = mount.mountpoint
    os.rename(f"{top}/dir/deeper", f"{top}/moved")
    os.rmdir(f"{top}/moved/deepest")
    os.unlink(f"{top}/other name")
    os.unlink(f"{top}/link")
    os.symlink("elsewhere", f"{top}/link")
    os.rename(f"{top}/dir/small", f"{top}/dir/empty")
    with open(f"{top}/dir/large", "r+b") as file:
        file.seek(CHUNK + 5)
        file.write(b"changed")
        file.truncate(2 * CHUNK)
    os.removexattr(f"{top}/dir", "user.note")
    os.unlink(f"{top}/holes")
    expected = describe(top)
    database.stop(mount)
    mount = database.mount()
    assert describe(mount.mountpoint) == expected


def test_a_tree_that_is_removed_is_gone(database):
    mount = database.mount()
    make_tree(mount.mountpoint)
    ctl("sync", mount.mountpoint)
    subprocess.run(["find", mount.mountpoint, "-mindepth", "1", "-delete"], check=True)
    database.stop(mount)
    for table, rows in (("inodes", 1), ("contents", 1), ("chunks", 0), ("xattrs", 0)):
        assert query(database.path, f"SELECT count(*) FROM {table}") == [(rows,)], table


def test_bytes_are_read_on_first_use(database):
    mount = database.mount()
    for number in range(8):
        put(f"{mount.mountpoint}/{number}", bytes([number]) * 4 * MIB)
    database.stop(mount)
    mount = database.mount()
    before = mount.memory_kib()
    assert os.stat(f"{mount.mountpoint}/3").st_size == 4 * MIB
    assert os.stat(f"{mount.mountpoint}/3").st_blocks == 8 * 1024
    used = os.statvfs(mount.mountpoint)
    assert (used.f_blocks - used.f_bfree) * used.f_frsize >= 32 * MIB
    assert mount.memory_kib() < before + 8 * 1024
    assert get(f"{mount.mountpoint}/3") == b"\x03" * 4 * MIB
    later = os.statvfs(mount.mountpoint)
    assert abs(later.f_bfree - used.f_bfree) * used.f_frsize < MIB


def test_a_file_that_was_not_read_can_be_changed_in_the_middle(database):
    mount = database.mount()
    put(f"{mount.mountpoint}/f", b"a" * 3 * CHUNK)
    put(f"{mount.mountpoint}/g", b"b" * 3 * CHUNK)
    put(f"{mount.mountpoint}/h", b"c" * 3 * CHUNK)
    database.stop(mount)
    mount = database.mount()
    with open(f"{mount.mountpoint}/f", "r+b") as file:
        file.seek(CHUNK)
        file.write(b"new")
    os.truncate(f"{mount.mountpoint}/g", 10)
    os.truncate(f"{mount.mountpoint}/h", 0)
    database.stop(mount)
    mount = database.mount()
    assert get(f"{mount.mountpoint}/f") == b"a" * CHUNK + b"new" + b"a" * (2 * CHUNK - 3)
    assert get(f"{mount.mountpoint}/g") == b"b" * 10
    assert get(f"{mount.mountpoint}/h") == b""


def test_an_unlinked_file_that_was_not_read_stays_readable(database):
    mount = database.mount()
    put(f"{mount.mountpoint}/f", b"a" * CHUNK * 2)
    database.stop(mount)
    mount = database.mount()
    with open(f"{mount.mountpoint}/f", "rb") as file:
        os.unlink(f"{mount.mountpoint}/f")
        ctl("sync", mount.mountpoint)
        assert file.read() == b"a" * CHUNK * 2


def test_a_tmpfile_that_gets_a_name_is_kept_whole(database):
    mount = database.mount()
    fd = os.open(mount.mountpoint, os.O_TMPFILE | os.O_RDWR, 0o600)
    os.write(fd, b"written without a name")
    ctl("sync", mount.mountpoint)
    kernel.link_fd(fd, f"{mount.mountpoint}/named")
    os.fsync(fd)
    os.close(fd)
    database.kill(mount)
    mount = database.mount()
    assert get(f"{mount.mountpoint}/named") == b"written without a name"


# --- What is committed when -----------------------------------------------------------------------


def fsync_dir(path):
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)


def rewrite(path, data):
    with open(path, "r+b") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def store_by_map(path):
    with open(path, "r+b") as file:
        with mmap.mmap(file.fileno(), 0) as mapped:
            mapped[0:3] = b"MAP"
            mapped.flush()
        os.fsync(file.fileno())


def write_o_sync(path):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_SYNC, 0o644)
    os.write(fd, b"by itself")
    kept.append(fd)  # not closed before the kill


kept = []


@pytest.fixture(autouse=True)
def close_kept():
    yield
    while kept:
        with contextlib.suppress(OSError):
            os.close(kept.pop())


SYNCED = {
    "fsync of a new file": (lambda top: write_sync(f"{top}/a/b/new", b"data"), lambda top: get(f"{top}/a/b/new") == b"data"),
    "fsync of a changed file": (lambda top: rewrite(f"{top}/a/old", b"NEW"), lambda top: get(f"{top}/a/old") == b"NEW data"),
    "fsync after a store by map": (lambda top: store_by_map(f"{top}/a/old"), lambda top: get(f"{top}/a/old") == b"MAP data"),
    "fsyncdir after a rename": (
        lambda top: (os.rename(f"{top}/a/old", f"{top}/a/b/moved"), fsync_dir(f"{top}/a/b")),
        lambda top: get(f"{top}/a/b/moved") == b"old data" and not os.path.exists(f"{top}/a/old"),
    ),
    "fsyncdir after an unlink": (
        lambda top: (os.unlink(f"{top}/a/old"), fsync_dir(f"{top}/a")),
        lambda top: not os.path.exists(f"{top}/a/old"),
    ),
    "fsyncdir after chmod and setxattr": (
        lambda top: (os.chmod(f"{top}/a/old", 0o640), os.setxattr(f"{top}/a/old", "user.x", b"y"), fsync_dir(top)),
        lambda top: os.stat(f"{top}/a/old").st_mode & 0o777 == 0o640 and os.getxattr(f"{top}/a/old", "user.x") == b"y",
    ),
    "O_SYNC": (lambda top: write_o_sync(f"{top}/a/sync"), lambda top: get(f"{top}/a/sync") == b"by itself"),
    "llfusectl sync": (
        lambda top: (put(f"{top}/a/x", b"1"), ctl("sync", top)),
        lambda top: get(f"{top}/a/x") == b"1",
    ),
}


@pytest.mark.parametrize("what", SYNCED)
def test_what_is_synced_outlives_a_kill(database, what):
    change, is_there = SYNCED[what]
    mount = database.mount("-o", "commit=0")
    os.makedirs(f"{mount.mountpoint}/a/b")
    put(f"{mount.mountpoint}/a/old", b"old data")
    fsync_dir(mount.mountpoint)
    change(mount.mountpoint)
    database.kill(mount)
    mount = database.mount()
    assert is_there(mount.mountpoint)


def test_nothing_is_committed_before_it_is_asked_for(database):
    mount = database.mount("-o", "commit=0")
    write_sync(f"{mount.mountpoint}/kept", b"1")
    put(f"{mount.mountpoint}/lost", b"2")
    database.kill(mount)
    mount = database.mount()
    assert os.listdir(mount.mountpoint) == ["kept"]


def test_an_interval_commits_what_nobody_waits_for(database):
    mount = database.mount("-o", "commit=1")
    fsync_dir(mount.mountpoint)
    put(f"{mount.mountpoint}/f", b"some bytes")
    fd = os.open(f"{mount.mountpoint}/open", os.O_RDWR | os.O_CREAT, 0o644)
    kept.append(fd)
    os.write(fd, b"not closed")
    sql = "SELECT data FROM chunks, contents WHERE chunks.inode = contents.inode AND name = ?"
    wait_until(lambda: query(database.path, sql, b"f") == [(b"some bytes",)], 20)
    wait_until(lambda: query(database.path, sql, b"open") == [(b"not closed",)], 20)


@pytest.fixture
def kernel_that_waits():
    """It writes back what is dirty only when it is asked to."""
    settings = {"dirty_writeback_centisecs": "0", "dirty_expire_centisecs": "360000"}
    before = {}
    try:
        for name, value in settings.items():
            path = f"/proc/sys/vm/{name}"
            before[path] = get(path)
            put(path, value.encode())
        yield
    finally:
        for path, value in before.items():
            put(path, value)


def plain(path):
    put(path, b"-" * 4096)


def set_id(path):
    plain(path)
    os.chmod(path, 0o2755)


def in_sync(path):
    plain(path)
    kept.append(os.open(path, os.O_RDWR | os.O_SYNC))


@contextlib.contextmanager
def stored_to_a_mapping(path, data):
    """By a mapping that lives on."""
    fd = os.open(path, os.O_RDWR)
    with mmap.mmap(fd, 4096) as mapped:
        os.close(fd)
        mapped[: len(data)] = data
        yield


MAPPED = pytest.mark.parametrize("make", [plain, set_id, in_sync])


@needs_root
@MAPPED
def test_a_store_to_a_mapping_is_committed_in_time(database, kernel_that_waits, make):
    """The kernel keeps it in pages of its own, where the file's bytes come to us."""
    mount = database.mount("-o", "commit=1")
    make(f"{mount.mountpoint}/f")
    for data in (b"first", b"again"):
        with stored_to_a_mapping(f"{mount.mountpoint}/f", data):
            sql = "SELECT substr(data, 1, 5) FROM chunks"
            wait_until(lambda: query(database.path, sql) == [(data,)], mounts.TIMEOUT_S)


@needs_root
@MAPPED
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_store_to_a_mapping_outlives_the_signal_that_ends_the_mount(database, kernel_that_waits, make, number):
    mount = database.mount("-o", "commit=0")
    make(f"{mount.mountpoint}/f")
    with stored_to_a_mapping(f"{mount.mountpoint}/f", b"stored"):
        database.stop(mount, number)
    while kept:
        os.close(kept.pop())
    mount = database.mount()
    assert get(f"{mount.mountpoint}/f") == b"stored" + b"-" * 4090


@needs_root
@MAPPED
def test_a_store_to_a_mapping_is_in_what_is_asked_for(database, kernel_that_waits, make):
    mount = database.mount("-o", "commit=0")
    make(f"{mount.mountpoint}/f")
    sql = "SELECT substr(data, 1, 5) FROM chunks"
    with stored_to_a_mapping(f"{mount.mountpoint}/f", b"first"):
        ctl("sync", mount.mountpoint)
        assert query(database.path, sql) == [(b"first",)]
    with stored_to_a_mapping(f"{mount.mountpoint}/f", b"again"):
        copy = os.path.join(database.place, "copy.db")
        ctl("save", mount.mountpoint, copy)
        assert query(copy, sql) == [(b"again",)]


@needs_root
def test_stores_to_many_files_are_all_in_what_is_asked_for(database_once, kernel_that_waits):
    """The kernel sends but a few at a time."""
    mount = database_once.mount("-o", "commit=0")
    with contextlib.ExitStack() as stack:
        for number in range(200):
            plain(f"{mount.mountpoint}/{number}")
            stack.enter_context(stored_to_a_mapping(f"{mount.mountpoint}/{number}", b"stored"))
        ctl("sync", mount.mountpoint)
        assert query(database_once.path, "SELECT substr(data, 1, 6), count(*) FROM chunks GROUP BY 1") == [
            (b"stored", 200)
        ]


def test_a_copy_has_what_the_kernel_had_collected(database):
    """Without a database it collects what is written."""
    mount = database.mount_plain()
    files = [os.open(f"{mount.mountpoint}/{number}", os.O_WRONLY | os.O_CREAT) for number in range(100)]
    for file in files:
        os.write(file, b"collected")
    copy = os.path.join(database.place, "copy.db")
    ctl("save", mount.mountpoint, copy)
    for file in files:
        os.close(file)
    assert query(copy, "SELECT DISTINCT data, count(*) FROM chunks") == [(b"collected", 100)]


@needs_root
def test_a_root_that_cannot_be_reached_is_told_once(database_once, kernel_that_waits):
    """The kernel is asked by way of it."""
    mount = database_once.mount("-o", "commit=1")
    os.stat(mount.mountpoint)  # it has found out which mount is its own
    kernel.mount(database_once.place, mount.mountpoint, None, kernel.MS_BIND)
    try:
        mount.wait_logged("cannot ask the kernel to write back")
    finally:
        kernel.umount(mount.mountpoint)
    plain(f"{mount.mountpoint}/f")
    with stored_to_a_mapping(f"{mount.mountpoint}/f", b"first"):
        sql = "SELECT substr(data, 1, 5) FROM chunks"
        wait_until(lambda: query(database_once.path, sql) == [(b"first",)], mounts.TIMEOUT_S)
    assert mount.stderr().count("cannot ask") == 1


def test_a_file_that_stays_open_is_committed_again_and_again(database):
    """The kernel may write it without us."""
    mount = database.mount("-o", "commit=0")
    with open(f"{mount.mountpoint}/f", "wb", buffering=0) as file:
        for number in range(5):
            file.write(bytes([number + 1]) * CHUNK)
            os.fsync(file.fileno())
            rows = query(database.path, "SELECT offset, data FROM chunks ORDER BY offset")
            assert rows == [(i * CHUNK, bytes([i + 1]) * CHUNK) for i in range(number + 1)]


def pages_written(path):
    """Of the log of SQLite, which a commit makes longer: see https://sqlite.org/walformat.html."""
    with open(f"{path}-wal", "rb") as file:
        header = file.read(32)
    page = struct.unpack(">I", header[8:12])[0]
    return os.path.getsize(f"{path}-wal") // (page + 24) * page


def test_appending_to_a_large_file_commits_what_was_appended(database):
    mount = database.mount("-o", "commit=0")
    with open(f"{mount.mountpoint}/f", "wb") as file:
        for number in range(64):
            file.write(bytes([number + 1]) * MIB)
        file.flush()
        os.fsync(file.fileno())
    database.stop(mount)
    mount = database.mount("-o", "commit=0")
    with open(f"{mount.mountpoint}/f", "ab") as file:
        file.write(b"+" * MIB)
        file.flush()
        os.fsync(file.fileno())
    assert MIB <= pages_written(database.path) < 2 * MIB
    assert query(database.path, "SELECT sum(length(data)) FROM chunks") == [(65 * MIB,)]


def test_an_idle_mount_writes_nothing(database):
    mount = database.mount("-o", "commit=1")
    fd = os.open(f"{mount.mountpoint}/f", os.O_RDWR | os.O_CREAT, 0o644)
    kept.append(fd)
    os.write(fd, b"x" * CHUNK)
    os.fsync(fd)
    os.fsync(fd)
    before = query(database.path, "PRAGMA data_version"), os.stat(f"{database.path}-wal").st_mtime_ns
    for _ in range(3):
        os.fsync(fd)
    assert os.stat(f"{database.path}-wal").st_mtime_ns == before[1]


# --- Saving and loading ---------------------------------------------------------------------------


@pytest.mark.parametrize("is_kept", [False, True], ids=["no db", "db"])
def test_a_saved_copy_is_the_tree(database, is_kept):
    mount = database.mount() if is_kept else database.mount_plain()
    make_tree(mount.mountpoint)
    os.unlink(f"{mount.mountpoint}/holes")
    copy = os.path.join(database.place, "copy.db")
    put(copy, b"what was there before")
    assert ctl("save", mount.mountpoint, copy) == ""
    expected = describe(mount.mountpoint)
    assert_sound(copy)
    put(f"{mount.mountpoint}/later", b"not in it")
    assert sorted(os.listdir(database.place)).count("copy.db") == 1
    assert not [name for name in os.listdir(database.place) if name.startswith("copy.db.")]
    other = database.mount("-o", "size=1g", path=copy, how="load")
    assert describe(other.mountpoint) == expected


def test_a_copy_has_what_was_not_read_yet(database):
    mount = database.mount()
    put(f"{mount.mountpoint}/f", b"deep in the database" * 10000)
    database.stop(mount)
    mount = database.mount()
    copy = os.path.join(database.place, "copy.db")
    ctl("save", mount.mountpoint, copy)
    other = database.mount(path=copy)
    assert get(f"{other.mountpoint}/f") == b"deep in the database" * 10000


def test_a_loaded_database_is_left_alone(database):
    mount = database.mount()
    put(f"{mount.mountpoint}/f", b"x" * CHUNK)
    database.stop(mount)
    os.chmod(database.path, 0o444)
    before = get(database.path), os.stat(database.path).st_mtime_ns, sorted(os.listdir(database.place))
    mount = database.mount(how="load")
    put(f"{mount.mountpoint}/g", b"new")
    assert get(f"{mount.mountpoint}/f") == b"x" * CHUNK
    put(f"{mount.mountpoint}/f", b"changed")
    os.unlink(f"{mount.mountpoint}/g")
    mount.stop("umount")
    os.rmdir(mount.mountpoint)
    assert (get(database.path), os.stat(database.path).st_mtime_ns, sorted(os.listdir(database.place))) == before


def test_a_load_of_what_another_mount_keeps_is_warned_of(database_once):
    """Until its end nothing of that one's log can be moved to its place."""
    mount = database_once.mount()
    write_sync(f"{mount.mountpoint}/f", b"x")
    other = database_once.mount(how="load")
    assert get(f"{other.mountpoint}/f") == b"x"
    other.stop("umount")
    assert f"another mount keeps {database_once.path}" in other.stderr()
    database_once.stop(mount)
    other = database_once.mount(how="load")
    other.stop("umount")
    assert "another mount" not in other.stderr()


def test_a_database_can_be_read_while_it_is_mounted(database):
    mount = database.mount()
    put(f"{mount.mountpoint}/f", b"12345")
    fsync_dir(mount.mountpoint)
    assert query(database.path, "SELECT type, size FROM files WHERE path = '/f'") == [(b"file", 5)]


class Pairs(threading.Thread):
    """Changes pairs of files so that at no time the one is newer than the other: first a, then b."""

    def __init__(self, top):
        super().__init__()
        self.top = top
        self.stopping = threading.Event()
        self.rounds = 0

    def run(self):
        while not self.stopping.is_set():
            self.rounds += 1
            for name in ("a", "b"):
                put(f"{self.top}/.{name}", b"%d " % self.rounds * 20000)
                os.rename(f"{self.top}/.{name}", f"{self.top}/{name}")


@pytest.mark.concurrent
def test_copies_of_a_live_mount_are_consistent(database):
    mount = database.mount()
    for name in "ab":
        put(f"{mount.mountpoint}/{name}", b"0 " * 20000)
    pairs = Pairs(mount.mountpoint)
    pairs.start()
    try:
        for number in range(5):
            wait_until(lambda: pairs.rounds > 3 * number)
            copy = os.path.join(database.place, f"copy{number}.db")
            ctl("save", mount.mountpoint, copy)
            other = database.mount("-o", "size=1g", path=copy, how="load")
            a, b = (get(f"{other.mountpoint}/{name}").split() for name in "ab")
            assert len(set(a)) == len(set(b)) == 1 and len(a) == len(b) == 20000
            assert int(b[0]) <= int(a[0]) <= int(b[0]) + 1
            other.stop("umount")
    finally:
        pairs.stopping.set()
        pairs.join()


@pytest.mark.concurrent
def test_bytes_that_change_while_a_copy_is_saved_are_in_it_as_they_were(database_once):
    """The file is all ones, or empty, or all zeros; no request makes it some of both."""
    mount = database_once.mount_plain("-o", "size=1g,no_writeback")
    path = f"{mount.mountpoint}/f"
    put(path, b"0" * 32 * MIB)
    stopping = threading.Event()

    def change():
        number = 0
        while not stopping.is_set():
            number += 1
            with open(path, "r+b", buffering=0) as file:
                # All that a request does is in a copy or not: none sees some of the old bytes.
                file.truncate(0)
                os.posix_fallocate(file.fileno(), 0, 32 * MIB)
                os.pwrite(file.fileno(), b"0", 0)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for number in range(5):
            copy = os.path.join(database_once.place, f"copy{number}.db")
            ctl("save", mount.mountpoint, copy)
            other = database_once.mount("-o", "size=1g", path=copy, how="load")
            data = get(f"{other.mountpoint}/f")
            assert set(data) in (set(), {0}, {ord("0")}) or (data[:1] == b"0" and not data[1:].strip(b"\0"))
            other.stop("umount")
    finally:
        stopping.set()
        thread.join()


def new_threads(pid, before):
    """How those run that are not among @before: policies and CPUs."""
    found = []
    for task in {int(task) for task in os.listdir(f"/proc/{pid}/task")} - before:
        with contextlib.suppress(ProcessLookupError):
            found.append((os.sched_getscheduler(task), os.sched_getaffinity(task)))
    return found


def test_who_takes_a_copy_does_not_run_as_who_was_asked_for_it(database):
    """On io_uring that is a thread bound to one CPU, and one that yields it while requests come in a row."""
    mount = database.mount("-o", "size=1g")
    with open(f"{mount.mountpoint}/data", "wb") as file:
        for _ in range(64):
            file.write(os.urandom(MIB))
    copy = os.path.join(database.place, "copy.db")
    top = os.open(mount.mountpoint, os.O_RDONLY | os.O_DIRECTORY)
    try:
        seen = []
        while not seen:
            for _ in range(1000):
                os.close(os.open(f"{mount.mountpoint}/f", os.O_CREAT | os.O_WRONLY))
                os.unlink(f"{mount.mountpoint}/f")
            before = {int(task) for task in os.listdir(f"/proc/{mount.pid}/task")}
            begin_copy(top, copy)
            seen = new_threads(mount.pid, before)
            wait_until(lambda: copy_of(top).state != COPY_RUNS)
    finally:
        os.close(top)
    assert all(how == (os.SCHED_OTHER, os.sched_getaffinity(mount.pid)) for how in seen)


def test_who_saves_hears_of_his_own_copy(database_once):
    """Somebody else may have begun another meanwhile, which ended in another way."""
    mount = database_once.mount_plain()
    top = os.open(mount.mountpoint, os.O_RDONLY | os.O_DIRECTORY)
    try:
        numbers = []
        for path in (database_once.place, os.path.join(database_once.place, "copy.db")):
            numbers.append(begin_copy(top, path))
            wait_until(lambda: copy_of(top).state != COPY_RUNS)
        failed, done = (copy_of(top, number) for number in numbers)
        assert (failed.number, failed.state, failed.error) == (numbers[0], COPY_FAILED, errno.EEXIST)
        assert (done.number, done.state) == (numbers[1], COPY_DONE)
        assert copy_of(top) == done
        with pytest.raises(OSError, match="Invalid argument"):
            copy_of(top, numbers[1] + 1)
    finally:
        os.close(top)


@needs_root
def test_only_who_mounted_and_root_may_save(database_once):
    mount = database_once.mount("-o", "allow_other")
    os.chmod(mount.mountpoint, 0o777)

    def attempt():
        for words in (("save", mount.mountpoint, "/tmp/never.db"), ("sync", mount.mountpoint)):
            assert "only root and who mounted" in ctl(*words, status=1)

    as_user(65534, attempt)


@pytest.mark.parametrize("length", [1, 238, 239, 255])
def test_a_copy_may_have_any_name_that_there_can_be(database_once, length):
    mount = database_once.mount_plain()
    put(f"{mount.mountpoint}/f", b"in it")
    folder = os.path.join(database_once.place, "copies")
    os.mkdir(folder)
    copy = os.path.join(folder, "n" * length)
    ctl("save", mount.mountpoint, copy)
    assert os.listdir(folder) == ["n" * length]
    other = database_once.mount(path=copy, how="load")
    assert get(f"{other.mountpoint}/f") == b"in it"


def test_ctl_says_what_is_wrong(database_once, place):
    mount = database_once.mount_plain()
    assert "has no database" in ctl("sync", mount.mountpoint, status=1)
    assert "missing operand: FILE" in ctl("save", mount.mountpoint, status=2)
    assert "No such file" in ctl("save", mount.mountpoint, f"{place}/no/such", status=1)
    assert "no regular file" in ctl("save", mount.mountpoint, place, status=1)
    assert "no tmpfs of llfuse" in ctl("save", place, f"{place}/x.db", status=1)
    kept_mount = database_once.mount()
    assert os.listdir(kept_mount.mountpoint) == []  # it answers: the database is open
    assert "database of a mount" in ctl("save", mount.mountpoint, database_once.path, status=1)
    write_sync(f"{kept_mount.mountpoint}/f", b"still there")
    database_once.stop(kept_mount)


def test_a_bar_shows_on_a_terminal_how_a_copy_goes(database_once):
    mount = database_once.mount_plain()
    put(f"{mount.mountpoint}/f", b"x" * MIB)
    ours, theirs = os.openpty()
    try:
        command = [mounts.executable("llfusectl"), "save", mount.mountpoint, f"{database_once.place}/copy.db"]
        subprocess.run(command, stderr=theirs, check=True)
        shown = os.read(ours, 10000)
    finally:
        os.close(ours)
        os.close(theirs)
    assert shown.startswith(b"\r[") and b"] 100%" in shown


@needs_root
def test_handles_outlast_a_remount(database):
    mount = database.mount()
    put(f"{mount.mountpoint}/f", b"found by its handle")
    put(f"{mount.mountpoint}/g", b"removed")
    handles = [kernel.name_to_handle(f"{mount.mountpoint}/{name}") for name in "fg"]
    os.unlink(f"{mount.mountpoint}/g")
    database.stop(mount)
    mount = database.mount()
    put(f"{mount.mountpoint}/h", b"another")
    root = os.open(mount.mountpoint, os.O_RDONLY)
    try:
        with open(kernel.open_by_handle(root, handles[0], os.O_RDONLY), "rb") as file:
            assert file.read() == b"found by its handle"
        with pytest.raises(OSError) as err:
            kernel.open_by_handle(root, handles[1], os.O_RDONLY)
        assert err.value.errno == errno.ESTALE
    finally:
        os.close(root)


def test_a_copy_over_the_database_of_its_own_mount_is_refused_and_does_no_harm(database):
    mount = database.mount("-o", "commit=0")
    write_sync(f"{mount.mountpoint}/one", b"1")
    assert "database of this mount" in ctl("save", mount.mountpoint, database.path, status=1)
    # Whoever opens and closes it now must not take himself for the only one.
    subprocess.run(["sqlite3", database.path, "SELECT count(*) FROM inodes; PRAGMA wal_checkpoint"], check=True,
                   stdout=subprocess.DEVNULL)
    write_sync(f"{mount.mountpoint}/two", b"2")
    database.kill(mount)
    mount = database.mount()
    assert sorted(os.listdir(mount.mountpoint)) == ["one", "two"]


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_a_copy_over_a_part_of_a_database_is_refused_and_does_no_harm(database_once, suffix):
    mount = database_once.mount("-o", "commit=0")
    write_sync(f"{mount.mountpoint}/one", b"1")
    assert f"without {suffix}" in ctl("save", mount.mountpoint, database_once.path + suffix, status=1)
    write_sync(f"{mount.mountpoint}/two", b"2")
    database_once.kill(mount)
    mount = database_once.mount()
    assert sorted(os.listdir(mount.mountpoint)) == ["one", "two"]
    assert ctl("save", mount.mountpoint, f"{database_once.path}2{suffix}") == ""


def test_a_copy_over_a_database_that_was_not_closed_is_refused(database_once):
    mount = database_once.mount("-o", "commit=0")
    write_sync(f"{mount.mountpoint}/old", b"1")
    mount.send_signal(signal.SIGKILL)
    mount.wait()
    mounts.unmount(mount.mountpoint, kernel.MNT_DETACH)
    assert os.path.getsize(f"{database_once.path}-wal") > 0
    other = database_once.mount_plain()
    put(f"{other.mountpoint}/new", b"2")
    assert "was not closed" in ctl("save", other.mountpoint, database_once.path, status=1)
    mount = database_once.mount()
    assert os.listdir(mount.mountpoint) == ["old"]


def test_a_copy_inside_the_mount_itself_is_refused(database_once):
    mount = database_once.mount_plain()
    assert "lies in the mount" in ctl("save", mount.mountpoint, f"{mount.mountpoint}/copy.db", status=1)
    assert os.listdir(mount.mountpoint) == []


@pytest.mark.parametrize("size", [100, 4096, 8000, 100000])
def test_a_mount_that_was_full_can_be_read_after_a_remount(database, size):
    mount = database.mount("-o", "size=4m,commit=0")
    names = []
    try:
        while len(names) < 2000:
            fd = os.open(f"{mount.mountpoint}/{len(names)}", os.O_WRONLY | os.O_CREAT, 0o644)
            try:
                if os.write(fd, b"%8d" % len(names) * (size // 8)) < size // 8 * 8:
                    break
            finally:
                os.close(fd)
            names.append(len(names))
    except OSError as err:
        assert err.errno == errno.ENOSPC
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{mount.mountpoint}/{len(names)}")
    assert len(names) > 30
    database.stop(mount)
    mount = database.mount("-o", "size=4m,commit=0")
    for number in names:
        assert get(f"{mount.mountpoint}/{number}") == b"%8d" % number * (size // 8)


def fill(path, data):
    """Returns how many bytes of @data, again and again, there was room for."""
    n = 0
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            n += file.write(data)
    return n


def fill_with_names(top, name):
    with pytest.raises(OSError) as full:
        for number in range(100_000):
            os.symlink("x", f"{top}/{name}{number}")
    assert full.value.errno == errno.ENOSPC


def test_a_mount_that_was_filled_up_after_a_remount_can_be_read(database):
    options = ["-o", "size=16m,commit=0"]
    mount = database.mount(*options)
    sizes = [fill(f"{mount.mountpoint}/{size}", b"b" * size) for size in (MIB, 4096)]
    database.stop(mount)
    mount = database.mount(*options)
    fill_with_names(mount.mountpoint, "n" * 200)
    fill_with_names(mount.mountpoint, "n")
    assert get(f"{mount.mountpoint}/{MIB}") == b"b" * sizes[0]
    assert get(f"{mount.mountpoint}/4096") == b"b" * sizes[1]


def test_a_mount_that_is_full_of_names_can_be_mounted_again(database):
    options = ["-o", "size=10m,commit=0"]
    mount = database.mount(*options)
    fill_with_names(mount.mountpoint, "n" * 200)
    fill_with_names(mount.mountpoint, "n")
    names = sorted(os.listdir(mount.mountpoint))
    database.stop(mount)
    mount = database.mount(*options)
    assert sorted(os.listdir(mount.mountpoint)) == names


def test_pieces_of_zeros_of_somebody_else_go_with_a_truncation(database):
    mount = database.mount("-o", "commit=0")
    put(f"{mount.mountpoint}/f", b"x" * MIB)
    database.stop(mount)
    change_database(database.path, f"UPDATE chunks SET data = zeroblob({CHUNK}) WHERE offset >= {MIB // 2}")
    mount = database.mount("-o", "commit=0")
    with open(f"{mount.mountpoint}/f", "r+b") as file:
        file.truncate(600000)
        os.fsync(file.fileno())
    database.stop(mount)
    mount = database.mount()
    assert get(f"{mount.mountpoint}/f") == b"x" * (MIB // 2) + bytes(600000 - MIB // 2)


def test_a_second_signal_does_not_end_the_last_commit(database):
    mount = database.mount("-o", "commit=0")
    put(f"{mount.mountpoint}/f", os.urandom(64 * MIB))
    mount.send_signal(signal.SIGTERM)
    assert mounts.wait_mounts(lambda: not mount.is_mounted())
    with contextlib.suppress(ProcessLookupError):
        for _ in range(3):
            mount.send_signal(signal.SIGTERM)
            mount.send_signal(signal.SIGINT)
    assert mount.wait() == 0
    assert query(database.path, "SELECT size FROM inodes WHERE id > 1") == [(64 * MIB,)]


def test_the_number_of_a_file_without_a_name_is_not_given_out_again(database):
    mount = database.mount("-o", "commit=0")
    fd = os.open(mount.mountpoint, os.O_TMPFILE | os.O_RDWR, 0o600)
    number = os.fstat(fd).st_ino
    os.close(fd)
    database.stop(mount)
    mount = database.mount()
    put(f"{mount.mountpoint}/f")
    assert os.stat(f"{mount.mountpoint}/f").st_ino > number


# --- What can be wrong ----------------------------------------------------------------------------


def test_a_second_mount_is_refused(database_once):
    mount = database_once.mount()
    assert "in use" in refused(database_once)
    write_sync(f"{mount.mountpoint}/f", b"x")
    database_once.stop(mount)


def change_database(path, *statements):
    with contextlib.closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()


def test_a_newer_database_is_refused(database_once):
    database_once.stop(database_once.mount())
    change_database(database_once.path, "PRAGMA user_version = 99")
    before = get(database_once.path)
    assert "its version is 99" in refused(database_once)
    assert get(database_once.path) == before


@pytest.mark.parametrize("how", ["db", "load"])
def test_what_is_no_database_of_ours_is_refused_and_left_alone(database_once, how):
    put(database_once.path, b"no database at all" * 100)
    assert database_once.path in refused(database_once, how=how)
    assert get(database_once.path) == b"no database at all" * 100
    os.unlink(database_once.path)
    change_database(database_once.path, "CREATE TABLE something (else_)")
    before = get(database_once.path)
    assert database_once.path in refused(database_once, how=how)
    assert get(database_once.path) == before


def test_files_that_cannot_be_are_refused(database_once, place):
    assert "No such file" in refused(database_once, path=f"{place}/no/such")
    assert "No such file" in refused(database_once, path=f"{place}/missing", how="load")
    assert "not a regular file" in refused(database_once, path=place)
    assert "db is given as well" in refused(database_once, "-o", f"load={place}/x")
    assert "a day" in refused(database_once, "-o", "commit=100000")


def test_a_file_below_its_own_mount_is_refused(database_once, place):
    mountpoint = os.path.join(place, "here")
    os.mkdir(mountpoint)
    done = subprocess.run(
        [mounts.executable("tmpfs"), "-o", f"db={mountpoint}/x.db", mountpoint], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "below the mount point" in done.stderr


def test_a_damaged_database_is_refused_or_gives_eio(database_once):
    mount = database_once.mount()
    make_tree(mount.mountpoint)
    database_once.stop(mount)
    with open(database_once.path, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(8192))
    assert database_once.path in refused(database_once)


@pytest.mark.skipif(mounts.is_sanitized(), reason="writes hundreds of MiB")
def test_truncating_what_is_being_committed_fails_nobodys_fsync(database_once):
    """So much that it is not set aside: the commit is begun anew."""
    mount = database_once.mount("-o", "commit=0,size=2g")
    noise = os.urandom(MIB)
    with open(f"{mount.mountpoint}/large", "wb") as file:
        for _ in range(500):
            file.write(noise)
    child = Child(lambda _link: write_sync(f"{mount.mountpoint}/mine", b"mine"))
    wait_until(lambda: os.path.getsize(f"{database_once.path}-wal") > 32 * MIB, pause_s=0.001)
    os.truncate(f"{mount.mountpoint}/large", 1)
    child.result(60)
    database_once.kill(mount)
    mount = database_once.mount("-o", "size=2g")
    assert get(f"{mount.mountpoint}/mine") == b"mine"
    assert os.path.getsize(f"{mount.mountpoint}/large") == 1


def test_who_waits_while_somebody_else_writes_the_database_gets_eio(database_once):
    mount = database_once.mount("-o", "commit=0")
    write_sync(f"{mount.mountpoint}/f", b"w")
    with contextlib.closing(sqlite3.connect(database_once.path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(OSError) as err:
            write_sync(f"{mount.mountpoint}/f", b"x")
        assert err.value.errno == errno.EIO
        db.execute("ROLLBACK")
    write_sync(f"{mount.mountpoint}/f", b"y")
    assert "database is locked" in mount.stderr()


@needs_root
def test_a_full_disk_is_told_and_nothing_is_lost(database, place):
    disk = os.path.join(place, "disk")
    os.mkdir(disk)
    kernel.mount("disk", disk, "tmpfs", 0, "size=4m")
    database.path = os.path.join(disk, "tree.db")
    try:
        mount = database.mount("-o", "commit=0")
        write_sync(f"{mount.mountpoint}/kept", b"committed")
        put(f"{mount.mountpoint}/large", os.urandom(8 * MIB))
        with pytest.raises(OSError) as err:
            fsync_dir(mount.mountpoint)
        assert err.value.errno == errno.ENOSPC
        mount.wait_logged("cannot commit")
        # It goes on in memory, and what was committed is there.
        put(f"{mount.mountpoint}/more", b"more")
        assert len(get(f"{mount.mountpoint}/large")) == 8 * MIB
        assert_sound(database.path)
        kernel.mount(None, disk, "tmpfs", kernel.MS_REMOUNT, "size=64m")
        fsync_dir(mount.mountpoint)
        expected = describe(mount.mountpoint)
        database.kill(mount)
        mount = database.mount()
        assert describe(mount.mountpoint) == expected
        database.stop(mount)
    finally:
        kernel.umount(disk, kernel.MNT_DETACH)


@needs_root
def test_what_cannot_be_committed_at_the_end_is_told(database_once, place):
    disk = os.path.join(place, "disk")
    os.mkdir(disk)
    kernel.mount("disk", disk, "tmpfs", 0, "size=2m")
    database_once.path = os.path.join(disk, "tree.db")
    try:
        mount = database_once.mount("-o", "commit=0")
        write_sync(f"{mount.mountpoint}/kept", b"committed")
        put(f"{mount.mountpoint}/large", os.urandom(4 * MIB))
        mounts.unmount(mount.mountpoint)
        assert mount.wait() == 1
        assert "lost" in mount.stderr()
        assert_sound(database_once.path)
        kernel.mount(None, disk, "tmpfs", kernel.MS_REMOUNT, "size=64m")
        mount = database_once.mount()
        assert os.listdir(mount.mountpoint) == ["kept"]
        database_once.stop(mount)
    finally:
        kernel.umount(disk, kernel.MNT_DETACH)


def test_limits_that_are_too_small_for_the_tree_are_refused(database_once):
    mount = database_once.mount()
    put(f"{mount.mountpoint}/f", b"x" * 4 * MIB)
    database_once.stop(mount)
    assert database_once.path in refused(database_once, "-o", "size=1m")


# --- Databases of others --------------------------------------------------------------------------

REFERENCE = (
    """CREATE TABLE inodes (id INTEGER PRIMARY KEY, uid INT NOT NULL, gid INT NOT NULL, mode INT NOT NULL,
       mtime_ns INT NOT NULL, atime_ns INT NOT NULL, ctime_ns INT NOT NULL, target BLOB(256),
       size INT NOT NULL DEFAULT 0, rdev INT NOT NULL DEFAULT 0, data BLOB)""",
    """CREATE TABLE contents (rowid INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB(256) NOT NULL,
       inode INT NOT NULL REFERENCES inodes(id), parent_inode INT NOT NULL REFERENCES inodes(id),
       UNIQUE (name, parent_inode))""",
    "INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns) VALUES (1, 16877, 0, 0, 1, 1, 1)",
    "INSERT INTO contents (name, parent_inode, inode) VALUES (x'2e2e', 1, 1)",
    "INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns, size, data)"
    " VALUES (2, 33188, 0, 0, 5, 5, 5, 5, x'68656c6c6f')",
    "INSERT INTO contents (name, parent_inode, inode) VALUES (x'66', 1, 2)",
    "INSERT INTO inodes (id, mode, uid, gid, mtime_ns, atime_ns, ctime_ns, target)"
    " VALUES (3, 41471, 0, 0, 6, 6, 6, x'66')",
    "INSERT INTO contents (name, parent_inode, inode) VALUES (x'6c', 1, 3)",
)


def test_a_database_of_the_reference_is_mounted_and_kept(database):
    change_database(database.path, *REFERENCE)
    mount = database.mount()
    assert get(f"{mount.mountpoint}/l") == b"hello"
    with open(f"{mount.mountpoint}/f", "r+b") as file:
        file.write(b"J")
    put(f"{mount.mountpoint}/g", b"new")
    database.stop(mount)
    mount = database.mount()
    assert get(f"{mount.mountpoint}/f") == b"Jello" and get(f"{mount.mountpoint}/g") == b"new"
    assert os.readlink(f"{mount.mountpoint}/l") == "f"


def test_queries_of_the_reference_work(database):
    mount = database.mount()
    os.mkdir(f"{mount.mountpoint}/d")
    put(f"{mount.mountpoint}/d/f", b"12345")
    os.link(f"{mount.mountpoint}/d/f", f"{mount.mountpoint}/d/g")
    database.stop(mount)

    def inode(name, parent):
        return query(database.path, "SELECT inode FROM contents WHERE name=? AND parent_inode=?", name, parent)[0][0]

    folder = inode(b"d", 1)
    file = inode(b"f", folder)
    assert query(database.path, "SELECT COUNT(inode) FROM contents WHERE inode=?", file) == [(2,)]
    assert query(database.path, "SELECT parent_inode FROM contents WHERE inode=?", folder) == [(1,)]
    assert query(database.path, "SELECT mode, size, rdev FROM inodes WHERE id=?", file) == [(0o100644, 5, 0)]
    assert inode(b"..", 1) == 1
