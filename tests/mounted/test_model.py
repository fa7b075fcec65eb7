# SPDX-License-Identifier: MIT
"""
tmpfs, and passthroughfs over the kernel's tmpfs, do what the kernel's tmpfs does: random operations on both, compared
after each (model.h).

Each run has a seed of its own, which a failure names.  From the environment: LLFUSE_MODEL_STEPS (how many steps all
runs make together) and LLFUSE_MODEL_SEED (one seed for all of them).
"""

import os
import random
import subprocess

import pytest

from conftest import SPREAD, TMPFS, TMPFS_EXACT, cases, needs_root, transport_named
from harness import kernel, mounts

STEPS = 100_000
# At least so many steps are made in a second, on a slow machine.
STEPS_PER_S = 50
START_S = 60
# Looking past the kernel's caches each time is slow.
THOROUGH_PART = 20
# A mirror's steps are slower than those of a tmpfs, and slower still where the kernel remembers nothing: unless somebody says
# how many they are to be, they are as much fewer.
MIRROR_PART = {"usual": 4, "thorough": 4, "outside": 16}
WANTED_STEPS = int(os.environ.get("LLFUSE_MODEL_STEPS") or 0)


class Run:
    """A case, and how it is looked at."""

    def __init__(self, case, look):
        self.case = case
        self.look = look
        self.is_mirror = case.subject.program == "passthroughfs"

    def steps(self, usual):
        """How many steps it makes where a tmpfs makes @usual."""
        steps = usual // THOROUGH_PART if self.look == "thorough" else usual
        return steps // MIRROR_PART[self.look] if self.is_mirror and not WANTED_STEPS else steps

    def __repr__(self):
        return f"{self.look}-{self.case}"


RUNS = [Run(case, look) for case in cases((*TMPFS, TMPFS_EXACT), mounts.MANY) for look in ("usual", "thorough")]
RUNS += [Run(case, look) for case in SPREAD for look in ("usual", "thorough", "outside")]
ALL_STEPS = WANTED_STEPS or (STEPS // 10 if mounts.is_sanitized() else STEPS)
RUN_STEPS = -(-ALL_STEPS // sum(run.look != "thorough" for run in RUNS if WANTED_STEPS or not run.is_mirror))


@pytest.fixture
def new_tmpfs(place):
    """new_tmpfs("oracle"): a kernel tmpfs of its own."""
    paths = []

    def start(name):
        path = os.path.join(place, name)
        os.mkdir(path)
        kernel.mount(name, path, "tmpfs", kernel.MS_NODEV | kernel.MS_NOSUID, "mode=755")
        paths.append(path)
        return path

    yield start
    for path in paths:
        kernel.umount(path, kernel.MNT_DETACH)


def run_model(mountpoint, oracle, steps, *options):
    seed = os.environ.get("LLFUSE_MODEL_SEED") or str(random.SystemRandom().randrange(10**9))
    command = [mounts.executable("tests/model"), *options, seed, str(steps), mountpoint, oracle]
    print("model:", *command[1:])
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(done.stdout)
    if done.returncode != 0:
        pytest.fail(f"status {done.returncode} of model {' '.join(command[1:])}: see its output", pytrace=False)


@needs_root
@pytest.mark.limit(START_S + RUN_STEPS / STEPS_PER_S)
@pytest.mark.parametrize("run", RUNS, ids=repr)
def test_model(new_mount, uring_switch, run, new_tmpfs):
    subject = run.case.subject
    if subject.why_not():
        pytest.skip(subject.why_not())
    options = [*transport_named(run.case.transport, uring_switch).options, *subject.options]
    source = new_tmpfs("source") if subject.program == "passthroughfs" else None
    if source:
        # Nobody tells the kernel of what others change before the next look.
        options += ["-o", "cache=never" if run.look == "outside" else "cache=auto"]
    mount = new_mount(subject.program, *options, "-o", "allow_other,nodev,nosuid", source=source)
    looks = {"usual": (), "thorough": ("--thorough",), "outside": ("--outside", source)}
    run_model(mount.mountpoint, new_tmpfs("oracle"), run.steps(RUN_STEPS), *looks[run.look])
