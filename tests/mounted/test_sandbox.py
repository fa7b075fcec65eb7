# SPDX-License-Identifier: MIT
"""The sandbox of passthroughfs: what the daemon is left with, and that everything works from within (P10, L15)."""

import contextlib
import errno
import os
import re
import resource
import signal
import stat
import subprocess
import time

import pytest

from conftest import children, needs_root
from harness import kernel, mounts
from harness.children import as_user, in_child
from harness.files import get, put, wait_until

MS_SHARED = 1 << 20
CAPABILITIES = {
    name: 1 << number
    for name, number in (
        ("chown", 0),
        ("dac_override", 1),
        ("dac_read_search", 2),
        ("fowner", 3),
        ("fsetid", 4),
        ("setgid", 6),
        ("setuid", 7),
        ("sys_admin", 21),
        ("sys_nice", 23),
        ("mknod", 27),
        ("setfcap", 31),
    )
}
KEPT = sum(CAPABILITIES.values())
DEADLINE_S = 20


def statuses(pid):
    """What /proc/PID/status says, of each thread."""
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            with open(f"/proc/{pid}/task/{task}/status", encoding="utf-8") as file:
                found.append(dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line))
    return found


def unmounter_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        found = file.read().split()
    return int(found[0]) if found else None


@pytest.fixture(params=["full", "namespace"])
def level(request):
    return request.param


@pytest.fixture
def start(new_mount, many):
    """start(): passthroughfs in its sandbox, mounted for everybody."""

    def start_one(*options, **kwargs):
        if not any(option.startswith("--sandbox") for option in options):
            options = ("--sandbox=auto", *options)
        allow = ("-o", "allow_other") if os.geteuid() == 0 else ()
        return new_mount("passthroughfs", *many.options, *allow, *options, **kwargs)

    return start_one


def with_threads(mount):
    """Lets the daemon answer something, so that it has the threads that it needs."""
    put(os.path.join(mount.mountpoint, "first"), b"x")
    assert os.listdir(mount.mountpoint)
    return mount


# --- What is left -----------------------------------------------------------------------------


@needs_root
def test_the_source_is_all_that_can_be_reached(start):
    mount = with_threads(start())
    for task in os.listdir(f"/proc/{mount.pid}/task"):
        root = os.stat(f"/proc/{mount.pid}/task/{task}/root/.")
        assert os.path.samestat(root, os.stat(mount.source))
    (only,) = mounts.all_mounts(mount.pid)
    assert only.mountpoint == "/" and "nodev" in only.options
    assert os.readlink(f"/proc/{mount.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
    for fd in os.listdir(f"/proc/{mount.pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            st = os.stat(f"/proc/{mount.pid}/fd/{fd}")
            name = os.readlink(f"/proc/{mount.pid}/fd/{fd}")
            # The directories that are open are the source, and proc.
            assert not stat.S_ISDIR(st.st_mode) or name == "/", (fd, name)


@needs_root
def test_no_capability_is_left_but_those_for_files(start, level):
    mount = with_threads(start(f"--sandbox={level}"))
    (ours,) = {int(status["CapPrm"], 16) for status in statuses("self")}
    for status in statuses(mount.pid):
        assert int(status["CapBnd"], 16) & ~KEPT == 0
        assert int(status["CapPrm"], 16) == int(status["CapBnd"], 16) == KEPT & ours
        assert int(status["CapEff"], 16) & ~KEPT == 0
        assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
        assert status["NoNewPrivs"] == "1"
        assert status["Seccomp"] == ("2" if level == "full" else "0")


@needs_root
def test_without_a_sandbox_nothing_is_taken(start):
    mount = with_threads(start("--sandbox=none"))
    (ours,) = {int(status["CapPrm"], 16) for status in statuses("self")}
    for status in statuses(mount.pid):
        assert int(status["CapPrm"], 16) == ours
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("0", "0")
    assert os.path.samestat(os.stat(f"/proc/{mount.pid}/root/."), os.stat("/"))
    assert unmounter_of(mount.pid) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="for an ordinary user")
def test_an_ordinary_user_gets_none(start):
    mount = with_threads(start())
    assert {status["Seccomp"] for status in statuses(mount.pid)} == {"0"}


@needs_root
@pytest.mark.parametrize("option, level", [("auto", "full"), ("full", "full"), ("namespace", "namespace"), ("none", "none")])
def test_the_log_tells_the_level(start, option, level):
    mount = start("--debug", f"--sandbox={option}")
    mount.wait_logged(rf"\[passthroughfs\] sandbox: {level}$")


def run(*arguments, **kwargs):
    done = subprocess.run(
        [mounts.executable("passthroughfs"), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=DEADLINE_S, check=False, **kwargs
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("level", ["some", "", "Full"])
def test_a_level_that_there_is_not_is_refused(place, level):
    status, out, err = run(f"--sandbox={level}", place, place)
    assert (status, out) == (2, "")
    assert err == f"passthroughfs: --sandbox={level}: not auto, full, namespace or none\n"


@needs_root
def test_a_sandbox_that_cannot_be_had_is_no_mount(place, level):
    def become_user():
        os.setgroups([])
        os.setgid(4001)
        os.setuid(4001)

    status, out, err = run(f"--sandbox={level}", place, place, preexec_fn=become_user)
    assert (status, out) == (1, "")
    assert err == f"passthroughfs: --sandbox={level}: needs root and CAP_SYS_ADMIN: Operation not permitted\n"
    assert mounts.mount_at(place) is None


@needs_root
@pytest.mark.parametrize("what, error", [("missing", errno.ENOENT), ("file", errno.ENOTDIR)])
def test_a_source_that_is_no_directory_is_told_as_ever(place, what, error):
    put(f"{place}/file", b"x")
    os.mkdir(f"{place}/mnt")
    status, _, err = run("--sandbox=full", f"{place}/{what}", f"{place}/mnt")
    assert (status, err) == (1, f"passthroughfs: {place}/{what}: {os.strerror(error)}\n")


# --- The end ----------------------------------------------------------------------------------


@needs_root
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, "umount", "group"])
def test_it_ends_as_without_a_sandbox(start, how):
    mount = with_threads(start())
    unmounter = unmounter_of(mount.pid)
    if how == "group":  # Ctrl-C
        os.killpg(mount.pid, signal.SIGINT)
        assert mount.wait() == 0
        assert not mount.is_mounted()
    else:
        mount.stop(how)
    assert not os.path.exists(f"/proc/{unmounter}")
    assert mount.stderr() == ""


@needs_root
def test_it_ends_with_a_user_on_the_mount(start):
    mount = with_threads(start())
    fd = os.open(mount.mountpoint, os.O_RDONLY | os.O_DIRECTORY)
    try:
        mount.stop(signal.SIGTERM)
    finally:
        os.close(fd)


@needs_root
def test_killed_it_leaves_a_dead_mount_and_no_process(start):
    mount = with_threads(start())
    unmounter = unmounter_of(mount.pid)
    pidfd = os.pidfd_open(unmounter)
    try:
        mount.send_signal(signal.SIGKILL)
        assert mount.wait() == -signal.SIGKILL
        assert kernel.wait_readable(DEADLINE_S, pidfd)
    finally:
        os.close(pidfd)
    with pytest.raises(OSError) as error:
        os.listdir(mount.mountpoint)
    assert error.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    kernel.umount(mount.mountpoint)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(unmounter, 0)  # It was left to us.


@needs_root
@pytest.mark.parametrize("how", [signal.SIGTERM, "umount"])
def test_in_the_background(place, many, how):
    source, mountpoint = f"{place}/source", f"{place}/mnt"
    os.mkdir(source)
    os.mkdir(mountpoint)
    before = set(children())
    command = ["--daemon", "--sandbox=full", *many.options, "source", "mnt"]
    assert run(*command, cwd=place, preexec_fn=mounts.before_exec) == (0, "", "")
    (pid,) = set(children()) - before
    unmounter = unmounter_of(pid)
    try:
        put(f"{mountpoint}/f", b"x")
        assert get(f"{source}/f") == b"x"
        assert {status["Seccomp"] for status in statuses(pid)} == {"2"}
    finally:
        if how == "umount":
            kernel.umount(mountpoint)
        else:
            os.kill(pid, how)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert mounts.mount_at(mountpoint) is None
    assert not os.path.exists(f"/proc/{unmounter}")


# --- What works from within -------------------------------------------------------------------


@needs_root
def test_what_needs_the_name_of_a_descriptor(start):
    mount = start()
    path = os.path.join(mount.mountpoint, "f")
    put(path, b"12345")
    os.chmod(path, 0o604)
    os.truncate(path, 3)
    assert get(os.path.join(mount.source, "f")) == b"123"
    for name in ("user.a", "trusted.b", "security.c"):
        os.setxattr(path, name, b"value")
        assert os.getxattr(path, name) == b"value"
        assert name in os.listxattr(os.path.join(mount.source, "f"))
        os.removexattr(path, name)
    assert os.listxattr(path) == []
    capability = b"\x01\0\0\x02" + b"\x00\x04\0\0" + b"\0" * 12  # cap_net_bind_service
    os.setxattr(path, "security.capability", capability)
    assert os.getxattr(os.path.join(mount.source, "f"), "security.capability") == capability
    subprocess.run(["setfacl", "-m", "u:4001:rw", path], check=True)
    assert "user:4001:rw-" in subprocess.run(
        ["getfacl", "-n", "-p", os.path.join(mount.source, "f")], check=True, capture_output=True, text=True
    ).stdout
    fd = os.open(mount.mountpoint, os.O_TMPFILE | os.O_RDWR, 0o600)
    try:
        os.write(fd, b"linked")
        kernel.link_fd(fd, os.path.join(mount.mountpoint, "linked"))
    finally:
        os.close(fd)
    assert get(os.path.join(mount.source, "linked")) == b"linked"


@needs_root
def test_root_makes_what_root_may_make(start):
    mount = start()
    path = os.path.join(mount.mountpoint, "d")
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    assert os.lstat(os.path.join(mount.source, "d")).st_rdev == os.makedev(1, 3)
    os.chown(path, 4001, 4002)
    os.chmod(path, 0o6755)
    found = os.lstat(os.path.join(mount.source, "d"))
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (4001, 4002, 0o6755)


@needs_root
def test_the_groups_of_the_caller_count(start):
    mount = start()
    shared = os.path.join(mount.source, "shared")
    os.mkdir(shared)
    os.chown(shared, 0, 4100)
    os.chmod(shared, 0o2770)
    path = os.path.join(mount.mountpoint, "shared", "f")
    os.chmod(mount.mountpoint, 0o755)
    as_user(4001, put, path, b"x", gid=4001, groups=(4100,))
    found = os.stat(os.path.join(shared, "f"))
    assert (found.st_uid, found.st_gid) == (4001, 4100)
    with pytest.raises(PermissionError):
        as_user(4001, put, path + "2", b"x", gid=4001, groups=(4101,))


@needs_root
def test_a_program_of_the_source_runs(start):
    """Also by kernel passthrough, though nothing can be run in the daemon's own view of the source."""
    mount = start()
    path = os.path.join(mount.mountpoint, "true")
    put(path, get("/bin/true"))
    os.chmod(path, 0o755)
    assert subprocess.run([path], check=False).returncode == 0


@needs_root
def test_known_files_need_no_descriptor(start):
    """File handles work: the capability for them is kept, and the directory that they need."""
    mount = start(
        preexec_fn=lambda: (mounts.before_exec(), resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200)))[0]
    )
    for number in range(600):
        put(os.path.join(mount.source, f"f{number}"), b"%d" % number)
    assert len(os.listdir(mount.mountpoint)) == 600
    for number in range(0, 600, 7):
        assert get(os.path.join(mount.mountpoint, f"f{number}")) == b"%d" % number


@needs_root
def test_the_counters_and_stacks_are_logged(start):
    mount = with_threads(start())
    mount.send_signal(signal.SIGUSR1)
    mount.wait_logged(r"\bopendir\b\D*[1-9]")
    mount.send_signal(signal.SIGUSR2)
    mount.wait_logged(r"\[stacktrace\] thread \d+ \(signals\):")
    mount.wait_logged(r"\[stacktrace\] end$")


@needs_root
def test_the_log_keeps_its_time_zone(new_mount, many):
    tokyo = "/usr/share/zoneinfo/Asia/Tokyo"
    if not os.path.exists(tokyo):
        pytest.skip("there are no time zones here")
    env = {**os.environ, "TZ": f":{tokyo}"}
    mount = with_threads(new_mount("passthroughfs", "--sandbox=full", "--debug", *many.options, env=env))
    mount.stop()
    hours = {line[11:13] for line in mount.stderr().splitlines()}
    here = time.gmtime(time.time() + 9 * 3600).tm_hour
    assert hours <= {f"{here:02}", f"{(here - 1) % 24:02}"}


# --- Mounts in the source ---------------------------------------------------------------------


@pytest.fixture
def shared_source(place):
    """A source whose mounts others share, as systemd makes all."""
    source = os.path.join(place, "source")
    os.mkdir(source)
    kernel.mount("source", source, "tmpfs", 0, "mode=755")
    try:
        kernel.mount(None, source, None, MS_SHARED)
        yield source
    finally:
        for entry in reversed(mounts.all_mounts()):
            if entry.mountpoint == source or entry.mountpoint.startswith(source + "/"):
                with contextlib.suppress(OSError):
                    kernel.umount(entry.mountpoint, kernel.MNT_DETACH)


@needs_root
def test_what_is_mounted_in_the_source_later_shows_up_and_goes(start, shared_source):
    os.mkdir(f"{shared_source}/sub")
    put(f"{shared_source}/sub/below", b"x")
    mount = start(source=shared_source)
    here = os.path.join(mount.mountpoint, "sub")
    assert os.listdir(here) == ["below"]
    kernel.mount("later", f"{shared_source}/sub", "tmpfs")
    put(f"{shared_source}/sub/inside", b"x")
    wait_until(lambda: os.listdir(here) == ["inside"], DEADLINE_S)
    assert get(os.path.join(here, "inside")) == b"x"
    assert [entry.mountpoint for entry in mounts.all_mounts(mount.pid)] == ["/", "/sub"]
    kernel.umount(f"{shared_source}/sub", kernel.MNT_DETACH)
    wait_until(lambda: os.listdir(here) == ["below"], DEADLINE_S)
    assert [entry.mountpoint for entry in mounts.all_mounts(mount.pid)] == ["/"]
    mount.stop()


@needs_root
@pytest.mark.parametrize("how", [signal.SIGTERM, "umount"])
@pytest.mark.parametrize("is_shared", [True, False], ids=["shared", "private"])
def test_a_mount_point_in_the_source(start, shared_source, is_shared, how):
    """It shows what it covers, also if our own mount comes back to us, and is no reason not to end."""
    if not is_shared:
        kernel.mount(None, shared_source, None, 1 << 18)
    os.mkdir(f"{shared_source}/mnt")
    put(f"{shared_source}/mnt/covered", b"x")
    put(f"{shared_source}/f", b"x")
    mount = start(source=shared_source, mountpoint=f"{shared_source}/mnt")

    def look():
        return sorted(os.listdir(mount.mountpoint)), os.listdir(f"{mount.mountpoint}/mnt"), get(f"{mount.mountpoint}/f")

    assert in_child(look, timeout_s=DEADLINE_S) == (["f", "mnt"], ["covered"], b"x")
    put(f"{mount.mountpoint}/mnt/new", b"x")
    mount.stop(how)
    assert sorted(os.listdir(f"{shared_source}/mnt")) == ["covered", "new"]


@needs_root
def test_our_mount_is_not_in_the_daemons_namespace(start):
    """No copy of our mount is in the daemon's namespace: an unmount outside is the last."""
    mount = with_threads(start())
    assert all(entry.fstype != "fuse.passthroughfs" for entry in mounts.all_mounts(mount.pid))
    mount.stop("umount")
