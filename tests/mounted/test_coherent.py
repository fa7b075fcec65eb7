# SPDX-License-Identifier: MIT
"""What others change in passthroughfs's source is seen through the mount, soon and all of it.

The kernel remembers what is watched for a minute: what shows sooner was told, and did not just run out."""

import contextlib
import errno
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import time

import pytest

from conftest import SOURCE_DISK, SPREAD, needs_root, transport_named
from harness import kernel, mounts
from harness.children import Child, in_child
from harness.files import get, put, wait_until

pytestmark = needs_root

SOON_S = 20  # on a machine that is busy; a minute would be too late
RACE_S = 3


def soon(condition):
    wait_until(condition, SOON_S, pause_s=0.001)


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.fixture(params=[*SPREAD, "disk"], ids=repr)
def both(request, shared_mounts, uring_switch):
    """The same directory seen through the mount, and in the source."""
    if request.param == "disk":
        subject, transport = SOURCE_DISK, "io_uring-many"
    else:
        subject, transport = request.param.subject, request.param.transport
    if subject.why_not():
        pytest.skip(subject.why_not())
    place = shared_mounts.place(subject, transport_named(transport, uring_switch))
    return place.dir, place.source


def replace(path, data):
    put(f"{path}.new", data)
    os.rename(f"{path}.new", path)


# What is made first, what is changed, and what is then seen: all by the path of a file or directory.
CHANGES = {
    "create": (lambda p: None, put, os.path.exists),
    "mkdir": (lambda p: None, os.mkdir, os.path.isdir),
    "mkfifo": (lambda p: None, os.mkfifo, os.path.exists),
    "symlink": (lambda p: None, lambda p: os.symlink("to", p), lambda p: os.path.islink(p) and os.readlink(p) == "to"),
    "delete": (put, os.unlink, lambda p: not os.path.lexists(p)),
    "rmdir": (os.mkdir, os.rmdir, lambda p: not os.path.lexists(p)),
    "write": (put, lambda p: put(p, b"new"), lambda p: os.stat(p).st_size == 3 and get(p) == b"new"),
    "overwrite": (lambda p: put(p, b"old"), lambda p: overwrite(p, b"new"), lambda p: get(p) == b"new"),
    "truncate": (lambda p: put(p, b"old"), lambda p: os.truncate(p, 1), lambda p: get(p) == b"o"),
    "extend": (put, lambda p: os.truncate(p, 9), lambda p: os.stat(p).st_size == 9),
    "allocate": (put, lambda p: allocate(p, 1 << 20), lambda p: os.stat(p).st_blocks >= 2048),
    "chmod": (put, lambda p: os.chmod(p, 0o604), lambda p: mode(p) == 0o604),
    "chmod of a directory": (os.mkdir, lambda p: os.chmod(p, 0o701), lambda p: mode(p) == 0o701),
    "chown": (put, lambda p: os.chown(p, 4001, 4002), lambda p: (os.stat(p).st_uid, os.stat(p).st_gid) == (4001, 4002)),
    "utimens": (put, lambda p: os.utime(p, ns=(1, 2)), lambda p: os.stat(p).st_mtime_ns == 2),
    "setxattr": (put, lambda p: os.setxattr(p, "trusted.a", b"1"), lambda p: os.listxattr(p) == ["trusted.a"]),
    "link": (put, lambda p: os.link(p, f"{p}2"), lambda p: os.stat(p).st_nlink == 2 and os.path.samefile(p, f"{p}2")),
    "replace": (lambda p: put(p, b"old"), lambda p: replace(p, b"new"), lambda p: get(p) == b"new"),
    "rename": (put, lambda p: os.rename(p, f"{p}2"), lambda p: not os.path.exists(p) and os.path.exists(f"{p}2")),
    "another type": (put, lambda p: (os.unlink(p), os.mkdir(p)), os.path.isdir),
}


def overwrite(path, data):
    """Neither size nor, perhaps, mtime tells of it."""
    before = os.stat(path)
    fd = os.open(path, os.O_WRONLY)
    os.pwrite(fd, data, 0)
    os.close(fd)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def allocate(path, size):
    fd = os.open(path, os.O_WRONLY)
    kernel.fallocate(fd, 0, 0, size)
    os.close(fd)


def warm(path):
    """Lets the kernel remember whatever there is to see."""
    for _ in range(2):
        os.listdir(os.path.dirname(path))
        if os.path.lexists(path):
            os.lstat(path)
            if os.path.isfile(path):
                get(path)


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_shows(both, change):
    here, there = (f"{directory}/it" for directory in both)
    prepare, act, is_seen = CHANGES[change]
    prepare(there)
    soon(lambda: os.path.lexists(here) == os.path.lexists(there))
    warm(here)
    act(there)
    soon(lambda: is_seen(here))
    soon(lambda: sorted(os.listdir(both[0])) == sorted(os.listdir(both[1])))
    if os.path.lexists(there):
        soon(lambda: os.lstat(here).st_ctime_ns == os.lstat(there).st_ctime_ns)
    soon(lambda: os.stat(both[0]).st_mtime_ns == os.stat(both[1]).st_mtime_ns)


def test_a_change_shows_by_an_open_file(both):
    here, there = (f"{directory}/it" for directory in both)
    put(there, b"old")
    soon(lambda: os.path.exists(here))
    with open(here, "rb") as file:
        assert file.read() == b"old"
        overwrite(there, b"new")
        soon(lambda: os.pread(file.fileno(), 3, 0) == b"new")
        os.truncate(there, 100)
        soon(lambda: os.fstat(file.fileno()).st_size == 100)


def test_what_others_write_shows_while_the_file_is_written_here(both):
    here, there = (f"{directory}/it" for directory in both)
    put(there, b"old")
    soon(lambda: os.path.exists(here))
    for size in (1000, 2000):
        with open(here, "r+b", buffering=0) as file:
            for _ in range(1000):
                os.pwrite(file.fileno(), b"here", 0)
                assert os.fstat(file.fileno()).st_size >= 4
            os.truncate(there, size)
            soon(lambda: os.stat(here).st_size == os.fstat(file.fileno()).st_size == size)
        assert os.stat(here).st_size == size
        os.truncate(there, size + 1)
        soon(lambda: os.stat(here).st_size == size + 1)


def ignored_files(mount):
    """How many files are being written to unnoticed: fanotify(7), proc_pid_fdinfo(5)."""
    count = 0
    for number in os.listdir(f"/proc/{mount.pid}/fdinfo"):
        try:
            with open(f"/proc/{mount.pid}/fdinfo/{number}", encoding="ascii") as file:
                count += sum(re.search(r"^fanotify ino:.* ignored_mask:2 ", line) is not None for line in file)
        except FileNotFoundError:
            pass
    return count


def test_writes_of_the_kernel_are_no_events_while_the_file_is_open(new_mount, many):
    mount = new_mount("passthroughfs", *many.options, "-o", "data=kernel").wait_mounted()
    here = f"{mount.mountpoint}/it"
    with open(here, "wb", buffering=0) as file, open(here, "rb"):
        soon(lambda: file.write(b"x") and ignored_files(mount) == 1)
        os.unlink(here)
        assert ignored_files(mount) == 1
    soon(lambda: ignored_files(mount) == 0)
    with open(here, "wb", buffering=0) as file:
        soon(lambda: file.write(b"x") and ignored_files(mount) == 1)
    soon(lambda: ignored_files(mount) == 0)
    os.truncate(f"{mount.source}/it", 100_000)
    soon(lambda: os.stat(here).st_size == 100_000)


def test_what_is_known_is_answered_without_a_request(new_mount, uring_switch, place):
    """Names, missing names, attributes and listings, as soon as the last change was told."""
    transport = transport_named("io_uring-many", uring_switch)
    mount = new_mount("passthroughfs", *transport.options).wait_mounted()
    put(f"{mount.source}/f")
    soon(lambda: os.path.exists(f"{mount.mountpoint}/f"))

    def look():
        os.stat(f"{mount.mountpoint}/f")
        os.path.exists(f"{mount.mountpoint}/missing")
        os.listdir(mount.mountpoint)

    def requests(serial):
        mount.send_signal(signal.SIGUSR1)
        mount.wait_logged(rf"(?s)(stats: end.*){{{serial}}}")
        last = mount.stderr().split("stats: end")[-2]
        return re.findall(r"stats: (lookup|getattr|readdir|readdirplus) count=(\d+)", last)

    def answers_alone():
        look()
        before = requests(requests.serial)
        for _ in range(100):
            look()
        after = requests(requests.serial + 1)
        requests.serial += 2
        return before == after

    requests.serial = 1
    # The last change may have been told while it looked.
    soon(answers_alone)


@pytest.mark.limit(300)
@pytest.mark.skipif(mounts.is_sanitized(), reason="100,000 changes take long")
@pytest.mark.parametrize("is_stopped", [False, True], ids=["told", "too-many-to-tell"])
def test_a_burst_leaves_nothing_stale(new_mount, uring_switch, place, is_stopped):
    """100,000 changes; the queue of the kernel holds some 16,000, so that with a daemon that is stopped most are lost."""
    transport = transport_named("io_uring-many", uring_switch)
    mount = new_mount("passthroughfs", *transport.options).wait_mounted()
    for directory in range(10):
        os.mkdir(f"{mount.source}/{directory}")
        for number in range(1000):
            put(f"{mount.source}/{directory}/{number}", b"old")
    soon(lambda: len(os.listdir(mount.mountpoint)) == 10)
    tree(mount.mountpoint)
    if is_stopped:
        mount.pause()
    with Child(burst, mount.source) as child:
        while not is_stopped and not child.link.has_word():
            for directory in range(10):
                os.path.exists(f"{mount.mountpoint}/{directory}/1")  # answered, whatever happens
        child.result(200)
    if is_stopped:
        mount.send_signal(signal.SIGCONT)
    expected = tree(mount.source)
    soon(lambda: tree(mount.mountpoint) == expected)


def burst(_link, source):
    for directory in range(10):
        for number in range(1000):
            path = f"{source}/{directory}/{number}"
            put(path, b"changed")
            os.chmod(path, 0o600 + number % 8)
            os.rename(path, f"{path}-moved")
            if number % 2:
                os.unlink(f"{path}-moved")
                put(path, b"%d" % number)
            else:
                os.rename(f"{path}-moved", path)
            os.utime(path, ns=(0, number))
            os.truncate(path, 2)
            os.chown(path, number, 0)
            os.link(path, f"{path}-link")
            os.unlink(f"{path}-link")


def tree(top):
    found = {}
    for path, directories, files in os.walk(top):
        for name in directories + files:
            st = os.lstat(os.path.join(path, name))
            found[os.path.relpath(os.path.join(path, name), top)] = (
                st.st_mode, st.st_uid, st.st_size, st.st_mtime_ns, st.st_nlink, st.st_ino,
            )  # fmt: skip
    return found


@pytest.mark.limit(200)
def test_nobody_gets_another_files_contents(both):
    """Files are replaced, renamed, deleted, also with the directory that they are in: what is read is what was once
    written under that name, or an error that says that it is gone."""
    here, there = both
    names = [f"d{d}/f{f}" for d in range(3) for f in range(5)]

    def change(_link):
        random.seed(1)
        while True:
            name = random.choice(names)
            directory = os.path.dirname(f"{there}/{name}")
            try:
                what = random.randrange(8)
                if what == 0:
                    os.rename(directory, f"{directory}-gone-{random.random()}")
                elif what == 1:
                    shutil.rmtree(directory)
                elif what == 2:
                    os.unlink(f"{there}/{name}")
                elif what == 3:
                    put(f"{there}/{name}", name.encode() * random.randrange(1, 500))
                else:
                    os.makedirs(directory, exist_ok=True)
                    replace(f"{there}/{name}", name.encode() * random.randrange(1, 500))
            except FileNotFoundError:
                pass

    n_read = 0
    with Child(change):
        deadline = time.monotonic() + SOON_S
        for turn in range(20000):
            name = names[turn % len(names)]
            try:
                found = get(f"{here}/{name}")
            except OSError as err:
                assert err.errno in (errno.ENOENT, errno.ESTALE, errno.ENOTDIR), err
                continue
            n_read += 1
            # It is written while it is read: the end may be missing, and where it was truncated there may be zeros.
            expected = name.encode() * (len(found) // len(name) + 1)
            assert all(byte in (0, want) for byte, want in zip(found, expected)), name
            if time.monotonic() > deadline and n_read:
                break
    assert n_read


def test_a_file_whose_number_goes_to_another_is_gone_and_not_short_of_memory(new_mount, many):
    """What open_by_handle_at(2) says meanwhile, on ext4."""
    mount = new_mount("passthroughfs", *many.options).wait_mounted()
    here, there = mount.mountpoint, mount.source

    def make_and_remove(_link, name):
        while True:
            os.close(os.open(f"{there}/{name}", os.O_WRONLY | os.O_CREAT))
            os.unlink(f"{there}/{name}")

    with Child(make_and_remove, "a"), Child(make_and_remove, "b"):
        deadline = time.monotonic() + RACE_S
        while time.monotonic() < deadline:
            for name in "ab":
                try:
                    os.close(os.open(f"{here}/{name}", os.O_RDONLY))
                except OSError as err:
                    assert err.errno in (errno.ENOENT, errno.ESTALE), err


def test_nothing_is_remembered_with_cache_never(new_mount, many):
    mount = new_mount("passthroughfs", *many.options, "-o", "cache=never").wait_mounted()
    here, there = mount.mountpoint, mount.source
    for number in range(200):
        path = f"{here}/{number}"
        assert not os.path.exists(path)
        put(f"{there}/{number}", b"x")
        assert os.stat(path).st_size == 1 and get(path) == b"x"
        overwrite(f"{there}/{number}", b"y")
        assert get(path) == b"y"
        os.chmod(f"{there}/{number}", 0o640)
        assert mode(path) == 0o640
        os.unlink(f"{there}/{number}")
        assert not os.path.exists(path) and os.listdir(here) == []


def test_everything_is_remembered_with_cache_always(new_mount, many):
    mount = new_mount("passthroughfs", *many.options, "-o", "cache=always").wait_mounted()
    here, there = mount.mountpoint, mount.source
    put(f"{there}/f", b"x")
    assert os.listdir(here) == ["f"] and os.stat(f"{here}/f").st_size == 1
    assert not os.path.exists(f"{here}/g")
    put(f"{there}/f", b"longer")
    put(f"{there}/g")
    os.unlink(f"{there}/f")
    # By the time that this has come and gone, a watcher would have told.
    for number in range(100):
        put(f"{here}/own{number}")
    assert os.stat(f"{here}/f").st_size == 1 and not os.path.exists(f"{here}/g")


def test_the_log_says_that_a_source_cannot_be_watched(new_mount, place, many):
    """proc has no handles that last; what changes there shows all the same."""
    mount = new_mount("passthroughfs", *many.options, source="/proc/self/task").wait_mounted()
    os.listdir(mount.mountpoint)
    mount.wait_logged("the source cannot be watched")


def test_what_is_mounted_in_the_source_has_its_own_inode_numbers(new_mount, place, many):
    source = f"{place}/source"
    os.mkdir(source)
    seen = set()
    for name in "abc":
        os.mkdir(f"{source}/{name}")
        kernel.mount("part", f"{source}/{name}", "tmpfs")
        put(f"{source}/{name}/f")
    try:
        assert len({os.stat(f"{source}/{name}/f").st_ino for name in "abc"}) < 3
        mount = new_mount("passthroughfs", *many.options, source=source)
        mount.wait_mounted()
        for name in "abc":
            st = os.stat(f"{mount.mountpoint}/{name}/f")
            with os.scandir(f"{mount.mountpoint}/{name}") as entries:
                assert [entry.inode() for entry in entries] == [st.st_ino]
            seen.add(st.st_ino)
        assert len(seen) == 3
        mount.stop()
    finally:
        for name in "abc":
            kernel.umount(f"{source}/{name}", kernel.MNT_DETACH)


@pytest.mark.parametrize("data", ["kernel", "daemon"])
def test_what_changes_through_the_mount_shows_by_every_way_to_it(new_mount, place, data):
    """A directory that is mounted again beside itself: the kernel knows two inodes for each of its files."""
    source = f"{place}/source"
    for name in "ab":
        os.makedirs(f"{source}/{name}")
    for name in ("chmod", "rename", "write", "truncate"):
        put(f"{source}/a/{name}", b"old")
    kernel.mount(f"{source}/a", f"{source}/b", "", kernel.MS_BIND)
    try:
        mount = new_mount("passthroughfs", "-o", f"data={data}", source=source).wait_mounted()
        here, there = f"{mount.mountpoint}/a", f"{mount.mountpoint}/b"
        for name in (*os.listdir(there), "new"):
            warm(f"{there}/{name}")
        with open(f"{there}/write", "rb") as file:
            assert file.read() == b"old"
            os.chmod(f"{here}/chmod", 0o604)
            os.rename(f"{here}/rename", f"{here}/new")
            overwrite(f"{here}/write", b"new")
            os.truncate(f"{here}/truncate", 1)
            soon(lambda: mode(f"{there}/chmod") == 0o604)
            soon(lambda: not os.path.exists(f"{there}/rename") and os.path.exists(f"{there}/new"))
            soon(lambda: os.pread(file.fileno(), 3, 0) == b"new")
            soon(lambda: os.stat(f"{there}/truncate").st_size == 1)
        mount.stop()
    finally:
        kernel.umount(f"{source}/b", kernel.MNT_DETACH)


@pytest.fixture
def subvolume(place):
    """A source with a btrfs at "top", and a subvolume of it, "top/sub", at "sub" as well."""
    if not (shutil.which("mkfs.btrfs") and shutil.which("btrfs")):
        pytest.skip("needs the tools of btrfs")
    image, top, sub = f"{place}/image", f"{place}/source/top", f"{place}/source/sub"
    os.makedirs(top)
    os.mkdir(sub)
    put(image)
    os.truncate(image, 256 << 20)
    with contextlib.ExitStack() as stack:
        for command in (("mkfs.btrfs", "-q", image), ("mount", "-o", "loop", image, top)):
            if subprocess.run(command, check=False).returncode:
                pytest.skip("no btrfs can be mounted here")
        stack.callback(kernel.umount, top, kernel.MNT_DETACH)
        subprocess.run(("btrfs", "subvolume", "create", f"{top}/sub"), check=True, stdout=subprocess.DEVNULL)
        kernel.mount(mounts.mount_at(top).source, sub, "btrfs", 0, "subvol=sub")
        stack.callback(kernel.umount, sub, kernel.MNT_DETACH)
        yield f"{place}/source"


def test_what_changes_through_a_subvolumes_mount_shows_by_the_way_from_the_top(new_mount, subvolume, many):
    """They have not one f_fsid; only the one that the watch is on is told of."""
    put(f"{subvolume}/sub/f", b"old")
    mount = new_mount("passthroughfs", *many.options, source=subvolume).wait_mounted()
    here, there = f"{mount.mountpoint}/sub", f"{mount.mountpoint}/top/sub"
    assert os.stat(f"{there}/f").st_size == os.stat(f"{here}/f").st_size == 3
    assert not os.path.exists(f"{there}/new")
    os.truncate(f"{here}/f", 1)
    put(f"{here}/new")
    soon(lambda: os.stat(f"{there}/f").st_size == 1)
    soon(lambda: os.path.exists(f"{there}/new"))
    mount.stop()


def test_a_change_shows_by_each_of_many_ways_to_it(new_mount, place, many):
    """A directory that is mounted so often that a list of its inodes has to grow."""
    source = f"{place}/source"
    ways = [f"way{number}" for number in range(100)]
    os.makedirs(f"{source}/it")
    put(f"{source}/it/f", b"old")
    mounted = []
    try:
        for way in ways:
            os.mkdir(f"{source}/{way}")
            kernel.mount(f"{source}/it", f"{source}/{way}", "", kernel.MS_BIND)
            mounted.append(f"{source}/{way}")
        mount = new_mount("passthroughfs", *many.options, source=source).wait_mounted()
        here = mount.mountpoint
        with contextlib.ExitStack() as stack:
            # What is mounted is looked up again soon; what is open is not.
            opens = [stack.enter_context(open(f"{here}/{way}/f", "rb", buffering=0)) for way in ("it", *ways)]
            dirs = [os.open(f"{here}/{way}", os.O_PATH) for way in ("it", *ways)]
            stack.callback(lambda: [os.close(fd) for fd in dirs])
            for file, fd in zip(opens, dirs):
                assert os.fstat(file.fileno()).st_size == 3 and not is_in(fd, "new")
            with open(f"{source}/it/f", "ab") as file:
                file.write(b"er")
            put(f"{source}/it/new")
            for file, fd in zip(opens, dirs):
                soon(lambda: os.fstat(file.fileno()).st_size == 5)
                soon(lambda: is_in(fd, "new"))
        mount.stop()
    finally:
        for path in mounted:
            kernel.umount(path, kernel.MNT_DETACH)


def is_in(directory, name):
    try:
        os.stat(name, dir_fd=directory)
    except FileNotFoundError:
        return False
    return True


@pytest.mark.parametrize("sandbox", ["full", "none"])
def test_what_is_mounted_in_the_source_shows_and_leaves_what_is_mounted_on_the_mount(new_mount, place, sandbox):
    source = f"{place}/source"
    os.mkdir(source)
    kernel.mount(source, source, "", kernel.MS_BIND)
    kernel.mount("", source, "", kernel.MS_SHARED)  # so that the sandbox gets to know
    mounted = [source]
    try:
        for name in ("deep/a dir", "deep/other", "below"):
            os.makedirs(f"{source}/{name}")
        mount = new_mount("passthroughfs", f"--sandbox={sandbox}", source=source).wait_mounted()
        for name in ("deep/a dir", "deep/other", "below"):
            warm(f"{mount.mountpoint}/{name}/f")
        kernel.mount("on it", f"{mount.mountpoint}/below", "tmpfs")
        mounted.append(f"{mount.mountpoint}/below")
        put(f"{mount.mountpoint}/below/f")
        with open(f"{mount.mountpoint}/deep/open", "wb") as file:
            for name in ("deep/a dir", "deep/other"):
                kernel.mount("part", f"{source}/{name}", "tmpfs")
                mounted.append(f"{source}/{name}")
                put(f"{source}/{name}/f")
                soon(lambda: os.path.exists(f"{mount.mountpoint}/{name}/f"))
            assert os.readlink(f"/proc/self/fd/{file.fileno()}") == f"{mount.mountpoint}/deep/open"
        assert mounts.mount_at(f"{mount.mountpoint}/below") and os.path.exists(f"{mount.mountpoint}/below/f")
        kernel.umount(mounted.pop(), kernel.MNT_DETACH)
        soon(lambda: not os.path.exists(f"{mount.mountpoint}/deep/other/f"))
        kernel.umount(f"{mount.mountpoint}/below")
        mounted.remove(f"{mount.mountpoint}/below")
        mount.stop()
    finally:
        for path in reversed(mounted):
            kernel.umount(path, kernel.MNT_DETACH)


def test_what_is_mounted_in_the_source_may_need_the_mount_to_answer(new_mount, place):
    """While it is asked what it is, other requests are answered."""
    source = f"{place}/source"
    os.makedirs(f"{source}/inner")
    os.makedirs(f"{source}/sub")
    put(f"{source}/sub/f")
    options = ("-o", "no_io_uring", "--sandbox=none")  # a ring has one thread
    outer = new_mount("passthroughfs", *options, source=source).wait_mounted()
    inner = new_mount(
        "passthroughfs", *options, source=f"{outer.mountpoint}/sub", mountpoint=f"{source}/inner"
    ).wait_mounted()
    assert in_child(os.listdir, f"{outer.mountpoint}/inner", timeout_s=SOON_S) == ["f"]
    inner.stop()
    outer.stop()


@pytest.mark.parametrize("sandbox", ["full", "none"])
def test_one_file_system_stops_at_its_border(new_mount, place, many, sandbox):
    source = f"{place}/source"
    os.makedirs(f"{source}/part/below")
    kernel.mount("part", f"{source}/part", "tmpfs")
    put(f"{source}/part/f")
    try:
        mount = new_mount(
            "passthroughfs", *many.options, "-o", "one_file_system", f"--sandbox={sandbox}", source=source
        ).wait_mounted()
        assert os.listdir(mount.mountpoint) == ["part"]
        if sandbox == "full":
            assert os.listdir(f"{mount.mountpoint}/part") == ["below"]
        else:
            with pytest.raises(OSError) as error:
                os.stat(f"{mount.mountpoint}/part")
            assert error.value.errno == errno.EXDEV
        mount.stop()
    finally:
        kernel.umount(f"{source}/part", kernel.MNT_DETACH)


def test_nothing_comes_to_one_file_system_later(new_mount, place, many):
    """Where its mounts are shared with others, in the sandbox, as elsewhere what is mounted on a name is EXDEV."""
    source = f"{place}/source"
    os.makedirs(f"{source}/part/below")
    kernel.mount(source, source, None, kernel.MS_BIND)
    kernel.mount(None, source, None, kernel.MS_SHARED)
    try:
        mount = new_mount("passthroughfs", *many.options, "-o", "one_file_system", source=source).wait_mounted()
        assert os.listdir(mount.mountpoint) == ["part"]  # it is in the sandbox
        kernel.mount("part", f"{source}/part", "tmpfs")
        assert os.listdir(f"{mount.mountpoint}/part") == ["below"]
        mount.stop()
    finally:
        kernel.umount(source, kernel.MNT_DETACH)


# Handles, as an NFS server uses them.


def open_handle(mountpoint, handle, flags=os.O_RDONLY):
    root = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return kernel.open_by_handle(root, handle, flags)
    finally:
        os.close(root)


def read_handle(mountpoint, handle):
    fd = open_handle(mountpoint, handle)
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


def test_a_handle_outlasts_a_forget_and_the_program(new_mount, place, many):
    source = f"{place}/source"
    os.makedirs(f"{source}/d/e")
    put(f"{source}/d/f", b"content")
    mountpoint = f"{place}/mnt"
    os.mkdir(mountpoint)
    mount = new_mount("passthroughfs", *many.options, source=source, mountpoint=mountpoint).wait_mounted()
    handles = [kernel.name_to_handle(f"{mountpoint}/d/f"), kernel.name_to_handle(f"{mountpoint}/d/e")]
    kernel.drop_names(mountpoint)
    for _ in range(2):
        assert read_handle(mountpoint, handles[0]) == b"content"
        fd = open_handle(mountpoint, handles[1])
        assert os.listdir(fd) == []
        with open(os.open("../f", os.O_RDONLY, dir_fd=fd), "rb") as file:
            assert file.read() == b"content"
        os.close(fd)
        os.rename(f"{source}/d/f", f"{source}/d/g")
        os.rename(f"{source}/d/g", f"{source}/d/f")
        mount.stop()
        mount = new_mount("passthroughfs", *many.options, source=source, mountpoint=mountpoint).wait_mounted()
    os.unlink(f"{source}/d/f")
    put(f"{source}/d/f", b"another")
    with pytest.raises(OSError) as error:
        read_handle(mountpoint, handles[0])
    assert error.value.errno == errno.ESTALE
    mount.stop()


def test_a_handle_leads_to_no_other_tree(new_mount, place, many):
    """Two mounts of two directories of one file system: a handle of the one is none of the other."""
    for name in "ab":
        os.makedirs(f"{place}/{name}")
        os.mkdir(f"{place}/mnt-{name}")
        put(f"{place}/{name}/f", name.encode())
    first, second = (
        new_mount("passthroughfs", *many.options, source=f"{place}/{name}", mountpoint=f"{place}/mnt-{name}")
        for name in "ab"
    )
    first.wait_mounted(), second.wait_mounted()
    handle = kernel.name_to_handle(f"{first.mountpoint}/f")
    assert read_handle(first.mountpoint, handle) == b"a"
    with pytest.raises(OSError) as error:
        read_handle(second.mountpoint, handle)
    assert error.value.errno == errno.ESTALE


def test_a_stopped_thread_holds_up_no_unmount(new_mount, many):
    """While others change the source all the time, the program ends when it is told to."""
    mount = new_mount("passthroughfs", *many.options).wait_mounted()
    put(f"{mount.source}/f")

    def change(_link):
        while True:
            os.utime(f"{mount.source}/f")
            put(f"{mount.source}/g")
            os.unlink(f"{mount.source}/g")

    with Child(change):
        in_child(lambda: [os.path.exists(f"{mount.mountpoint}/g") for _ in range(1000)])
        mount.stop()
