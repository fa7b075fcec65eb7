# SPDX-License-Identifier: MIT
"""`make run`: mounts, waits in the foreground, and leaves nothing behind."""

import contextlib
import os
import shutil
import signal
import subprocess

import pytest

from conftest import TOP, children
from harness import kernel, mounts

NAMES = ("lltest", "tmpfs", "passthroughfs")


class Run:
    """The command in a session of its own, its output in files."""

    def __init__(self, place, command, **environment):
        self.before = set(children())
        self.output = os.path.join(place, "output")
        env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**env, **environment},
                start_new_session=True,
                preexec_fn=mounts.before_exec,
            )
        self.pidfd = os.pidfd_open(self.process.pid)

    def text(self):
        with open(self.output, encoding="utf-8") as file:
            return file.read()

    def wait_mounted(self, *mountpoints, timeout_s=mounts.TIMEOUT_S):
        def mounted():
            return all(mounts.mount_at(path) for path in mountpoints)

        assert mounts.wait_mounts(mounted, timeout_s, self.pidfd), self.text()

    def wait(self):
        assert kernel.wait_readable(mounts.TIMEOUT_S, self.pidfd), self.text()
        return self.process.wait()

    def wait_for_orphans(self):
        """Waits for the processes that outlive the command."""
        for pid in set(children()) - self.before:
            pidfd = os.pidfd_open(pid)
            assert kernel.wait_readable(mounts.TIMEOUT_S, pidfd), "a process stays behind"
            os.close(pidfd)
            os.waitpid(pid, 0)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.pidfd)


@pytest.fixture
def tree(place):
    """A tree with nothing but the script, so that no other run/ is disturbed."""
    os.mkdir(os.path.join(place, "scripts"))
    shutil.copy(os.path.join(TOP, "scripts", "run"), os.path.join(place, "scripts", "run"))
    return place


def run_script(tree, **environment):
    script = os.path.join(tree, "scripts", "run")
    return Run(tree, [script], LLFUSE_BUILD=os.path.abspath(mounts.build_dir()), **environment)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_all_three_and_nothing_behind(tree, how):
    mountpoints = [os.path.join(tree, "run", name) for name in NAMES]
    with run_script(tree) as run:
        run.wait_mounted(*mountpoints)
        with open(os.path.join(mountpoints[0], "message"), "rb") as file:
            assert file.read() == b"hello world\n"
        with open(os.path.join(mountpoints[1], "f"), "wb") as file:
            file.write(b"x")
        shown = sorted(os.listdir(mountpoints[2]))
        assert shown == sorted(os.listdir(os.path.join(tree, "run", "source"))) != []
        os.killpg(run.process.pid, how)
        assert run.wait() == 0, run.text()
        run.wait_for_orphans()
        for mountpoint in mountpoints:
            assert mountpoint in run.text() or os.path.relpath(mountpoint, tree) in run.text()
    assert [mounts.mount_at(mountpoint) for mountpoint in mountpoints] == [None] * 3
    assert not os.path.exists(os.path.join(tree, "run"))


def test_one_on_a_given_mount_point(tree):
    mountpoint = os.path.join(tree, "elsewhere")
    with run_script(tree, FS="tmpfs", MOUNTPOINT=mountpoint) as run:
        run.wait_mounted(mountpoint)
        assert mounts.mount_at(mountpoint).fstype == "fuse.tmpfs"
        run.process.terminate()
        assert run.wait() == 0
        run.wait_for_orphans()
    assert mounts.mount_at(mountpoint) is None
    assert not os.path.exists(os.path.join(tree, "run"))


def test_a_given_source_is_shown_and_kept(tree):
    source = os.path.join(tree, "given source")
    os.mkdir(source)
    with open(os.path.join(source, "f"), "wb"):
        pass
    mountpoint = os.path.join(tree, "run", "passthroughfs")
    with run_script(tree, FS="passthroughfs", SOURCE=source) as run:
        run.wait_mounted(mountpoint)
        assert os.listdir(mountpoint) == ["f"]
        run.process.terminate()
        assert run.wait() == 0
        run.wait_for_orphans()
    assert os.listdir(source) == ["f"]


def test_the_end_of_one_ends_the_others(tree):
    mountpoints = [os.path.join(tree, "run", name) for name in NAMES]
    with run_script(tree) as run:
        run.wait_mounted(*mountpoints)
        mounts.unmount(mountpoints[1])
        assert run.wait() == 1
        run.wait_for_orphans()
        assert "tmpfs" in run.text()
    assert [mounts.mount_at(mountpoint) for mountpoint in mountpoints] == [None] * 3


def test_bad_input_is_told_in_one_line(tree):
    for environment in ({"FS": "ext4"}, {"MOUNTPOINT": tree}):
        with run_script(tree, **environment) as run:
            assert run.wait() == 1
            assert len(run.text().splitlines()) == 1, run.text()
    with run_script(tree, FS="passthroughfs", SOURCE=os.path.join(tree, "missing")) as run:
        assert run.wait() == 1
        assert "missing" in run.text()


@pytest.mark.limit(400)
def test_make_run_ends_on_a_signal_to_make(place):
    if not os.access(TOP, os.W_OK):
        pytest.skip("the tree is somebody else's")
    with open(mounts.executable("lltest"), "rb") as file:
        if any(mark in file.read() for mark in (b"__asan_init", b"__tsan_init")):
            pytest.skip("run on the plain build: this builds the project")
    mountpoint = os.path.join(place, "mnt")
    command = ["make", "-C", TOP, "run", "FS=lltest", f"MOUNTPOINT={mountpoint}"]
    with Run(place, command, LLFUSE_BUILD="") as run:
        run.wait_mounted(mountpoint, timeout_s=300)
        assert os.listdir(mountpoint) == ["message"]
        run.process.terminate()
        run.wait()
        run.wait_for_orphans()
    assert mounts.mount_at(mountpoint) is None
    assert not os.path.exists(mountpoint)
