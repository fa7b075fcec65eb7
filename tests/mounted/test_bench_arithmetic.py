# SPDX-License-Identifier: MIT
"""What the benchmark makes of its figures: ratios, what is equal, and what is slower than a saved result."""

import importlib.machinery
import importlib.util
import json
import os
import subprocess
import sys

import pytest

from conftest import TOP

sys.path.append(os.path.join(TOP, "bench"))

# pylint: disable=wrong-import-position
import baseline
import charts
import report
from comparisons import Comparison
from results import Results, Workload
from settings import Only, Refused
from subjects import Subject


def load_publish():
    """It is a program, and has no name that can be imported."""
    loader = importlib.machinery.SourceFileLoader("publish", os.path.join(TOP, "bench", "publish"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("publish", loader))
    loader.exec_module(module)
    return module


@pytest.fixture
def results():
    """Of one of ours and the limit, with nothing in it."""
    comparison = Comparison("tmpfs", reference="kernel")
    comparison.subjects += [Subject("kernel", None), Subject("tmpfs", None, is_ours=True)]
    return Results(comparison)


def add(results, workload, kernel, ours):
    for subject, figures in zip(results.comparison.subjects, (kernel, ours)):
        for number, figure in enumerate(figures):
            results.add(workload, subject, number, figure)


def speed(results, workload):
    return results.speed(workload, results.comparison.subjects[1], "kernel")


def test_a_ratio_is_taken_in_each_round(results):
    # The machine is ten times slower in the second round: the ratios do not show it.
    workload = Workload("metadata", "stat", "µs")
    add(results, workload, [1, 10, 2], [2, 20, 4])
    found = speed(results, workload)
    assert (found.least, found.median, found.most) == (0.5, 0.5, 0.5)


def test_of_a_rate_more_is_faster(results):
    workload = Workload("data", "read", "MB/s", is_rate=True)
    add(results, workload, [100], [200])
    assert speed(results, workload).median == 2


def test_a_round_without_the_other_has_no_ratio(results):
    workload = Workload("metadata", "stat", "µs")
    add(results, workload, [1], [2, 4])
    assert speed(results, workload).numbers == [0.5]


def test_a_range_that_covers_1_is_equal(results):
    workload = Workload("metadata", "stat", "µs")
    add(results, workload, [1, 1, 1], [0.9, 1.1, 2])
    assert report.speed_text(speed(results, workload)).endswith(" equal")
    other = Workload("metadata", "lookup", "µs")
    add(results, other, [1, 1], [1.1, 2])
    assert "equal" not in report.speed_text(speed(results, other))


def figure(numbers, speeds=None, is_rate=False, is_ours=True, workload="stat"):
    def spread(of):
        of = sorted(of)
        return {"min": of[0], "median": of[len(of) // 2], "max": of[-1]}

    return {
        **{"fs": "tmpfs", "group": "metadata", "workload": workload, "subject": "tmpfs"},
        **{"is_ours": is_ours, "reference": "kernel", "is_rate": is_rate},
        **spread(numbers),
        "speed_to": {"kernel": spread(speeds)} if speeds else {},
    }


def slower(before, after):
    """How many times slower than before, or None."""
    found, count = baseline.compare({"figures": [before]}, {"figures": [after]})
    assert count == (1 if before["is_ours"] else 0)
    return round(found[0].times, 2) if found else None


def test_slower_is_judged_by_the_speed_to_the_reference():
    # All is three times slower, and so is the limit: it is the machine.
    assert slower(figure([1, 1, 1], [0.5, 0.5, 0.5]), figure([3, 3, 3], [0.5, 0.5, 0.5])) is None
    assert slower(figure([1, 1, 1], [0.5, 0.5, 0.5]), figure([1, 1, 1], [0.2, 0.25, 0.25])) == 2


def test_where_there_is_no_reference_the_figure_itself_is_judged():
    assert slower(figure([100]), figure([200])) == 2
    assert slower(figure([200]), figure([100])) is None
    assert slower(figure([200], is_rate=True), figure([100], is_rate=True)) == 2
    assert slower(figure([100], is_rate=True), figure([200], is_rate=True)) is None
    # One of them has no speed: what both have is compared.
    assert slower(figure([100]), figure([200], [0.5])) == 2


@pytest.mark.parametrize(
    "after",
    [
        [0.35, 0.38, 0.5],  # the ranges meet
        [0.3, 0.38, 0.39],  # apart, but the medians are not further apart than the range is wide
        [0.395, 0.395, 0.395],  # lower by chance
    ],
)
def test_what_may_be_chance_is_not_slower(after):
    assert slower(figure([1, 1, 1], [0.4, 0.42, 0.44]), figure([1, 1, 1], after)) is None


def test_a_single_figure_has_some_spread():
    assert slower(figure([100]), figure([109])) is None
    assert slower(figure([100]), figure([111])) == 1.11


def test_a_figure_of_nothing_is_no_error():
    assert slower(figure([0]), figure([5])) is None
    assert slower(figure([5]), figure([0])) is None
    assert slower(figure([5], is_rate=True), figure([0], is_rate=True)) is None


def test_peers_are_not_judged():
    assert slower(figure([1], is_ours=False), figure([9], is_ours=False)) is None


def test_what_was_not_measured_before_is_not_judged():
    assert baseline.compare({"figures": []}, {"figures": [figure([1])]}) == ([], 0)


def test_a_baseline_of_another_format_is_refused(place):
    path = os.path.join(place, "old.json")
    for text in ("{}", "[]", "nonsense", json.dumps({"format": report.FORMAT - 1})):
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        with pytest.raises(Refused):
            baseline.load(path, report.FORMAT)


def test_other_conditions_are_named():
    about = {"machine": "one", "kernel": "6.18", "transport": "io_uring", "settings": {"ENTRIES": 10, "RUNS": 5}}
    assert not baseline.differences({"about": about}, {"about": about})
    other = {**about, "kernel": "6.19", "settings": {"ENTRIES": 20, "RUNS": 3}}
    assert [line.split(":")[0] for line in baseline.differences({"about": about}, {"about": other})] == ["kernel", "ENTRIES"]


def test_one_list_names_file_systems_and_groups():
    only = Only("metadata,tmpfs")
    assert (only.fs, only.groups) == (["tmpfs"], ["metadata"])
    assert only.fs != Only("metadata").fs and only.groups != Only("tmpfs").groups
    assert "transport" not in Only("passthroughfs") and "transport" in Only("lltest")


def test_a_chart_has_a_bar_for_each_figure(results):
    workload = Workload("metadata", "what's cold", "µs")
    add(results, workload, [1, 1], [4, 2])
    chart = charts.chart_of(results, "metadata", "Metadata")
    assert [(name, [bar.spread.most for bar in bars]) for name, bars in chart.rows] == [("what's cold", [0.5])]
    assert charts.chart_of(results, "data", "Data") is None
    text = charts.script(chart)
    assert "'what''s cold'" in text
    try:
        drawn = subprocess.run(["gnuplot"], input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("gnuplot is not there")
    assert drawn.stdout.startswith("<?xml") and not drawn.stderr


def test_the_documentation_names_what_is_slow_first(results):
    peer = Subject("memfs_ll", None)
    results.comparison.subjects.append(peer)
    results.comparison.peers.append(peer.name)
    for name, ours, peers in (("mkdir", 4, 8), ("stat", 1, 3), ("rename", 8, 2)):
        workload = Workload("metadata", name, "µs")
        add(results, workload, [1], [ours])
        results.add(workload, peer, 0, peers)
    publish = load_publish()
    data = report.as_dict([results], {})
    count, rows = publish.slowest(data, "tmpfs")
    # What is as fast as the limit is not named.
    assert (count, [row[1] for row in rows]) == (2, ["rename", "mkdir"])
    assert [row[1] for row in publish.behind_peers(data, "tmpfs")] == ["rename"]
    assert publish.balance(data, "tmpfs") == [
        ["tmpfs", "kernel", "0", "1", "2", "0.25"],
        ["tmpfs", "memfs_ll", "2", "0", "1", "2.00"],
    ]
    assert "![tmpfs-metadata.svg](charts/tmpfs-metadata.svg)" in publish.page(data, ["tmpfs-metadata.svg"])
