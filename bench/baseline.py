# SPDX-License-Identifier: MIT
"""
What got slower since a saved result.  Of ours only, figure by figure: the speeds by the measure of the reference,
which was measured in the same run, so that another machine's pace or load matters little; where there is none, the
figures themselves.
"""

import json

from settings import Refused

# What a spread is at least: one of a few rounds is small by chance, and a single figure has none.
LEAST_SPREAD = 1.1


def load(path, number):
    """A saved latest.json, of the format @number."""
    try:
        with open(path, encoding="utf-8") as file:
            saved = json.load(file)
        if saved.get("format") != number:
            raise Refused(f"BASELINE={path}: it has format {saved.get('format')}, not {number}")
        return saved
    except (OSError, ValueError, AttributeError) as error:
        raise Refused(f"BASELINE={path}: {error}") from error


def key(figure):
    return tuple(figure[name] for name in ("fs", "group", "workload", "subject"))


def spread_of(figure, other):
    """(least, median, most) of what is compared, so that more is better.  @other is the same figure of the other
    result: both are taken by the same measure."""
    reference = figure["reference"]
    if reference in figure["speed_to"] and reference in other["speed_to"]:
        spread = figure["speed_to"][reference]
    else:
        spread = figure
    numbers = [spread[name] for name in ("min", "median", "max")]
    if spread is figure and not figure["is_rate"]:
        numbers = [1 / n if n > 0 else float("inf") for n in reversed(numbers)]
    return numbers


def times_slower(before, after):
    """
    How many times slower, or None if that may be chance: the ranges have to lie apart, and the medians further apart
    than either range is wide.
    """
    if not after[1] or before[1] == float("inf"):
        return None
    times = before[1] / after[1]
    widths = [spread[2] / spread[0] if spread[0] else float("inf") for spread in (before, after)]
    is_apart = after[2] < before[0]
    return times if is_apart and times > max(LEAST_SPREAD, *widths) else None


class Slower:
    def __init__(self, figure, times):
        self.figure = figure
        self.times = times

    def __str__(self):
        return f"{self.figure['subject']}: {self.figure['group']}, {self.figure['workload']}: {self.times:.2f} times slower"


def compare(saved, fresh):
    """Returns what got slower, the worst first, and how many figures were compared."""
    before = {key(figure): figure for figure in saved["figures"] if figure["is_ours"]}
    pairs = [(before[key(figure)], figure) for figure in fresh["figures"] if key(figure) in before]
    slower = []
    for old, new in pairs:
        times = times_slower(spread_of(old, new), spread_of(new, old))
        if times is not None:
            slower.append(Slower(new, times))
    return sorted(slower, key=lambda one: -one.times), len(pairs)


# What does not change the figures.
HARMLESS = ("ONLY", "RUNS", "DISK", "REFERENCE", "BASELINE", "LLFUSE_BUILD", "RESULTS", "FULL")


def differences(saved, fresh):
    """Conditions that make the two hard to compare, a line for each."""
    old, new = saved["about"], fresh["about"]
    lines = [f"{name}: {old.get(name)}, now {new.get(name)}" for name in ("machine", "kernel", "transport")
             if old.get(name) != new.get(name)]
    for name, value in new["settings"].items():
        if name not in HARMLESS and old["settings"].get(name) != value:
            lines.append(f"{name}: {old['settings'].get(name)}, now {value}")
    return lines


def lines(saved, fresh):
    """What the report says, and whether anything got slower."""
    slower, count = compare(saved, fresh)
    told = [f"- other conditions: {difference}" for difference in differences(saved, fresh)]
    told += [f"- {one}" for one in slower]
    told.append(f"- {len(slower)} of {count} figures got slower by more than the spread")
    return told, bool(slower)
