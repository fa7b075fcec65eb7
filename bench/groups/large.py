# SPDX-License-Identifier: MIT
"""
A directory of very many files, for two groups at once as it takes long to fill: scale asks what an
operation costs there, against the same in a directory of few files on the same mount; memory asks what
each file takes and what stays when all are gone.

The subjects come one after the other, for so many files of all of them need not fit into memory.
"""

from commands import measure
from results import Workload
from rounds import Step, take_step

NAME_LENGTH = 11  # as in ops.c
# The operation of ops.c, and whether the kernel must not know the names.
OPERATIONS = (("create", False), ("lookup", True), ("unlink", False))

PER_FILE = Workload("memory", "empty file", "bytes", has_speed=False)
PER_FILE_NAMELESS = Workload("memory", "empty file, less its name", "bytes", has_speed=False)
LEFT = Workload("memory", "left of it after removal", "bytes", has_speed=False)


def run(bench, with_scale, with_memory):
    steps = scale_steps(bench) if with_scale else []
    for subject in bench.subjects:
        if subject.why_not_large:
            bench.results.not_measured[f"{subject.name}, {bench.settings.files} files"] = subject.why_not_large
            continue
        with bench.mounted([subject]) as places:
            for place in places:
                bench.attempt("large directory", place, lambda place: work_on(bench, place, steps, with_memory))


def work_on(bench, place, steps, with_memory):
    settings = bench.settings
    mounted = place.mounted
    if mounted.memory_kib() is None and not steps:
        return
    bench.say(f"{place.subject.name}: {settings.files} files")
    place.few, place.many = place.new_directory(), place.new_directory()
    change(bench, place, "fill", place.few, settings.entries)
    empty_kib = mounted.memory_kib()
    change(bench, place, "fill-nodes", place.many, settings.files)
    full_kib = mounted.memory_kib()
    for number in range(settings.runs if steps else 0):
        for step in steps:
            take_step(bench, step, number, place)
    change(bench, place, "empty", place.many, settings.files)
    if with_memory and empty_kib is not None:
        report_memory(bench, place, full_kib - empty_kib, mounted.memory_kib() - empty_kib)


def change(bench, place, operation, directory, files):
    measure(bench, place.mounted, operation, [directory], files)
    place.mounted.settle()


def report_memory(bench, place, taken_kib, left_kib):
    per_file = taken_kib * 1024 / bench.settings.files
    bench.results.add(PER_FILE, place.subject, 0, per_file)
    bench.results.add(PER_FILE_NAMELESS, place.subject, 0, per_file - NAME_LENGTH)
    bench.results.add(LEFT, place.subject, 0, left_kib * 1024 / bench.settings.files)


def scale_steps(bench):
    """Among few and among many, one straight after the other, and how they compare."""
    return [step for operation, is_cold in OPERATIONS for step in steps_of(bench, operation, is_cold)]


def steps_of(bench, operation, is_cold):
    settings = bench.settings
    seen = {}

    def among(where, entries):
        def measure_one(place):
            directory = getattr(place, where)
            count = min(settings.ops, entries)
            seen[where], requests = measure(
                bench, place.mounted, operation, [directory], entries, count, settings.limit_ms, is_cold
            )
            return seen[where], requests

        return Step(Workload("scale", f"{operation} among {entries}", "µs", has_speed=False), measure_one)

    def compare(_place):
        return seen["many"] / seen["few"], None

    ratio = Workload("scale", f"{operation}, many to few", "times", has_speed=False)
    return [among("few", settings.entries), among("many", settings.files), Step(ratio, compare)]
