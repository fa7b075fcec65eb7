# SPDX-License-Identifier: MIT
"""Single operations of one process in a directory that holds files already."""

from commands import measure
from results import Workload
from rounds import Step, run_rounds

# The name in the tables, the operation of ops.c, and whether the kernel has to ask for all names again.
OPERATIONS = (
    ("mkdir", "mkdir", False),
    ("create", "create", False),
    ("create+write+close", "write", False),
    ("rename", "rename", False),
    ("link", "link", False),
    ("symlink", "symlink", False),
    ("unlink", "unlink", False),
    ("rmdir", "rmdir", False),
    ("chmod", "chmod", False),
    ("stat, cold", "lookup", True),
    ("stat", "stat", False),
    ("missing name", "missing", False),
    ("ls -l, cold", "list", True),
    ("ls -l, again", "list-again", False),
    ("open+read+close, cold", "read", True),
    ("open+read+close", "read-again", False),
)


def run(bench):
    steps = [make_step(bench, *row) for row in OPERATIONS]
    run_rounds(bench, "metadata", steps, lambda place: fill(bench, place), begins_again=True)


def fill(bench, place):
    measure(bench, place.mounted, "fill", [place.new_directory()], bench.entries(place.subject))


# Many times the same names, as one pass would be too short.
REPEATED = ("stat", "missing")


def operations_of(bench, operation, entries, is_cold):
    """On how many names: what is cold is so once, and what is repeated must not be more of a load on the processor's
    caches for those whose directories are large."""
    settings = bench.settings
    if is_cold:
        return min(settings.ops, entries)
    return min(settings.ops, settings.slow_entries) if operation in REPEATED else settings.ops


def make_step(bench, name, operation, is_cold):
    def measure_one(place):
        entries = bench.entries(place.subject)
        count = operations_of(bench, operation, entries, is_cold)
        limit_ms = bench.settings.limit_ms
        return measure(bench, place.mounted, operation, [place.directory], entries, count, limit_ms, is_cold)

    return Step(Workload("metadata", name, "µs"), measure_one)
