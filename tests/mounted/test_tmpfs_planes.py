# SPDX-License-Identifier: MIT
"""Where bytes of files on tmpfs lie: which plane is taken with which privilege, and with few descriptors."""

import os
import resource

import pytest

from conftest import TMPFS, needs_root
from harness import kernel, mounts
from harness.private import on_private_machine
from test_bad_input import assert_refused, run

pytestmark = needs_root

MIB = 1 << 20
DESCRIPTORS = 48 + 8 * os.cpu_count()  # a ring for each processor takes some


def use(path):
    data = os.urandom(300_000)
    with open(path + "/f", "wb") as file:
        file.write(data)
    with open(path + "/f", "rb") as file:
        assert file.read() == data


@pytest.mark.parametrize("options", [[], ["-o", "data=auto"]])
def test_with_privilege_it_is_the_kernels(new_mount, options):
    if not mounts.can_passthrough():
        pytest.skip("the kernel's data plane needs root and passthrough")
    mount = new_mount("tmpfs", "--debug", *options)
    mount.wait_logged(r"data: kernel \(passthrough to a private tmpfs\)$")
    use(mount.mountpoint)
    assert "heap" not in mount.stderr()


def test_root_of_a_user_namespace_is_without_privilege(work):
    """It may mount, but the kernel would not take its backing files."""

    def there(machine):
        machine.set_dev_fuse(0o666)
        mountpoint = machine.user_directory("mnt")
        os.chown(mountpoint, 0, 0)
        try:
            kernel.user_namespace()
        except OSError as err:
            return err.strerror
        refused = run("tmpfs", "-o", "data=kernel", mountpoint)
        assert_refused("tmpfs", refused, 1, "data=kernel", "CAP_SYS_ADMIN")
        for options in ([], ["-o", "data=auto"]):
            with mounts.Mount("tmpfs", mountpoint, "--debug", *options) as mount:
                mount.wait_logged("data: heap, writeback cache")
                use(mountpoint)
        return None

    why_not = on_private_machine(work, there)
    if why_not:
        pytest.skip(f"no user namespace: {why_not}")


@pytest.mark.parametrize("option", ["data=kernel", "huge=never", "mpol=local", "noswap"])
def test_root_without_the_capability_is_refused(place, option):
    """Also by an option that only the kernel's plane has."""

    def before():
        kernel.drop_capability_for_good(kernel.CAP_SYS_ADMIN)
        mounts.before_exec()

    refused = run("tmpfs", "-o", option, place, preexec_fn=before)
    assert_refused("tmpfs", refused, 1, "data=kernel", "CAP_SYS_ADMIN")


# --- Few descriptors --------------------------------------------------------------------------


@pytest.fixture(params=TMPFS, ids=repr)
def few(request, new_mount, many):
    """A tmpfs that may have DESCRIPTORS only."""
    if request.param.why_not():
        pytest.skip(request.param.why_not())

    def before():
        mounts.before_exec()
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))

    mount = new_mount("tmpfs", *many.options, *request.param.options, preexec_fn=before)
    yield mount
    assert mount.descriptors() <= DESCRIPTORS
    assert mount.stderr() == ""


def content(number, version=0):
    return b"%d of %d " % (version, number) * (1 + number % 700)


def test_more_open_files_than_descriptors(few):
    """Each stays readable and writable, also without its name."""
    count = min(5 * DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100)
    assert count > DESCRIPTORS
    opened = []
    try:
        for number in range(count):
            fd = os.open(f"{few.mountpoint}/f{number}", os.O_RDWR | os.O_CREAT)
            opened.append(fd)
            assert os.write(fd, content(number)) == len(content(number))
        for number in range(0, count, 3):
            os.unlink(f"{few.mountpoint}/f{number}")
        for number in reversed(range(count)):
            assert os.pread(opened[number], MIB, 0) == content(number)
            os.ftruncate(opened[number], 0)
            os.pwrite(opened[number], content(number, 1), 0)
        for number, fd in enumerate(opened):
            assert os.fstat(fd).st_size == len(content(number, 1))
            assert os.fstat(fd).st_nlink == (number % 3 != 0)
            assert os.pread(fd, MIB, 0) == content(number, 1)
    finally:
        for fd in opened:
            os.close(fd)
    for number in range(count):
        if number % 3:
            with open(f"{few.mountpoint}/f{number}", "rb") as file:
                assert file.read() == content(number, 1)


def test_more_files_than_descriptors(few):
    """Files that were closed, that are truncated and copied by their names, and that another opens meanwhile."""
    count = 6 * DESCRIPTORS
    path = [f"{few.mountpoint}/f{number}" for number in range(count)]
    for number in range(count):
        with open(path[number], "wb") as file:
            file.write(content(number))
    held = [os.open(path[number], os.O_RDONLY) for number in range(0, count, 5)]
    for number in range(0, count, 2):
        os.truncate(path[number], 5)
    for number in range(1, count, 2):
        with open(path[number], "r+b", buffering=0) as file, open(path[number - 1], "r+b", buffering=0) as target:
            assert os.copy_file_range(file.fileno(), target.fileno(), 100, 0, 2) == min(100, len(content(number)))
    for number in range(0, count, 2):
        with open(path[number], "rb") as file:
            assert file.read() == content(number)[:2] + content(number + 1)[:100]
    for at, fd in enumerate(held):
        assert os.fstat(fd).st_size == os.stat(path[5 * at]).st_size
        os.close(fd)
