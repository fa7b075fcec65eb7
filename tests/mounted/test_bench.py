# SPDX-License-Identifier: MIT
"""`bench/run`: what it refuses, that it measures, and that nothing stays behind.  The figures are no matter."""

import json
import os
import signal
import subprocess

import pytest

from conftest import TOP, children, needs_root
from harness import kernel, mounts

TINY = {"RUNS": "1", "ENTRIES": "20", "OPS": "10", "FILES": "50", "LIMIT_MS": "5", "REFERENCE": "/no/such/place"}


NONSENSE = [
    {"ONLY": "ext4"},
    {"ONLY": "tmpfs,transport"},
    {"FULL": "perhaps"},
    {"BASELINE": "/no/such/file"},
    {"RUNS": "0"},
    {"TRANSPORT": "post"},
    {"OPS": "many"},
    {"DISK": "/no/such/place"},
]


def start_bench(place, **environment):
    path = os.path.join(place, "temporary")
    os.mkdir(path)
    return subprocess.Popen(
        [os.path.join(TOP, "bench", "run")],
        env={
            "PATH": os.environ["PATH"],
            "LLFUSE_BUILD": os.path.abspath(mounts.build_dir()),
            "RESULTS": os.path.join(place, "results"),
            "TMPDIR": path,
            "DISK": path,
            "PYTHONDONTWRITEBYTECODE": "1",
            **environment,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=mounts.before_exec,
    )


def assert_nothing_behind(place, before):
    # What a program that ended had started ends by itself, and is left to us then.
    for pid in set(children()) - before:
        pidfd = os.pidfd_open(pid)
        assert kernel.wait_readable(20, pidfd), f"process {pid} is left behind"
        os.close(pidfd)
        os.waitpid(pid, 0)
    assert not os.listdir(os.path.join(place, "temporary"))
    assert not [entry for entry in mounts.all_mounts() if entry.mountpoint.startswith(place + "/")]


@pytest.fixture
def measured():
    """Needs the driver, and figures from a sanitizer's build would take long."""
    if not os.path.exists(mounts.executable("bench/ops")):
        pytest.skip("bench/ops is not built")
    if mounts.is_sanitized():
        pytest.skip("run on the plain build")


@pytest.mark.parametrize("environment", NONSENSE)
def test_nonsense_is_refused_in_one_line(place, environment):
    bench = start_bench(place, **environment)
    out, err = bench.communicate(timeout=mounts.TIMEOUT_S)
    assert (bench.returncode, out, len(err.splitlines())) == (2, "", 1), err
    assert "=".join(*environment.items()) in err


# What is measured of it, on what, one workload of that, and a request that each operation of it makes.
SMALLEST = {
    "lltest": ("transport,startup", "kernel", "getattr", "start"),
    "tmpfs": ("metadata,parallel,memory", "kernel", "create", "left of it after removal"),
    "passthroughfs": ("metadata,scale,memory", "source", "create", "descriptors for all of them"),
}


@needs_root
@pytest.mark.parametrize("program", SMALLEST)
def test_the_smallest_run(place, measured, program):
    groups, reference, name, other = SMALLEST[program]
    before = set(children())
    bench = start_bench(place, ONLY=f"{program},{groups}", TRANSPORT="dev_fuse", **TINY)
    out, err = bench.communicate(timeout=60)
    assert bench.returncode == 0, err
    assert_nothing_behind(place, before)
    with open(os.path.join(place, "results", "latest.json"), encoding="utf-8") as file:
        saved = json.load(file)
    with open(os.path.join(place, "results", "latest.md"), encoding="utf-8") as file:
        assert file.read() == out
    assert {figure["fs"] for figure in saved["figures"]} == {program}
    assert {figure["group"] for figure in saved["figures"]} == set(groups.split(","))
    assert other in {figure["workload"] for figure in saved["figures"]}
    assert f"{program}.py" in saved["missing"]
    found = [figure for figure in saved["figures"] if figure["workload"] == name]
    assert reference in {figure["subject"] for figure in found}
    ours = [figure for figure in found if figure["is_ours"]]
    assert ours and all(figure["requests"][name] == 1 and reference in figure["speed_to"] for figure in ours)


@needs_root
@pytest.mark.parametrize("program", ["tmpfs", "passthroughfs"])
def test_a_signal_leaves_nothing_behind(place, measured, program):
    before = set(children())
    bench = start_bench(place, ONLY=f"{program},metadata", TRANSPORT="dev_fuse", **{**TINY, "RUNS": "1000"})
    # Once the first round is under way.
    while "round 2" not in bench.stderr.readline():
        assert bench.poll() is None
    bench.send_signal(signal.SIGTERM)
    out, err = bench.communicate(timeout=60)
    assert bench.returncode == 128 + signal.SIGTERM, err
    assert out == ""
    assert_nothing_behind(place, before)
