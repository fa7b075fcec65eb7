# SPDX-License-Identifier: MIT
"""Two processes at once, each in a directory of its own, against one alone."""

from commands import Counted, Ops, measure
from results import Workload
from rounds import Step, run_rounds

OPERATIONS = ("create", "unlink", "stat")


def run(bench):
    steps = [make_step(bench, operation) for operation in OPERATIONS]
    run_rounds(bench, "scale", steps, lambda place: fill_two(bench, place))


def entries(bench):
    """Few: how large directories do is another question, and peers take long to fill them."""
    return max(bench.settings.entries // 10, 1)


def fill_two(bench, place):
    place.directories = [place.new_directory(), place.new_directory()]
    for directory in place.directories:
        measure(bench.ops, place.mounted, "fill", directory, entries(bench), 1)


def make_step(bench, operation):
    def measure_one(place):
        one, _ = rate(bench, place, operation, place.directories[:1])
        two, requests = rate(bench, place, operation, place.directories)
        return two / one, requests

    return Step(Workload("scale", f"{operation} by two", "times", is_rate=True, has_speed=False), measure_one)


def rate(bench, place, operation, directories):
    """Operations per nanosecond, of a process for each of @directories, and the requests for each."""
    processes = []
    try:
        for directory in directories:
            processes.append(Ops(bench.ops, operation, directory, entries(bench), bench.settings.ops))
        with Counted(place.mounted) as counted:
            for process in processes:
                process.go()
            told = [process.result() for process in processes]
        for process in processes:
            process.finish()
    finally:
        for process in processes:
            process.end()
    total = sum(count for _, count, _, _ in told)
    took_ns = max(end for *_, end in told) - min(start for *_, start, _ in told)
    return total / took_ns, counted.per(total)
