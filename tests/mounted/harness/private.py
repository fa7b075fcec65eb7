# SPDX-License-Identifier: MIT
"""
A machine as a test needs it: an ordinary user, another /dev, a program missing.  Everything happens
in a mount namespace of its own, so that the real machine never changes.
"""

import os
import stat
import tempfile

from harness import kernel, mounts
from harness.children import in_private_mounts

USER = 65534


def on_private_machine(work, function, *args, timeout_s=90):
    """Runs @function(machine, *args) there, as root, in a child, and returns its result."""
    return in_private_mounts(lambda: function(PrivateMachine(work), *args), timeout_s=timeout_s)


class PrivateMachine:
    """Lives in the child; its changes end with the child."""

    def __init__(self, work):
        self._work = work
        self.place = tempfile.mkdtemp(prefix="private-", dir=work)
        os.chmod(self.place, 0o755)
        # Where everybody can reach it: the build may lie in somebody's home directory.
        self._programs = self._directory("programs")
        kernel.mount(mounts.build_dir(), self._programs, None, kernel.MS_BIND)

    def _directory(self, name):
        path = os.path.join(self.place, name)
        os.mkdir(path)
        os.chmod(path, 0o755)
        return path

    def user_directory(self, name):
        """A directory of the ordinary user."""
        path = self._directory(name)
        os.chown(path, USER, USER)
        return path

    def set_dev_fuse(self, mode):
        """/dev holds the harmless devices, and fuse with @mode, or none if that is None."""
        dev = self._directory("dev")
        kernel.mount("dev", dev, "tmpfs", 0, "mode=755")
        nodes = [("null", 0o666, 1, 3), ("zero", 0o666, 1, 5), ("urandom", 0o666, 1, 9)]
        if mode is not None:
            nodes.append(("fuse", mode, 10, 229))
        for name, node_mode, major, minor in nodes:
            path = os.path.join(dev, name)
            os.mknod(path, stat.S_IFCHR | node_mode, os.makedev(major, minor))
            os.chmod(path, node_mode)
        kernel.mount(dev, "/dev", None, kernel.MS_BIND)

    def hide(self, *directories):
        """Makes @directories empty, to hide the programs in them."""
        empty = self._directory("empty")
        for path in directories:
            if os.path.isdir(path) and not os.path.islink(path):
                kernel.mount(empty, path, None, kernel.MS_BIND)

    def executable(self, program):
        return os.path.join(self._programs, program)

    def as_user(self):
        """Keywords for subprocess.Popen: the ordinary user, without any group more."""
        return {"user": USER, "group": USER, "extra_groups": []}

    def mount(self, program, mountpoint, *options, **kwargs):
        """As mounts.Mount, by the ordinary user."""
        return mounts.Mount(
            program, mountpoint, *options, executable=self.executable(program), **self.as_user(), **kwargs
        )
