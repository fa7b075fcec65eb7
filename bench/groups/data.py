# SPDX-License-Identifier: MIT
"""Reading and writing one file with fio: buffered, one job, fixed amounts."""

import json
import os

from commands import Counted, run as run_command
from results import Workload
from rounds import Step, run_rounds
from subjects import Failed

# Name, fio's name of the pattern, block size in KiB, how much of the file (more than all of it: again), and flags:
# NEW     the file is made by this
# COLD    the kernel drops its pages of the file before
NEW, COLD = 1, 2
PATTERNS = (
    ("write 4k", "write", 4, 0.5, NEW),
    ("write 128k", "write", 128, 1, NEW),
    ("overwrite 4k, random", "randwrite", 4, 0.5, 0),
    ("overwrite 128k, random", "randwrite", 128, 4, 0),
    ("read 4k, cold", "read", 4, 0.5, COLD),
    ("read 128k, cold", "read", 128, 4, COLD),
    ("read 4k, random, cold", "randread", 4, 0.5, COLD),
    ("read 128k, random, cold", "randread", 128, 4, COLD),
    ("read 4k", "read", 4, 0.5, 0),
    ("read 128k", "read", 128, 4, 0),
    ("read 4k, random", "randread", 4, 0.5, 0),
    ("read 128k, random", "randread", 128, 4, 0),
)


def run(bench):
    run_rounds(bench, "data", [make_step(bench, *row) for row in PATTERNS], lambda place: place.new_directory())


def make_step(bench, name, pattern, block_kib, share, flags):
    def measure_one(place):
        path = os.path.join(place.directory, "data")
        if flags & NEW and os.path.exists(path):
            os.unlink(path)
        with Counted(place.mounted) as counted:
            done = run_command(fio(bench.settings, path, pattern, block_kib, share, flags), bench.work)
        side = told_by_fio(done.output)["write" if "write" in pattern else "read"]
        return side["bw_bytes"] / 1e6, counted.per(side["total_ios"])

    return Step(Workload("data", name, "MB/s", is_rate=True, per="call"), measure_one)


def fio(settings, path, pattern, block_kib, share, flags):
    return [
        "fio",
        "--name=bench",
        f"--filename={path}",
        "--ioengine=psync",
        f"--rw={pattern}",
        f"--bs={block_kib}k",
        f"--size={settings.file_mib}M",
        f"--io_size={int(settings.file_mib * 1024 * min(share, 1))}k",
        f"--loops={max(int(share), 1)}",
        f"--invalidate={1 if flags & COLD else 0}",
        # What a file system collects counts when it has arrived.
        "--end_fsync=1",
        "--fallocate=none",
        "--randseed=1",
        "--thread",
        "--output-format=json",
    ]


def told_by_fio(output):
    """fio may say something before its answer."""
    try:
        return json.loads(output[output.index("{") :])["jobs"][0]
    except (ValueError, KeyError, IndexError):
        raise Failed("fio: no answer that can be read") from None
