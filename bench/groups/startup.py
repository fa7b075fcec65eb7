# SPDX-License-Identifier: MIT
"""How long it takes from the start of the program until its mount answers, and from unmounting until it has ended."""

import statistics
import tempfile
import time

from results import Workload
from rounds import Place, Step, take_step
from subjects import Unmounted

TIMES = 3  # in a round, of which the median counts: it is short

START = Workload("startup", "start", "ms")
STOP = Workload("startup", "stop", "ms")


def run(bench):
    for number in range(bench.settings.runs):
        bench.say(f"startup, round {number + 1} of {bench.settings.runs}")
        for subject in bench.subjects:
            place = Place(Unmounted(subject))
            figures = {}
            if bench.attempt("startup", place, lambda place: figures.update(start_and_stop(bench, place.subject))):
                for workload, figure in figures.items():
                    take_step(bench, Step(workload, lambda _place: (figure, None)), number, place)


def start_and_stop(bench, subject):
    started, stopped = [], []
    for _ in range(TIMES):
        with bench.mounted_by_itself(subject) as mounted:
            started.append(mounted.start_s * 1000)
            begun = time.perf_counter()
            mounted.close()
            stopped.append((time.perf_counter() - begun) * 1000)
    return {START: statistics.median(started), STOP: statistics.median(stopped)}
