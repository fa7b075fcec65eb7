# SPDX-License-Identifier: MIT
"""Reading and writing one file with fio: buffered, and through a mapping; by one job, and by four at once."""

import itertools
import json
import os

from commands import Counted, NotMeasured, run as run_command
from results import Workload
from rounds import Step, run_rounds
from subjects import Failed

# fio's name of each pattern, one after the other and at random.
PATTERNS = {"overwrite": ("write", "randwrite"), "read": ("read", "randread"), "mixed": ("rw", "randrw")}
BLOCKS_KIB = (4, 128)
JOBS = (1, 4)
# All pairs of what can be chosen occur here: there is no time for each with each, unless all is asked for.
FEW = (
    *("write 4k", "write 128k", "read 128k, cold", "overwrite 4k, random", "read 4k, random", "read 128k"),
    *("mixed 4k, random", "overwrite 4k, random, 4 jobs", "mixed 128k, 4 jobs"),
    *("read 128k, mmap", "overwrite 4k, random, mmap"),
)


class Row:
    """@share is how much of the file to do at most, where it is not as much as the time allows."""

    def __init__(self, name, pattern, block_kib, jobs=1, engine="psync", share=None, is_new=False, is_cold=False):
        self.name = name
        self.pattern = pattern
        self.block_kib = block_kib
        self.jobs = jobs
        self.engine = engine
        self.share = share
        self.is_new = is_new  # the file is made by this
        self.is_cold = is_cold  # the kernel drops its pages of the file before

    def is_cached(self):
        """Whether it is pages that the kernel has that are read."""
        return not self.is_cold and (self.engine == "mmap" or self.pattern not in PATTERNS["overwrite"])


def all_rows():
    for block in BLOCKS_KIB:
        yield Row(f"write {block}k", "write", block, share=0.5 if block == 4 else 1, is_new=True)
    for block, random in itertools.product(BLOCKS_KIB, (0, 1)):
        name = f"read {block}k{', random' if random else ''}, cold"
        yield Row(name, PATTERNS["read"][random], block, share=1, is_cold=True)
    # What is mapped comes last: who cannot do that may be of no use afterwards.
    for engine, jobs, block, kind, random in itertools.product(("psync", "mmap"), JOBS, BLOCKS_KIB, PATTERNS, (0, 1)):
        name = f"{kind} {block}k{', random' if random else ''}{', mmap' if engine == 'mmap' else ''}"
        yield Row(name + (f", {jobs} jobs" if jobs > 1 else ""), PATTERNS[kind][random], block, jobs, engine)


def run(bench):
    steps = [make_step(bench, row) for row in all_rows() if bench.settings.full or row.name in FEW]
    run_rounds(bench, "data", steps, lambda place: place.new_directory())


def make_step(bench, row):
    def measure_one(place):
        if row.is_cached() and place.subject.has_small_file:
            raise NotMeasured("what the kernel caches of so small a file says nothing")
        path = os.path.join(place.directory, "data")
        if row.is_new and os.path.exists(path):
            os.unlink(path)
        with Counted(place.mounted) as counted:
            done = run_command(fio(bench, place.subject, path, row), bench.work)
        told = told_by_fio(done.output)
        sides = [told[side] for side in ("read", "write")]
        return sum(side["bw_bytes"] for side in sides) / 1e6, counted.per(sum(side["total_ios"] for side in sides))

    return Step(Workload("data", row.name, "MB/s", is_rate=True, per="call"), measure_one)


def fio(bench, subject, path, row):
    file_mib = bench.file_mib(subject)
    return [
        "fio",
        "--name=bench",
        f"--filename={path}",
        f"--ioengine={row.engine}",
        f"--rw={row.pattern}",
        f"--bs={row.block_kib}k",
        f"--numjobs={row.jobs}",
        "--group_reporting",
        f"--size={file_mib}M",
        f"--runtime={bench.settings.limit_ms}ms",
        f"--io_size={int(file_mib * 1024 * row.share)}k" if row.share else "--time_based",
        f"--invalidate={1 if row.is_cold else 0}",
        # What a file system collects counts when it has arrived.
        "--end_fsync=1",
        "--fallocate=none",
        "--randseed=1",
        "--thread",
        # It saves time, in each call and as fio starts.
        "--gtod_reduce=1",
        "--clocksource=clock_gettime",
        "--output-format=json",
    ]


def told_by_fio(output):
    """fio may say something before its answer."""
    try:
        return json.loads(output[output.index("{") :])["jobs"][0]
    except (ValueError, KeyError, IndexError):
        raise Failed("fio: no answer that can be read") from None
