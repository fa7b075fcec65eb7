# SPDX-License-Identifier: MIT
"""Every bad input: one clear line, exit status 1 (2 for a usage error), nothing mounted, no hang."""

import os
import subprocess

import pytest

from conftest import needs_root
from harness import kernel, mounts
from harness.children import in_child
from harness.private import on_private_machine


def operands(program, place, mountpoint, source=None):
    """The program's operands, with a sound SOURCE unless @source is another."""
    if program != "passthroughfs":
        return [mountpoint]
    if source is None:
        source = os.path.join(place, "source")
        os.makedirs(source, exist_ok=True)
        os.chmod(source, 0o755)
    return [source, mountpoint]


def run(program, *args, executable=None, **kwargs):
    """Runs a program that is expected to end by itself; never waits for long."""
    mounted = mounts.mounts_of_ours()
    process = subprocess.Popen(
        [executable or mounts.executable(program), *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **kwargs,
    )
    try:
        stdout, stderr = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.terminate()
        try:
            _, stderr = process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            stderr = process.communicate()[1]
        raise mounts.Failed(f"{program} {' '.join(args)} is not refused: {stderr}") from None
    assert mounts.mounts_of_ours() == mounted
    return process.returncode, stdout, stderr


def assert_refused(program, result, status, *words):
    """One line, that begins with the program's name and says what is wrong."""
    returncode, stdout, stderr = result
    assert stdout == ""
    assert len(stderr.splitlines()) == 1, stderr[:2000]
    assert stderr.startswith(f"{program}: "), stderr[:2000]
    for word in words:
        assert word in stderr, stderr[:2000]
    assert returncode == status, stderr[:2000]


@pytest.fixture
def mountpoint(place):
    path = os.path.join(place, "mnt")
    os.mkdir(path)
    return path


def test_missing_mount_point(program, place):
    path = os.path.join(place, "missing")
    assert_refused(program, run(program, *operands(program, place, path)), 1, path, "No such file or directory")
    assert not os.path.exists(path)


def test_mount_point_below_a_missing_directory(program, place):
    path = os.path.join(place, "missing", "mnt")
    assert_refused(program, run(program, *operands(program, place, path)), 1, path)


def test_file_as_mount_point(program, place):
    path = os.path.join(place, "file")
    with open(path, "wb"):
        pass
    assert_refused(program, run(program, *operands(program, place, path)), 1, path, "Not a directory")


def test_mount_point_with_a_file_on_the_way(program, place):
    path = os.path.join(place, "file", "mnt")
    with open(os.path.join(place, "file"), "wb"):
        pass
    assert_refused(program, run(program, *operands(program, place, path)), 1, path, "Not a directory")


def test_empty_mount_point(program, place):
    result = run(program, *operands(program, place, ""))
    assert_refused(program, result, result[0])
    assert result[0] in (1, 2)


def test_dangling_symlink_as_mount_point(program, place):
    path = os.path.join(place, "link")
    os.symlink("nowhere", path)
    assert_refused(program, run(program, *operands(program, place, path)), 1, path)


def test_mount_point_too_long(program, place):
    path = os.path.join(place, "x" * 256)
    assert_refused(program, run(program, *operands(program, place, path)), 1, "File name too long")
    assert_refused(program, run(program, *operands(program, place, "x" * 5000)), 1)


def test_missing_source(place, mountpoint):
    source = os.path.join(place, "missing")
    assert_refused("passthroughfs", run("passthroughfs", source, mountpoint), 1, source, "No such file or directory")


def test_file_as_source(place, mountpoint):
    source = os.path.join(place, "file")
    with open(source, "wb"):
        pass
    assert_refused("passthroughfs", run("passthroughfs", source, mountpoint), 1, source, "Not a directory")


def test_empty_source(mountpoint):
    result = run("passthroughfs", "", mountpoint)
    assert_refused("passthroughfs", result, result[0])
    assert result[0] in (1, 2)


def test_fifo_as_source_is_not_waited_for(place, mountpoint):
    source = os.path.join(place, "fifo")
    os.mkfifo(source)
    assert_refused("passthroughfs", run("passthroughfs", source, mountpoint), 1, source)


@pytest.mark.parametrize("below", ["mnt", "deep/er/mnt", "."])
def test_mount_point_inside_the_source_never_hangs(place, many, below):
    """It works, without showing itself without end, or is refused with the reason."""
    source = os.path.join(place, "tree")
    mountpoint = os.path.normpath(os.path.join(source, below))
    os.makedirs(mountpoint)
    with open(os.path.join(source, "file"), "wb") as file:
        file.write(b"content")
    mount = mounts.Mount("passthroughfs", mountpoint, *many.options, source=source)
    try:
        if not mounts.wait_mounts(mount.is_mounted, pidfd=mount.pidfd):
            assert mount.wait() == 1
            assert len(mount.stderr().splitlines()) == 1
            assert mount.stderr().startswith("passthroughfs: ")
            return

        def look():
            seen = [os.path.relpath(path, mountpoint) for path, _dirs, _files in os.walk(mountpoint)]
            with open(os.path.join(mountpoint, "file"), "rb") as file:
                assert file.read() == b"content"
            os.statvfs(os.path.join(mountpoint, below))
            os.mkdir(os.path.join(mountpoint, "new"))
            os.rmdir(os.path.join(mountpoint, "new"))
            return seen

        assert len(in_child(look, timeout_s=30)) < 20
        mount.stop()
    except BaseException:
        mount.abandon()
        raise


@pytest.mark.parametrize("options", [["-o", "nosuch"], ["-o", "nosuch=5"], ["-o", "ro,nosuch,rw"]])
def test_unknown_mount_option(program, place, mountpoint, options):
    result = run(program, *options, *operands(program, place, mountpoint))
    assert_refused(program, result, 2, "nosuch")


@pytest.mark.parametrize("option", ["--nosuch", "--nosuch=5", "-Z"])
def test_unknown_option(program, place, mountpoint, option):
    result = run(program, option, *operands(program, place, mountpoint))
    assert_refused(program, result, 2, option.split("=")[0])


@pytest.mark.parametrize(
    "option",
    ["mode=9z", "mode=", "mode=17777", "mode=-1", "uid=x", "uid=", "uid=-1", "gid=5000000000", "gid=1x"]
    + ["size=", "size=x", "size=1q", "size=-1", "size=5%%", "size=20e", "size=99999999999999999999"]
    + ["data=", "data=disk", "data=Kernel", "huge=always,data=heap", "mpol=local,data=heap"]
    + ["nr_inodes=", "nr_inodes=x", "nr_inodes=50%", "nr_blocks=1.5", "nr_blocks=10,size=1m"],
)
def test_malformed_value(place, mountpoint, option):
    assert_refused("tmpfs", run("tmpfs", "-o", option, mountpoint), 2, option.split("=")[0])


@needs_root
@pytest.mark.parametrize("option", ["huge=sometimes", "mpol=nonsense"])
def test_value_that_the_kernels_tmpfs_refuses(place, mountpoint, option):
    if not mounts.can_passthrough():
        pytest.skip("the kernel's data plane needs root and passthrough")
    assert_refused("tmpfs", run("tmpfs", "-o", option, mountpoint), 1, "data=kernel")


@needs_root
def test_data_plane_that_needs_privilege(work):
    """Asked for by an ordinary user, it is refused before anything is mounted; unasked, the other one is taken."""

    def look(machine):
        machine.set_dev_fuse(0o666)
        mountpoint = machine.user_directory("mnt")
        refused = run(
            "tmpfs", "-o", "data=kernel", mountpoint, executable=machine.executable("tmpfs"), **machine.as_user()
        )
        with machine.mount("tmpfs", mountpoint, "--debug") as mount:
            mount.wait_logged("data: heap")
        return refused

    assert_refused("tmpfs", on_private_machine(work, look), 1, "data=kernel", "CAP_SYS_ADMIN")


def test_option_of_the_other_data_plane(mountpoint):
    assert_refused("tmpfs", run("tmpfs", "-o", "noswap,data=heap", mountpoint), 2, "noswap", "data=kernel")


@pytest.mark.parametrize("options", [["max_read=x"], ["rootmode=x"]])
def test_malformed_value_of_a_generic_option(program, place, mountpoint, options):
    result = run(program, "-o", *options, *operands(program, place, mountpoint))
    assert_refused(program, result, result[0])
    assert result[0] in (1, 2)


@pytest.mark.parametrize("option", ["--file", "--name"])
def test_option_without_its_value(mountpoint, option):
    assert_refused("lltest", run("lltest", mountpoint, option), 2, option)


def test_mount_option_without_its_value(program, place, mountpoint):
    assert_refused(program, run(program, *operands(program, place, mountpoint), "-o"), 2, "-o")


def test_flag_with_a_value(program, place, mountpoint):
    result = run(program, "--debug=yes", *operands(program, place, mountpoint))
    assert_refused(program, result, 2, "--debug")


def test_lltest_file_that_cannot_be_read(place, mountpoint):
    for path in (os.path.join(place, "missing"), place):
        assert_refused("lltest", run("lltest", "--file", path, mountpoint), 1, path)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "n" * 256])
def test_lltest_name_that_is_none(mountpoint, name):
    result = run("lltest", "--name", name, mountpoint)
    assert_refused("lltest", result, result[0])
    assert result[0] in (1, 2)


def test_missing_operand(program):
    assert_refused(program, run(program), 2)


def test_missing_mount_point_operand(place):
    assert_refused("passthroughfs", run("passthroughfs", place), 2)


def test_extra_operand(program, place, mountpoint):
    assert_refused(program, run(program, *operands(program, place, mountpoint), "extra"), 2, "extra")


def test_contradicting_transports(program, place, mountpoint):
    """The last one counts, or it is a usage error; never both lines of a guess."""
    command = ["-o", "io_uring,no_io_uring", *operands(program, place, mountpoint)]
    mount = mounts.Mount(program, mountpoint, operands=command)
    try:
        if mounts.wait_mounts(mount.is_mounted, pidfd=mount.pidfd):
            mount.stop()
        else:
            assert mount.wait() == 2
    finally:
        mount.abandon()


@needs_root
def test_no_dev_fuse(program, work):
    def there(machine):
        machine.set_dev_fuse(None)
        mountpoint = machine.user_directory("mnt")
        return run(program, *operands(program, machine.place, mountpoint))

    assert_refused(program, on_private_machine(work, there), 1, "/dev/fuse")


@needs_root
def test_no_dev_fuse_for_an_ordinary_user(program, work):
    def there(machine):
        machine.set_dev_fuse(None)
        mountpoint = machine.user_directory("mnt")
        return run(
            program,
            *operands(program, machine.place, mountpoint),
            executable=machine.executable(program),
            **machine.as_user(),
        )

    assert_refused(program, on_private_machine(work, there), 1)


@needs_root
def test_no_permission_for_dev_fuse(program, work):
    def there(machine):
        machine.set_dev_fuse(0o600)
        mountpoint = machine.user_directory("mnt")
        return run(
            program,
            *operands(program, machine.place, mountpoint),
            executable=machine.executable(program),
            **machine.as_user(),
        )

    assert_refused(program, on_private_machine(work, there), 1, "ermission")


@needs_root
def test_mount_point_of_somebody_else(program, work):
    def there(machine):
        machine.set_dev_fuse(0o666)
        mountpoint = os.path.join(machine.place, "roots")
        os.mkdir(mountpoint, 0o755)
        result = run(
            program,
            *operands(program, machine.place, mountpoint),
            executable=machine.executable(program),
            **machine.as_user(),
        )
        return result

    assert_refused(program, on_private_machine(work, there), 1)


@needs_root
def test_mount_point_that_cannot_be_reached(program, work):
    def there(machine):
        machine.set_dev_fuse(0o666)
        closed = os.path.join(machine.place, "closed")
        os.mkdir(closed, 0o700)
        os.mkdir(os.path.join(closed, "mnt"))
        result = run(
            program,
            *operands(program, machine.place, os.path.join(closed, "mnt")),
            executable=machine.executable(program),
            **machine.as_user(),
        )
        return result

    assert_refused(program, on_private_machine(work, there), 1, "closed/mnt", "Permission denied")


@needs_root
def test_allow_other_that_an_ordinary_user_may_not_have(program, work):
    def there(machine):
        machine.set_dev_fuse(0o666)
        conf = os.path.join(machine.place, "fuse.conf")
        with open(conf, "w", encoding="ascii"):
            pass
        os.chmod(conf, 0o644)
        if os.path.exists("/etc/fuse.conf"):
            kernel.mount(conf, "/etc/fuse.conf", None, kernel.MS_BIND)
        mountpoint = machine.user_directory("mnt")
        return run(
            program,
            "-o",
            "allow_other",
            *operands(program, machine.place, mountpoint),
            executable=machine.executable(program),
            **machine.as_user(),
        )

    assert_refused(program, on_private_machine(work, there), 1, "allow_other")


@needs_root
def test_fusermount3_missing(program, work):
    def there(machine):
        machine.set_dev_fuse(0o666)
        mountpoint = machine.user_directory("mnt")
        args = operands(program, machine.place, mountpoint)
        machine.hide("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin")
        user = machine.as_user()
        return run(program, *args, executable=machine.executable(program), env={"PATH": "/usr/bin"}, **user)

    assert_refused(program, on_private_machine(work, there), 1, "fusermount3")


@needs_root
@pytest.mark.parametrize("mode", [0o000, 0o700])
def test_unreadable_source(work, mode):

    def there(machine):
        machine.set_dev_fuse(0o666)
        source = os.path.join(machine.place, "unreadable")
        os.mkdir(source)
        os.chmod(source, mode)
        mountpoint = machine.user_directory("mnt")
        return run(
            "passthroughfs",
            source,
            mountpoint,
            executable=machine.executable("passthroughfs"),
            **machine.as_user(),
        )

    assert_refused("passthroughfs", on_private_machine(work, there), 1, "unreadable", "Permission denied")
