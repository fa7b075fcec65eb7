# SPDX-License-Identifier: MIT
"""Several processes at once: storms of operations, data under load, unmounts in the middle."""

import contextlib
import errno
import mmap
import os
import random
import shutil
import signal
import stat
import time

import pytest

from conftest import needs_root
from harness import kernel, mounts
from harness.children import Child
from harness.files import wait_until

pytestmark = pytest.mark.concurrent

STEPS = 1500
PROCESSES = 4
LEAVING_S = 2  # LEAVING_SECONDS: for so long what lost its last name does not count, whether it is gone or not

# What POSIX lets the operations of a storm answer when others are faster.
ALLOWED = {errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ELOOP}
ALLOWED |= {errno.EPERM, errno.ENODATA, errno.ENOTSUP, errno.ENXIO}
# What the kernel answers on a mount whose daemon is gone; the last two for requests in a ring.
GONE = {errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ENODEV, errno.ECANCELED, errno.EINTR}


class Storm:
    """Random operations on a few names in a few directories, relative to the working directory."""

    NAMES = ["a", "b", "c", "d", "e"]
    DIRS = [".", "d1", "d2", "d1/d3", "d2/d4"]

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.seed = seed

    def path(self):
        return self.rng.choice(self.DIRS) + "/" + self.rng.choice(self.NAMES)

    def step(self):
        """One operation; raises OSError for what a sound file system never answers."""
        kind = self.rng.choice(
            ("create", "write", "write", "truncate", "read", "rename", "rename", "exchange", "link", "unlink", "unlink")
            + ("mkdir", "rmdir", "list", "stat", "symlink", "chmod", "dirs", "utime", "append", "tmpfile")
            + ("xattr", "holes")
        )
        try:
            getattr(self, kind)()
        except OSError as err:
            if err.errno not in ALLOWED:
                raise OSError(err.errno, f"{kind}, seed {self.seed}: {err.strerror}") from None

    def create(self):
        os.close(os.open(self.path(), os.O_CREAT | os.O_EXCL | os.O_WRONLY))

    def _open(self, flags):
        return os.open(self.path(), flags | os.O_NOFOLLOW | os.O_NONBLOCK)

    def write(self):
        fd = self._open(os.O_RDWR | os.O_CREAT)
        try:
            os.pwrite(fd, b"x" * self.rng.randrange(1, 20_000), self.rng.randrange(50_000))
            os.fstat(fd)
        finally:
            os.close(fd)

    def append(self):
        fd = self._open(os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, b"appended")
        finally:
            os.close(fd)

    def read(self):
        fd = self._open(os.O_RDONLY)
        try:
            os.pread(fd, 70_000, 0)
        finally:
            os.close(fd)

    def truncate(self):
        fd = self._open(os.O_RDWR)
        try:
            os.ftruncate(fd, self.rng.randrange(60_000))
        finally:
            os.close(fd)

    def tmpfile(self):
        fd = os.open(self.rng.choice(self.DIRS), os.O_TMPFILE | os.O_RDWR)
        try:
            os.write(fd, b"tmp")
            kernel.link_fd(fd, self.path())
        finally:
            os.close(fd)

    def rename(self):
        os.rename(self.path(), self.path())

    def exchange(self):
        kernel.renameat2(self.path(), self.path(), kernel.RENAME_EXCHANGE)

    def link(self):
        os.link(self.path(), self.path(), follow_symlinks=False)

    def unlink(self):
        os.unlink(self.path())

    def mkdir(self):
        os.mkdir(self.path())

    def rmdir(self):
        os.rmdir(self.path())

    def dirs(self):
        os.makedirs(self.rng.choice(self.DIRS), exist_ok=True)

    def list(self):
        names = os.listdir(self.rng.choice(self.DIRS))
        assert len(names) == len(set(names)), names

    def stat(self):
        os.lstat(self.path())

    def symlink(self):
        os.symlink("target", self.path())

    def chmod(self):
        os.chmod(self.path(), 0o700)

    def xattr(self):
        path = self.path()
        os.setxattr(path, "user.storm", b"x" * self.rng.randrange(200), follow_symlinks=False)
        os.getxattr(path, "user.storm", follow_symlinks=False)
        os.listxattr(self.path(), follow_symlinks=False)
        os.removexattr(self.path(), "user.storm", follow_symlinks=False)

    def holes(self):
        fd = self._open(os.O_RDWR)
        try:
            kernel.fallocate(fd, kernel.FALLOC_FL_PUNCH_HOLE | kernel.FALLOC_FL_KEEP_SIZE, 5000, 20_000)
            os.copy_file_range(fd, fd, 4096, 0, 40_000)
            os.lseek(fd, 0, os.SEEK_HOLE)
            os.lseek(fd, 0, os.SEEK_DATA)
        finally:
            os.close(fd)

    def utime(self):
        os.utime(self.path(), ns=(1, self.rng.randrange(10**18)), follow_symlinks=False)


def storm(_link, directory, seed, steps):
    os.chdir(directory)
    work = Storm(seed)
    for _ in range(steps):
        work.step()


def assert_sound(directory):
    """Every listed name can be looked at, and every link count is right."""
    names = {}
    for path, dirs, files in os.walk(directory):
        subdirs = 0
        for name in dirs + files:
            st = os.lstat(os.path.join(path, name))
            if stat.S_ISDIR(st.st_mode):
                subdirs += 1
            else:
                names.setdefault(st.st_ino, []).append((st.st_nlink, os.path.join(path, name)))
        assert sorted(os.listdir(path)) == sorted(dirs + files)
        assert os.lstat(path).st_nlink in (1, 2 + subdirs), path
    for links in names.values():
        assert {nlink for nlink, _path in links} == {len(links)}, links


def test_storm_leaves_a_sound_tree(fs):
    for name in Storm.DIRS:
        os.makedirs(fs.path(name), exist_ok=True)
    seed = random.SystemRandom().randrange(10**9)
    children = [Child(storm, fs.dir, seed + number, STEPS) for number in range(PROCESSES)]
    for child in children:
        child.result(100)
    assert_sound(fs.dir)
    if fs.source:
        assert_sound(fs.source)
    shutil.rmtree(fs.dir)
    assert not os.path.lexists(fs.dir)


def test_storm_leaks_no_inode(new_mount, many):
    """After everything was removed, as many inodes are in use as before."""
    mount = new_mount("tmpfs", *many.options)

    def used():
        st = os.statvfs(mount.mountpoint)
        return st.f_files - st.f_ffree, st.f_blocks - st.f_bfree

    before = used()
    for name in Storm.DIRS:
        os.makedirs(os.path.join(mount.mountpoint, name), exist_ok=True)
    for child in [Child(storm, mount.mountpoint, 100 + number, STEPS) for number in range(PROCESSES)]:
        child.result(100)
    for name in os.listdir(mount.mountpoint):
        path = os.path.join(mount.mountpoint, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    time.sleep(LEAVING_S + 1)
    # The kernel forgets in its own time, and what is being freed may show for a moment.
    wait_until(lambda: used() == before)


def test_each_process_reads_back_what_it_wrote_while_others_write(fs_many):
    def work(_link, who):
        rng = random.Random(who)
        path = fs_many.path(f"file{who}")
        model = bytearray(300_000)
        fd = os.open(path, os.O_RDWR | os.O_CREAT)
        os.ftruncate(fd, len(model))
        for _ in range(150):
            at = rng.randrange(len(model) - 1000)
            data = bytes([rng.randrange(256)]) * rng.randrange(1, min(100_000, len(model) - at))
            model[at : at + len(data)] = data
            os.pwrite(fd, data, at)
            start = rng.randrange(len(model))
            assert os.pread(fd, 50_000, start) == model[start : start + 50_000]
        os.close(fd)
        os.rename(path, path + ".done")
        with open(path + ".done", "rb") as file:
            assert file.read() == model

    for child in [Child(work, who) for who in range(PROCESSES)]:
        child.result(100)


def test_one_file_is_written_in_whole_records_by_all(fs_many):
    """Appends of several processes through one directory entry; none is lost or torn."""
    count = 200

    def work(_link, who):
        fd = os.open(fs_many.path("log"), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for number in range(count):
            os.write(fd, b"%d %05d\n" % (who, number))
        os.close(fd)

    for child in [Child(work, who) for who in range(PROCESSES)]:
        child.result(100)
    with open(fs_many.path("log"), "rb") as file:
        lines = file.read().splitlines()
    assert sorted(lines) == sorted(b"%d %05d" % (who, number) for who in range(PROCESSES) for number in range(count))


def test_exclusive_creation_has_one_winner(fs_many):
    rounds = 100

    def work(_link, who):
        won = []
        for number in range(rounds):
            try:
                os.close(os.open(fs_many.path(f"lock{number}"), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                won.append(number)
            except FileExistsError:
                pass
            try:
                os.mkdir(fs_many.path(f"dir{number}"))
                won.append(rounds + number)
            except FileExistsError:
                pass
            try:
                os.rename(fs_many.path(f"dir{number}"), fs_many.path(f"moved{number}"))
                won.append(2 * rounds + number)
            except OSError as err:
                assert err.errno in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST)
        return won

    won = []
    for child in [Child(work, who) for who in range(PROCESSES)]:
        won += child.result(100)
    assert [number for number in sorted(won) if number < rounds] == list(range(rounds))


def test_an_exchange_never_shows_a_name_missing(fs_many):
    for name in ("one", "two"):
        with open(fs_many.path(name), "w", encoding="ascii") as file:
            file.write(name)

    def exchange(_link):
        for _ in range(300):
            kernel.renameat2(fs_many.path("one"), fs_many.path("two"), kernel.RENAME_EXCHANGE)

    def replace(_link):
        for number in range(300):
            with open(fs_many.path("next"), "w", encoding="ascii") as file:
                file.write(f"{number}")
            os.rename(fs_many.path("next"), fs_many.path("current"))

    def watch(_link):
        for _ in range(600):
            os.stat(fs_many.path("one"))
            with open(fs_many.path("two"), "rb") as file:
                assert file.read() in (b"one", b"two")
            with open(fs_many.path("current"), "rb") as file:
                assert file.read().isdigit()

    with open(fs_many.path("current"), "w", encoding="ascii") as file:
        file.write("0")
    for child in [Child(exchange), Child(replace), Child(watch)]:
        child.result(100)


def storm_until_gone(link, directory, seed):
    """Storms until told to stop, or until the file system is gone; how it ended."""
    os.chdir(directory)
    work = Storm(seed)
    told = False
    for number in range(10**9):
        if number == 50:
            link.tell("busy")
            told = True
        try:
            work.step()
        except OSError as err:
            if err.errno in GONE:
                if not told:
                    link.tell("busy")
                return "gone"
            raise
        if number % 20 == 0 and link.has_word():
            return "stopped"
    return None


@pytest.fixture(params=["tmpfs", "passthroughfs"])
def busy(request, new_mount, transport):
    """A mount with a storm on it: the mount, and the processes."""
    mount = new_mount(request.param, *transport.options)
    for name in Storm.DIRS:
        os.makedirs(os.path.join(mount.mountpoint, name), exist_ok=True)
    children = [Child(storm_until_gone, mount.mountpoint, number) for number in range(3)]
    try:
        for child in children:
            child.link.hear()
        yield mount, children
    finally:
        for child in children:
            child.end()


def test_a_signal_under_load_ends_everything(busy):
    mount, children = busy
    mount.stop(signal.SIGTERM)
    for child in children:
        assert child.result(30) == "gone"


def test_a_lazy_unmount_under_load_lets_the_users_finish(busy):
    mount, children = busy
    mounts.unmount(mount.mountpoint, kernel.MNT_DETACH)
    assert mount.is_running()
    for child in children:
        child.link.tell("stop")
        assert child.result(30) == "stopped"
    assert mount.wait() == 0


@needs_root
def test_a_forced_unmount_under_load_ends_everything(busy):
    mount, children = busy
    mounts.unmount(mount.mountpoint, kernel.MNT_FORCE | kernel.MNT_DETACH)
    for child in children:
        assert child.result(30) == "gone"
    assert mount.wait() == 0


def test_a_killed_daemon_under_load_frees_everybody(busy):
    mount, children = busy
    mount.send_signal(signal.SIGKILL)
    for child in children:
        assert child.result(30) == "gone"
    mount.wait()
    mounts.unmount(mount.mountpoint, kernel.MNT_DETACH)


def write_from_a_file(link, source, path):
    """Writes what has to be read from elsewhere first, in the middle of the write."""
    with open(source, "rb") as file, open(path, "r+b") as to:
        slow = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        link.tell(len(slow))
        link.hear()
        return os.write(to.fileno(), slow)


# The flags of open(2), with what Python adds.
TRUNCATING = os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC


def truncate_by_open(_link, path):
    os.close(os.open(path, TRUNCATING))


def waits_in_call(pid, number, value):
    """Whether process @pid waits in the kernel, for what no signal but the last ends, in a system call whose argument
    @number is @value.  That it waits does not say for what: also who has a page of the program read from the disk does."""

    def call():
        with open(f"/proc/{pid}/syscall", encoding="ascii") as file:
            return file.read().split()

    before = call()
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        state = file.read().rpartition(")")[2].split()[0]
    # The number of the call, six arguments, and where the process is; shorter outside of calls.
    return state == "D" and len(before) == 9 and int(before[1 + number], 16) == value and before == call()


def wait_until_all_wait(children, number, value):
    deadline = time.monotonic() + mounts.TIMEOUT_S
    while not all(waits_in_call(child.pid, number, value) for child in children):
        assert time.monotonic() < deadline, f"not all of {[child.pid for child in children]} wait"
        time.sleep(0.01)


def test_a_writer_that_waits_for_its_memory_stops_nobody_else(fs_many, new_mount):
    """Its bytes come from a file system that does not answer, and others want to truncate the file meanwhile."""
    slow = new_mount("lltest")
    path = fs_many.path("f")
    with open(path, "wb") as file:
        file.write(b"x" * 10)
    with contextlib.ExitStack() as stack:
        writer = stack.enter_context(Child(write_from_a_file, os.path.join(slow.mountpoint, "message"), path))
        size = writer.link.hear()
        stack.callback(slow.send_signal, signal.SIGCONT)
        slow.pause()
        writer.link.tell("go")
        wait_until_all_wait([writer], 2, size)
        others = [stack.enter_context(Child(truncate_by_open, path)) for _ in range(2 * os.cpu_count())]
        wait_until_all_wait(others, 2, TRUNCATING)
        with Child(lambda _link: (os.mkdir(fs_many.path("d")), os.listdir(fs_many.dir))[1]) as free:
            assert sorted(free.result()) == ["d", "f"]
        assert not any(child.link.has_word() for child in (writer, *others))
        slow.send_signal(signal.SIGCONT)
        assert writer.result() == size
        for other in others:
            other.result()


def test_an_interrupted_caller_leaves_the_mount_working(fs):
    """Processes killed in the middle of their calls."""
    for name in Storm.DIRS:
        os.makedirs(fs.path(name), exist_ok=True)
    for number in range(15):
        child = Child(storm_until_gone, fs.dir, number)
        child.link.hear()
        child.end()
    assert_sound(fs.dir)
    shutil.rmtree(fs.dir)
