# SPDX-License-Identifier: MIT
"""
tmpfs does what the kernel's tmpfs does: random operations on both, compared after each (model.h).

Each run has a seed of its own, which a failure names.  From the environment: LLFUSE_MODEL_STEPS (how many steps all
runs make together) and LLFUSE_MODEL_SEED (one seed for all of them).
"""

import os
import random
import subprocess

import pytest

from conftest import TMPFS, TMPFS_EXACT, needs_root
from harness import kernel, mounts

STEPS = 100_000
# At least so many steps are made in a second, on a slow machine.
STEPS_PER_S = 150
START_S = 60
TRANSPORTS = 2
# Looking past the kernel's caches each time is slow.
THOROUGH_PART = 20


SUBJECTS = [*TMPFS, TMPFS_EXACT]
ALL_STEPS = int(os.environ.get("LLFUSE_MODEL_STEPS") or (STEPS // 10 if mounts.is_sanitized() else STEPS))
RUN_STEPS = -(-ALL_STEPS // (TRANSPORTS * len(SUBJECTS)))


@pytest.fixture
def oracle(place):
    """A kernel tmpfs of its own."""
    path = os.path.join(place, "oracle")
    os.mkdir(path)
    kernel.mount("oracle", path, "tmpfs", kernel.MS_NODEV | kernel.MS_NOSUID, "mode=755")
    yield path
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
@pytest.mark.parametrize("subject", SUBJECTS, ids=repr)
@pytest.mark.parametrize("look", ["usual", "thorough"])
def test_model(new_mount, many, subject, look, oracle):
    if subject.why_not():
        pytest.skip(subject.why_not())
    mount = new_mount(subject.program, *many.options, *subject.options, "-o", "allow_other,nodev,nosuid")
    if look == "thorough":
        run_model(mount.mountpoint, oracle, RUN_STEPS // THOROUGH_PART, "--thorough")
    else:
        run_model(mount.mountpoint, oracle, RUN_STEPS)
