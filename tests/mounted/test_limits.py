# SPDX-License-Identifier: MIT
"""How much a tmpfs may take: bytes and inodes, at their borders, and changed while it is mounted."""

import errno
import os
import subprocess
import time

import pytest

from conftest import needs_root
from harness import kernel, mounts
from harness.children import as_user

KIB = 1 << 10
MIB = 1 << 20
CHUNK = 64 * KIB


def write_through(fd, data):
    """Writes until the file system has it, so that an error comes here."""
    done = os.write(fd, data)
    os.fsync(fd)
    return done


def fill(path, chunk=CHUNK):
    """Writes to the file until there is no room.  Returns how many bytes were taken."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    total = 0
    try:
        while True:
            total += write_through(fd, b"x" * chunk)
    except OSError as err:
        assert err.errno == errno.ENOSPC
        return total
    finally:
        try:
            os.close(fd)
        except OSError as err:
            assert err.errno == errno.ENOSPC


def fill_directory(path, prefix=""):
    """Makes files until there is no room.  Returns their names."""
    names = []
    while True:
        name = f"{prefix}{len(names):08}"
        try:
            os.mknod(os.path.join(path, name))
        except OSError as err:
            assert err.errno == errno.ENOSPC
            return names
        names.append(name)


def df(path):
    st = os.statvfs(path)
    return st.f_blocks * st.f_frsize, st.f_bfree * st.f_frsize, st.f_files, st.f_ffree


def llfusectl(*args, **kwargs):
    return subprocess.run(
        [mounts.executable("llfusectl"), *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        **kwargs,
    )


def limits_of(path):
    done = llfusectl("limits", path)
    assert (done.returncode, done.stderr) == (0, "")
    seen = dict(line.split("=") for line in done.stdout.splitlines())
    return {key: value if key == "data" else int(value) for key, value in seen.items()}


def assert_refused(done, status, *words):
    assert done.returncode == status
    assert done.stderr.startswith("llfusectl: ") and done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr
    assert done.stdout == ""


# ---------------------------------------------------------------------------
# At the borders


@pytest.mark.parametrize("size", [256 * KIB, 1 * MIB, 16 * MIB])
def test_bytes_up_to_the_size(limited, size):
    path = limited(f"size={size}")
    total, free, _, _ = df(path)
    assert total == size
    assert free > size - 16 * KIB - size // 500
    taken = fill(path + "/f")
    assert size - 2 * CHUNK - size // 64 <= taken <= size
    assert df(path)[1] <= CHUNK + size // 64
    with open(path + "/f", "rb") as file:
        data = file.read(taken)
    assert data == b"x" * taken


def test_names_that_took_all_give_it_back(limited):
    path = limited("size=256k")
    made = fill_directory(path)
    for name in made:
        os.unlink(os.path.join(path, name))
    assert fill(os.path.join(path, "data")) > 150 * KIB


def test_create_that_finds_no_room_leaves_nothing(limited):
    """Also where the name is what does not fit any more."""
    path = limited("size=256k")
    before = df(path)[3]
    made = fill_directory(path)
    for name in made[:20]:
        os.unlink(os.path.join(path, name))
        try:
            fd = os.open(os.path.join(path, name.ljust(255, "x")), os.O_CREAT | os.O_WRONLY)
        except OSError as err:
            assert err.errno == errno.ENOSPC
        else:
            os.close(fd)
    for name in os.listdir(path):
        os.unlink(os.path.join(path, name))
    assert df(path)[3] == before


def test_map_of_an_unlinked_file_counts(limited):
    path = limited("size=64m")
    size = 30 * MIB
    with open(os.path.join(path, "f"), "w+b") as file:
        file.truncate(size)
        view = kernel.SharedMap(file.fileno(), size)
    with open(os.path.join(path, "f"), "rb") as file:
        os.unlink(file.name)
        for at in range(0, size, MIB):
            view[at : at + MIB] = b"x" * MIB
        os.utime(file.fileno())
    view.close()
    assert 60 * MIB < fill(os.path.join(path, "big")) <= 64 * MIB


def test_write_takes_what_there_is(limited):
    if not limited.is_exact:
        pytest.skip("the kernel takes the bytes before we see them")
    path = limited("size=1m")
    fd = os.open(path + "/f", os.O_WRONLY | os.O_CREAT, 0o644)
    taken = os.write(fd, b"x" * (2 * MIB))
    assert MIB - 2 * CHUNK <= taken <= MIB
    with pytest.raises(OSError) as full:
        os.write(fd, b"x")
    assert full.value.errno == errno.ENOSPC
    assert os.fstat(fd).st_size == taken
    os.close(fd)


def fill_if_there_is_room(path):
    """As fill(); 0 where there is none for a name either."""
    try:
        return fill(path)
    except OSError as err:
        assert err.errno == errno.ENOSPC
        return 0


def test_removing_makes_room_at_once(limited):
    """Or when the kernel has let go of the one before.  Who writes meanwhile may get the room of that as well."""
    path = limited("size=4m")
    first = fill(path + "/f")
    for _ in range(20):
        os.unlink(path + "/f")
        deadline = time.monotonic() + mounts.TIMEOUT_S
        while (again := fill_if_there_is_room(path + "/f")) < first - CHUNK:
            assert time.monotonic() < deadline
        assert again <= 2 * first
    os.truncate(path + "/f", 0)
    assert first - CHUNK <= fill(path + "/g") <= 2 * first


def test_truncating_to_less_makes_room(limited):
    path = limited("size=4m")
    taken = fill(path + "/f")
    os.truncate(path + "/f", taken // 2)
    assert taken // 2 - 2 * CHUNK <= fill(path + "/g") <= taken // 2 + CHUNK


def test_what_is_there_can_be_overwritten_when_full(limited):
    path = limited("size=1m")
    taken = fill(path + "/f")
    with open(path + "/f", "r+b", buffering=0) as file:
        for at in range(0, taken - 4096, 50_000):
            os.pwrite(file.fileno(), b"y" * 4096, at)
        os.fsync(file.fileno())
        assert os.pread(file.fileno(), 4096, 50_000) == b"y" * 4096


def test_who_writes_without_end_is_stopped(limited):
    """Also where the kernel takes the bytes before we see them."""
    path = limited("size=1m")
    fd = os.open(path + "/f", os.O_WRONLY | os.O_CREAT, 0o644)
    with pytest.raises(OSError) as full:
        for _ in range(200_000):
            os.write(fd, b"x" * CHUNK)
    assert full.value.errno == errno.ENOSPC
    try:
        os.close(fd)
    except OSError as err:
        assert err.errno == errno.ENOSPC
    # It is over when there is room again.
    os.unlink(path + "/f")
    with open(path + "/g", "wb", buffering=0) as file:
        assert write_through(file.fileno(), b"x" * 100_000) == 100_000


def test_names_count(limited):
    """A million empty files are not for free, as they are in the kernel's tmpfs."""
    path = limited("size=1m,nr_inodes=0")
    names = fill_directory(path)
    assert MIB // 260 < len(names) < MIB // 150
    assert df(path)[1] <= 16 * KIB
    for name in names[::2]:
        os.unlink(os.path.join(path, name))
    assert len(fill_directory(path, "again")) >= len(names) // 2 - 20


def test_long_names_and_targets_count(limited):
    path = limited("size=1m,nr_inodes=0")
    for number in range(100_000):
        try:
            os.symlink("t" * 4000, f"{path}/{number:05}{'n' * 240}")
        except OSError as err:
            assert err.errno == errno.ENOSPC
            break
    assert MIB // 4700 < number < MIB // 4200


def test_inodes_up_to_their_number(limited):
    path = limited("nr_inodes=50")
    assert df(path)[2:] == (50, 49)
    names = fill_directory(path)
    assert len(names) == 49
    assert df(path)[2:] == (50, 0)
    for make in (os.mkdir, os.mkfifo, lambda p: os.symlink("x", p)):
        with pytest.raises(OSError) as full:
            make(path + "/more")
        assert full.value.errno == errno.ENOSPC
    os.link(os.path.join(path, names[0]), path + "/link")
    for name in (names[1], names[2]):
        os.unlink(os.path.join(path, name))
    os.mkdir(path + "/more")


def test_fallocate_takes_all_or_nothing(limited):
    path = limited("size=4m")
    with open(path + "/f", "wb", buffering=0) as file:
        os.posix_fallocate(file.fileno(), 0, 2 * MIB)
        free = df(path)[1]
        with pytest.raises(OSError) as full:
            os.posix_fallocate(file.fileno(), 0, 5 * MIB)
        assert full.value.errno == errno.ENOSPC
        assert abs(df(path)[1] - free) <= 8 * KIB
        assert os.fstat(file.fileno()).st_size == 2 * MIB


def test_holes_are_free(limited):
    path = limited("size=1m")
    for number in range(10):
        with open(f"{path}/f{number}", "wb") as file:
            file.truncate(1 << 40)
    assert df(path)[1] > MIB - 64 * KIB


def test_percent_of_the_memory(limited):
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert abs(df(limited("size=10%"))[0] - ram // 10) < 8192


def test_default_is_half_of_the_memory(limited):
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    total, _, files, _ = df(limited("rw"))
    assert abs(total - ram // 2) < 8192
    assert files == ram // 2 // 4096


def test_no_limit(limited):
    path = limited("size=0,nr_inodes=0")
    assert df(path) == (0, 0, 0, 0)  # as the kernel's tmpfs
    with open(path + "/f", "wb") as file:
        file.write(b"x" * MIB)
    assert os.stat(path + "/f").st_size == MIB


def test_blocks_option(limited):
    assert df(limited("nr_blocks=1k"))[0] == 4 * MIB


# ---------------------------------------------------------------------------
# Changed while mounted


def test_limits_of_a_live_mount_are_shown(limited):
    path = limited("size=1m,nr_inodes=100")
    os.mknod(path + "/f")
    seen = limits_of(path)
    assert (seen["size"], seen["nr_inodes"], seen["nr_inodes_used"]) == (MIB, 100, 2)
    assert 0 < seen["size_used"] < 100_000
    assert seen["data"] == limited.data
    assert limits_of(limited("size=0,nr_inodes=0"))["size"] == 0


def test_limits_of_a_live_mount_are_changed(limited):
    path = limited("size=1m,nr_inodes=10")
    fill(path + "/f")
    done = llfusectl("limits", path, "size=4m", "nr_inodes=20")
    assert (done.returncode, done.stderr) == (0, "")
    assert (limits_of(path)["size"], limits_of(path)["nr_inodes"]) == (4 * MIB, 20)
    assert df(path)[0] == 4 * MIB
    more = fill(path + "/g")
    assert 3 * MIB - 3 * CHUNK <= more <= 3 * MIB + CHUNK
    assert len(fill_directory(path)) == 0 or df(path)[3] > 0
    os.unlink(path + "/g")
    assert llfusectl("limits", path, "size=2m").returncode == 0
    assert fill(path + "/g") <= MIB + CHUNK
    assert llfusectl("limits", path, "size=0", "nr_inodes=0").returncode == 0
    with open(path + "/h", "wb") as file:
        file.write(b"x" * (4 * MIB))


def test_limits_are_not_changed_below_what_is_used(limited):
    path = limited("size=4m,nr_inodes=10")
    with open(path + "/f", "wb") as file:
        file.write(b"x" * (2 * MIB))
    before = limits_of(path)
    assert_refused(llfusectl("limits", path, "size=1m"), 1, path, "in use")
    assert_refused(llfusectl("limits", path, "nr_inodes=1", "size=8m"), 1, path, "in use")
    assert limits_of(path) == before
    with open(path + "/f", "rb") as file:
        assert file.read() == b"x" * (2 * MIB)


@needs_root
def test_limits_are_changed_by_root_and_who_mounted_only(limited):
    path = limited("size=4m", "-o", "allow_other")

    def other_user():
        return [llfusectl("limits", path, *words).returncode for words in ([], ["size=8m"])]

    assert as_user(1234, other_user) == [0, 1]
    assert limits_of(path)["size"] == 4 * MIB


def test_llfusectl_says_what_is_wrong(limited, place):
    path = limited("size=1m")
    open(path + "/f", "wb").close()
    os.mkdir(path + "/d")
    assert_refused(llfusectl("limits", path, "size=1q"), 2, "size=1q")
    assert_refused(llfusectl("limits", path, "nr_inodes=50%"), 2, "nr_inodes=50%")
    assert_refused(llfusectl("limits", path, "mode=7"), 2, "mode=7")
    assert_refused(llfusectl("limits"), 2, "MOUNTPOINT")
    assert_refused(llfusectl(), 2, "COMMAND")
    assert_refused(llfusectl("nonsense", path), 2, "nonsense")
    assert_refused(llfusectl("limits", path + "/none"), 1, path + "/none", "No such file")
    assert_refused(llfusectl("limits", path + "/f"), 1, path + "/f")
    assert_refused(llfusectl("limits", path + "/d"), 1, path + "/d", "tmpfs")
    assert_refused(llfusectl("limits", place), 1, place, "tmpfs")
    help_ = llfusectl("--help")
    assert help_.returncode == 0 and "limits" in help_.stdout
    version = llfusectl("--version")
    assert version.returncode == 0 and version.stdout.startswith("llfusectl ")
