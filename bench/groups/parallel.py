# SPDX-License-Identifier: MIT
"""
The operations of metadata by several processes at once, each in a directory of its own: how long one takes on
average, as the clock on the wall has it; and how many times the throughput of one process two of them have.
"""

from commands import measure
from groups.metadata import OPERATIONS, operations_of
from results import Workload
from rounds import Step, run_rounds

PROCESSES = (2, 4)
SCALED = ("create", "unlink", "stat")  # of these, two are compared with one


def run(bench):
    steps = [step for row in OPERATIONS for step in steps_of(bench, *row)]
    run_rounds(bench, "parallel", steps, lambda place: fill(bench, place), begins_again=True)


def entries_of(bench, place):
    """Few: how large directories do is another question, and peers take long to fill them."""
    return min(max(bench.settings.entries // 10, 1), bench.entries(place.subject))


def fill(bench, place):
    place.directories = [place.new_directory() for _ in range(max(PROCESSES))]
    for directory in place.directories:
        measure(bench, place.mounted, "fill", [directory], entries_of(bench, place))


def steps_of(bench, name, operation, is_cold):
    seen = {}  # microseconds, by subject and number of processes

    def by(processes):
        def measure_one(place):
            entries = entries_of(bench, place)
            count = operations_of(bench, operation, entries, is_cold)
            directories = place.directories[:processes]
            limit_ms = max(bench.settings.limit_ms // (1 if name in SCALED else 2), 1)  # there are many
            seen[place.subject, processes], requests = measure(
                bench, place.mounted, operation, directories, entries, count, limit_ms, is_cold
            )
            return seen[place.subject, processes], requests

        return measure_one

    def two_to_one(place):
        one, _ = by(1)(place)
        return one / seen.pop((place.subject, 2)), None

    by_number = [Step(Workload("parallel", f"{name}, {n} processes", "µs"), by(n)) for n in PROCESSES]
    # Straight after that by two.
    steps = by_number[:1]
    if name in SCALED:
        ratio = Workload("parallel", f"{name} by two", "times", is_rate=True, has_speed=False)
        steps.append(Step(ratio, two_to_one))
    return steps + by_number[1:]
