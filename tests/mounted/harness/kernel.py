# SPDX-License-Identifier: MIT
"""System calls that Python's os module lacks.  Each raises OSError."""

import ctypes
import mmap
import os
import select
import struct
import time

MS_NOSUID = 2
MS_NODEV = 4
MS_BIND = 0x1000
MS_REMOUNT = 32
MS_SHARED = 1 << 20
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MNT_FORCE = 1
MNT_DETACH = 2
CLONE_NEWNS = 0x20000
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_WHITEOUT = 4
AT_FDCWD = -100
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000
FALLOC_FL_KEEP_SIZE = 1
FALLOC_FL_PUNCH_HOLE = 2
FALLOC_FL_ZERO_RANGE = 16
UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2
STATX_BTIME = 0x800
_STATX_SIZE = 0x200
_AT_STATX_FORCE_SYNC = 0x2000
XATTR_SIZE_MAX = 65536
CAP_DAC_READ_SEARCH = 2
CAP_FSETID = 4
CAP_SYS_ADMIN = 21
IN_MODIFY = 2
IN_ALL_EVENTS = 0xFFF

_SYS_FSCONFIG = 431
_SYS_FSPICK = 433
_FSPICK_CLOEXEC = 1
_FSCONFIG_CMD_RECONFIGURE = 7
_CAPABILITY_VERSION_3 = 0x20080522
_HANDLE_HEADER = 8
_HANDLE_SIZE_MAX = 128

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p


def _check(result, path=None):
    if result < 0:
        err = ctypes.get_errno()
        raise OSError(err, os.strerror(err), path)
    return result


def _bytes(text):
    return None if text is None else os.fsencode(text)


def mount(source, target, fstype, flags=0, data=None):
    _check(
        _libc.mount(_bytes(source), _bytes(target), _bytes(fstype), ctypes.c_ulong(flags), _bytes(data)),
        target,
    )


def umount(target, flags=0):
    _check(_libc.umount2(_bytes(target), flags), target)


def unshare(flags):
    _check(_libc.unshare(flags))


def become_subreaper():
    """Orphans among our descendants become our children, so that none gets lost."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def die_with_parent(number):
    """Signal @number comes when the parent ends."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0))


def user_namespace():
    """From here on, we are root in a user namespace of our own, with mounts of our own."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | CLONE_NEWNS)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def private_mounts():
    """From here on, what we mount is seen by us and our children only, and goes with the last of them."""
    unshare(CLONE_NEWNS)
    mount(None, "/", None, MS_REC | MS_PRIVATE)


def renameat2(old, new, flags):
    _check(_libc.renameat2(AT_FDCWD, _bytes(old), AT_FDCWD, _bytes(new), flags), old)


def link_fd(fd, new):
    """Gives a file that was opened with O_TMPFILE its name."""
    old = b"/proc/self/fd/%d" % fd
    _check(_libc.linkat(AT_FDCWD, old, AT_FDCWD, _bytes(new), AT_SYMLINK_FOLLOW), new)


def fallocate(fd, mode, off, size):
    _check(_libc.fallocate(int(fd), mode, ctypes.c_int64(off), ctypes.c_int64(size)))


class _Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]


def utimens(path, atime, mtime):
    """utimensat(2) with (seconds, nanoseconds) pairs, which may say UTIME_NOW and UTIME_OMIT."""
    times = (_Timespec * 2)(_Timespec(*atime), _Timespec(*mtime))
    _check(_libc.utimensat(AT_FDCWD, _bytes(path), times, 0x100), path)


def birth_time_ns(path):
    """The birth time as statx(2) tells it, or None where it is not known."""
    buf = ctypes.create_string_buffer(256)
    _check(_libc.statx(AT_FDCWD, _bytes(path), 0x100, STATX_BTIME, buf), path)
    (mask,) = struct.unpack_from("I", buf, 0)
    if not mask & STATX_BTIME:
        return None
    seconds, nanoseconds = struct.unpack_from("qI", buf, 80)
    return seconds * 10**9 + nanoseconds


def fresh_size(path):
    """The size of a file as the file system knows it now, whatever the kernel remembers."""
    buf = ctypes.create_string_buffer(256)
    _check(_libc.statx(AT_FDCWD, _bytes(path), _AT_STATX_FORCE_SYNC, _STATX_SIZE, buf), path)
    return struct.unpack_from("Q", buf, 40)[0]


class SharedMap:
    """A shared mapping of the first @size bytes of a file, that keeps no descriptor of it, as mmap.mmap does."""

    def __init__(self, fd, size):
        self._size = size
        prot, flags = mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED
        self._address = _libc.mmap(None, ctypes.c_size_t(size), prot, flags, int(fd), ctypes.c_long(0))
        if self._address == ctypes.c_void_p(-1).value:
            _check(-1)
        self._bytes = (ctypes.c_char * size).from_address(self._address)

    def __getitem__(self, index):
        return self._bytes[index]

    def __setitem__(self, index, value):
        self._bytes[index] = value

    def flush(self):
        _check(_libc.msync(ctypes.c_void_p(self._address), ctypes.c_size_t(self._size), ctypes.c_int(4)))

    def close(self):
        _check(_libc.munmap(ctypes.c_void_p(self._address), ctypes.c_size_t(self._size)))


def getdents(fd, size):
    """The next entries of a directory, as (name, d_off, d_ino, d_type); [] at its end."""
    buf = ctypes.create_string_buffer(size)
    filled = _check(_libc.getdents64(int(fd), buf, ctypes.c_size_t(size)))
    entries = []
    at = 0
    while at < filled:
        ino, off, length, kind = struct.unpack_from("=QqHB", buf, at)
        name = buf.raw[at + 19 : at + length].split(b"\0", 1)[0]
        entries.append((name, off, ino, kind))
        at += length
    return entries


def getxattr(path, name, size):
    """What lgetxattr(2) gives with room for @size bytes: how long the value is, and the bytes of it that came."""
    buf = ctypes.create_string_buffer(size) if size else None
    n = _check(_libc.lgetxattr(_bytes(path), _bytes(name), buf, ctypes.c_size_t(size)), path)
    return n, buf.raw[:n] if size else b""


def listxattr(path, size):
    """The same of llistxattr(2): the length of the list, and the names in it, sorted."""
    buf = ctypes.create_string_buffer(size) if size else None
    n = _check(_libc.llistxattr(_bytes(path), buf, ctypes.c_size_t(size)), path)
    return n, sorted(buf.raw[:n].split(b"\0")[:-1]) if size else []


def drop_capability(number):
    """This thread has the capability no more."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()
    _check(_libc.capget(header, sets))
    for part in (0, 1):  # effective and permitted
        sets[number // 32 * 3 + part] &= ~(1 << number % 32)
    _check(_libc.capset(header, sets))


def drop_capability_for_good(number):
    """No program that we start has the capability, even as root."""
    _check(_libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0))


def name_to_handle(path):
    """The handle of a file, to be opened with open_by_handle()."""
    buf = ctypes.create_string_buffer(_HANDLE_HEADER + _HANDLE_SIZE_MAX)
    struct.pack_into("=I", buf, 0, _HANDLE_SIZE_MAX)
    mount_id = ctypes.c_int()
    _check(_libc.name_to_handle_at(AT_FDCWD, _bytes(path), buf, ctypes.byref(mount_id), 0), path)
    return buf.raw[: _HANDLE_HEADER + struct.unpack_from("=I", buf, 0)[0]]


def open_by_handle(mount_fd, handle, flags):
    """Opens the file of a handle, in the file system that @mount_fd lies in."""
    return _check(_libc.open_by_handle_at(int(mount_fd), handle, flags))


def drop_names(root):
    """
    Makes the kernel forget all names and inodes that nobody uses of the file system that is mounted on @root.
    A remount without any change does that.
    """
    at = _check(_libc.syscall(_SYS_FSPICK, AT_FDCWD, _bytes(root), _FSPICK_CLOEXEC), root)
    try:
        _check(_libc.syscall(_SYS_FSCONFIG, at, _FSCONFIG_CMD_RECONFIGURE, None, None, 0), root)
    finally:
        os.close(at)


class Events:
    """What inotify(7) tells of files, in order: (path as it was added, names of the event, name in the directory)."""

    _NAMES = ["ACCESS", "MODIFY", "ATTRIB", "CLOSE_WRITE", "CLOSE_NOWRITE", "OPEN", "MOVED_FROM", "MOVED_TO", "CREATE"]
    _NAMES += ["DELETE", "DELETE_SELF", "MOVE_SELF", "", "UNMOUNT", "Q_OVERFLOW", "IGNORED"]
    _IS_DIR = 0x40000000

    def __init__(self):
        self._fd = _check(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        self._paths = {}
        self._cookies = []

    def add(self, *paths, mask=IN_ALL_EVENTS):
        for path in paths:
            self._paths[_check(_libc.inotify_add_watch(self._fd, _bytes(path), mask), path)] = path

    def read(self, last=None, timeout_s=20):
        """What happened since the last call; @last: waits until an event of this name is among it."""
        seen = []
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                seen += self._unpack(os.read(self._fd, 65536))
            except BlockingIOError:
                pass
            if last is None or any(last in names for _, names, *_ in seen):
                return seen
            if not wait_readable(deadline - time.monotonic(), self._fd):
                raise TimeoutError(f"no event {last}, but {seen}")

    def _unpack(self, data):
        at = 0
        while at < len(data):
            watch, mask, cookie, length = struct.unpack_from("=iIII", data, at)
            name = data[at + 16 : at + 16 + length].rstrip(b"\0")
            names = [text for bit, text in enumerate(self._NAMES) if mask & 1 << bit]
            names += ["ISDIR"] if mask & self._IS_DIR else []
            # What belongs together has the same number, which of itself says nothing.
            if cookie and cookie not in self._cookies:
                self._cookies.append(cookie)
            moved = [f"move {self._cookies.index(cookie)}"] if cookie else []
            yield self._paths[watch], " ".join(names), os.fsdecode(name), *moved
            at += 16 + length

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.close(self._fd)


class FileWatch:
    """Tells when a file was written to: a file descriptor to poll."""

    def __init__(self, path):
        self.fd = _check(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
        _check(_libc.inotify_add_watch(self.fd, _bytes(path), IN_MODIFY), path)

    def drain(self):
        try:
            while os.read(self.fd, 4096):
                pass
        except BlockingIOError:
            pass

    def close(self):
        os.close(self.fd)


def lock_waiters(path):
    """How many wait for a lock on the file, as /proc/locks tells."""
    st = os.stat(path)
    inode = f" {os.major(st.st_dev):02x}:{os.minor(st.st_dev):02x}:{st.st_ino} "
    with open("/proc/locks", encoding="ascii") as file:
        return sum("->" in line and inode in line for line in file)


def wait_for_lock_waiters(path, count, timeout_s=20):
    """Nothing can be waited on that says so."""
    deadline = time.monotonic() + timeout_s
    while lock_waiters(path) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{lock_waiters(path)} wait for a lock on {path}, not {count}")
        time.sleep(0.002)


def wait_readable(timeout_s, *fds):
    """Waits for the first of @fds to have something to say; the set of those that do."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN | select.POLLPRI | select.POLLERR)
    return {fd for fd, _ in poll.poll(max(0, timeout_s) * 1000)}
