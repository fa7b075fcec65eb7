# SPDX-License-Identifier: MIT
"""The command line of the three programs, where it is right."""

import errno
import os
import re
import stat
import subprocess

import pytest

from conftest import TMPFS, TMPFS_EXACT, needs_root
from harness import mounts
from harness.children import as_user


def run(program, *args):
    return subprocess.run(
        [mounts.executable(program), *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help(program, option):
    done = run(program, option)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("--help", "--version", "--debug", "--debug-fuse", "--single", "--daemon", "-o", "io_uring", program):
        assert word in done.stdout, word
    operands = "SOURCE MOUNTPOINT" if program == "passthroughfs" else "MOUNTPOINT"
    assert operands in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_help_lists_the_programs_own_options():
    help_of = {program: run(program, "--help").stdout for program in ("lltest", "tmpfs")}
    assert "--file" in help_of["lltest"] and "--name" in help_of["lltest"]
    for option in ("mode=", "uid=", "gid=", "size=", "nr_blocks=", "nr_inodes=", "data=", "no_writeback", "noswap"):
        assert option in help_of["tmpfs"]


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version(program, option):
    done = run(program, option)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"\d+\.\d+\.\d+", done.stdout)
    assert program in done.stdout


def full_output(program, *args):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [mounts.executable(program), *args],
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=20,
            check=False,
        )
    return done.returncode, done.stderr


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_what_cannot_be_written_is_a_failure(program, option):
    assert full_output(program, option) == (1, f"{program}: cannot write to standard output\n")


def test_what_llfusectl_cannot_write_is_a_failure(new_mount):
    mount = new_mount("tmpfs")
    for args in (["--help"], ["--version"], ["limits", mount.mountpoint]):
        assert full_output("llfusectl", *args) == (1, "llfusectl: cannot write to standard output\n"), args


def test_options_of_fstab_are_accepted(new_mount, program):
    mount = new_mount(program, "-o", "nofail,_netdev,noauto,x-systemd.automount,x-foo=bar,defaults")
    assert isinstance(os.listdir(mount.mountpoint), list)


def test_generic_mount_options_take_effect(new_mount, program):
    mount = new_mount(program, "-o", "noexec,nosuid", "-o", "nodev,noatime")
    options = mounts.mount_at(mount.mountpoint).options
    assert {"noexec", "nosuid", "nodev", "noatime"} <= set(options)


def test_options_of_libfuse_are_accepted(new_mount, program):
    mount = new_mount(program, "-f", "-s", "-o", "max_read=65536")
    assert "max_read=65536" in mounts.mount_at(mount.mountpoint).super_options


def test_options_may_follow_the_operands(new_mount, place, program):
    mountpoint, source = os.path.join(place, "mnt"), os.path.join(place, "source")
    os.mkdir(mountpoint)
    os.mkdir(source)
    operands = [source, mountpoint] if program == "passthroughfs" else [mountpoint]
    new_mount(program, mountpoint=mountpoint, operands=[*operands, "-o", "noexec"])
    assert "noexec" in mounts.mount_at(mountpoint).options


def test_a_read_only_mount_refuses_changes(new_mount, many):
    for program in ("tmpfs", "passthroughfs"):
        mount = new_mount(program, "-o", "ro", *many.options)
        path = os.path.join(mount.mountpoint, "f")
        create = os.O_CREAT | os.O_RDWR
        for call, *args in ((os.mkdir, path), (os.mknod, path), (os.open, path, create), (os.symlink, "x", path)):
            with pytest.raises(OSError) as error:
                call(*args)
            assert error.value.errno == errno.EROFS
        assert os.listdir(mount.mountpoint) == []


def test_mode_and_owner_of_the_root_of_tmpfs(new_mount):
    st = os.stat(new_mount("tmpfs").mountpoint)
    assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid) == (0o755, os.getuid(), os.getgid())
    st = os.stat(new_mount("tmpfs", "-o", "mode=1770,uid=12,gid=34").mountpoint)
    assert (stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid) == (0o1770, 12, 34)


@needs_root
def test_allow_other_lets_others_in(new_mount, program):
    mount = new_mount(program, "-o", "allow_other")
    assert isinstance(as_user(4001, os.listdir, mount.mountpoint), list)


@needs_root
def test_without_allow_other_they_stay_out(new_mount, program):
    mount = new_mount(program)
    with pytest.raises(PermissionError):
        as_user(4001, os.listdir, mount.mountpoint)


def test_two_dashes_end_the_options(new_mount, place, program):
    mountpoint = os.path.join(place, "-mnt")
    os.mkdir(mountpoint)
    os.mkdir(os.path.join(place, "-source"))
    operands = ["--", "-source", "-mnt"] if program == "passthroughfs" else ["--", "-mnt"]
    mount = new_mount(program, mountpoint=mountpoint, operands=operands, cwd=place)
    assert isinstance(os.listdir(mount.mountpoint), list)


@pytest.mark.parametrize("subject", [*TMPFS, TMPFS_EXACT], ids=repr)
def test_data_plane_is_told_in_the_log(new_mount, subject):
    if subject.why_not():
        pytest.skip(subject.why_not())
    mount = new_mount("tmpfs", "--debug", *subject.options)
    name = "kernel" if subject is TMPFS[0] else "heap"
    assert mount.wait_logged(rf"data: {name}(, writeback cache)? \(.*\)$")
    assert ("writeback" in mount.stderr()) == (subject is TMPFS[1])


@needs_root
def test_options_of_the_kernels_plane_are_passed_on(new_mount):
    if not mounts.can_passthrough():
        pytest.skip("the kernel's data plane needs root and passthrough")
    for option in ("huge=never", "mpol=local", "noswap", "huge=never,noswap,data=kernel"):
        mount = new_mount("tmpfs", "--debug", "-o", option)
        mount.wait_logged("data: kernel")
        with open(os.path.join(mount.mountpoint, "f"), "wb") as file:
            file.write(b"x")
