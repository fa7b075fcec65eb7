# SPDX-License-Identifier: MIT
"""The round trip alone: a file system that has nothing to do is asked for the attributes of its root directory, by
a call that never takes what the kernel remembers (AT_STATX_FORCE_SYNC)."""

from commands import measure
from results import Workload
from rounds import Step, run_rounds

PROCESSES = (1, 2, 4)


def run(bench):
    run_rounds(bench, "transport", [make_step(bench, n) for n in PROCESSES], lambda place: None)


def make_step(bench, processes):
    settings = bench.settings

    def measure_one(place):
        directories = [place.mounted.directory] * processes
        return measure(bench, place.mounted, "getattr", directories, 1, 4 * settings.ops, settings.limit_ms)

    name = "getattr" if processes == 1 else f"getattr, {processes} processes"
    return Step(Workload("transport", name, "µs"), measure_one)
