# SPDX-License-Identifier: MIT
"""The programs as an ordinary user runs them: mounted by fusermount3, acting with that user's rights."""

import os
import signal
import subprocess

import pytest

from conftest import needs_root
from harness import mounts
from harness.children import as_user
from harness.private import USER, on_private_machine

pytestmark = [
    needs_root,
    pytest.mark.skipif(
        subprocess.run(["sh", "-c", "command -v fusermount3"], stdout=subprocess.DEVNULL, check=False).returncode != 0,
        reason="fusermount3 is not installed",
    ),
]


def mount_as_user(machine, program, *options):
    machine.set_dev_fuse(0o666)
    source = machine.user_directory("source") if program == "passthroughfs" else None
    return machine.mount(program, machine.user_directory("mnt"), *options, source=source)


@pytest.mark.parametrize("how", [signal.SIGTERM, "fusermount3 -u"])
def test_mounts_works_and_ends(work, program, many, how):
    def there(machine):
        with mount_as_user(machine, program, *many.options) as mount:

            def use():
                if program == "lltest":
                    return os.listdir(mount.mountpoint)
                path = os.path.join(mount.mountpoint, "f")
                with open(path, "wb") as file:
                    file.write(b"x" * 100_000)
                os.rename(path, path + "2")
                os.mkdir(path)
                st = os.stat(path + "2")
                return [st.st_uid, st.st_gid, st.st_size, sorted(os.listdir(mount.mountpoint))]

            expected = ["message"] if program == "lltest" else [USER, USER, 100_000, ["f", "f2"]]
            assert as_user(USER, use) == expected
            assert mounts.mount_at(mount.mountpoint).fstype == f"fuse.{program}"
            assert {"nosuid", "nodev"} <= set(mounts.mount_at(mount.mountpoint).options)
            if how == signal.SIGTERM:
                mount.stop(how)
            else:
                done = subprocess.run(
                    ["fusermount3", "-u", mount.mountpoint],
                    **machine.as_user(),
                    capture_output=True,
                    text=True,
                    timeout=20,
                    check=False,
                )
                assert (done.returncode, done.stderr) == (0, "")
                assert mount.wait() == 0
            assert mounts.mount_at(mount.mountpoint) is None
            said = mount.stderr().splitlines()
            # Only the privileged are told what others change.
            assert [line for line in said if "the source cannot be watched (Operation not permitted)" not in line] == []
            assert len(said) == (program == "passthroughfs")

    on_private_machine(work, there)


def test_passthroughfs_has_no_more_rights_than_its_user(work, many):
    def there(machine):
        with mount_as_user(machine, "passthroughfs", *many.options) as mount:
            secret = os.path.join(mount.source, "secret")
            with open(secret, "wb") as file:
                file.write(b"root's")
            os.chmod(secret, 0o600)
            foreign = os.path.join(mount.source, "foreign")
            os.mkdir(foreign)

            def use():
                names = []
                for call in (
                    lambda: open(os.path.join(mount.mountpoint, "secret"), "rb"),
                    lambda: os.mkdir(os.path.join(mount.mountpoint, "foreign", "x")),
                    lambda: os.chown(os.path.join(mount.mountpoint, "foreign"), USER, -1),
                ):
                    try:
                        call()
                    except PermissionError:
                        names.append("refused")
                os.mkdir(os.path.join(mount.mountpoint, "own"))
                for number in range(300):
                    with open(os.path.join(mount.mountpoint, "own", f"f{number}"), "wb") as file:
                        file.write(b"x")
                return names, len(os.listdir(os.path.join(mount.mountpoint, "own")))

            assert as_user(USER, use) == (["refused"] * 3, 300)
            assert os.stat(os.path.join(mount.source, "own", "f7")).st_uid == USER

    on_private_machine(work, there)


def test_other_users_stay_out(work, program):
    def there(machine):
        with mount_as_user(machine, program) as mount:
            for uid in (4001, 0):
                with pytest.raises(PermissionError):
                    as_user(uid, os.listdir, mount.mountpoint) if uid else os.listdir(mount.mountpoint)

    on_private_machine(work, there)


def test_in_the_background(work, program):
    def there(machine):
        machine.set_dev_fuse(0o666)
        source = machine.user_directory("source")
        mountpoint = machine.user_directory("mnt")
        operands = [source, mountpoint] if program == "passthroughfs" else [mountpoint]
        done = subprocess.run(
            [machine.executable(program), "--daemon", *operands],
            **machine.as_user(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert mounts.mount_at(mountpoint) is not None
        assert isinstance(as_user(USER, os.listdir, mountpoint), list)
        done = subprocess.run(["fusermount3", "-u", mountpoint], **machine.as_user(), timeout=20, check=False)
        assert done.returncode == 0
        assert mounts.mount_at(mountpoint) is None

    on_private_machine(work, there)
