# SPDX-License-Identifier: MIT
"""The results as people read them (Markdown) and as programs do (JSON); charts.py draws them."""

import json
import os
import shutil

from charts import GNUPLOT, chart_of
from goals import goals_for
from settings import GROUPS

FORMAT = 2  # of the JSON; another number where a reader would go wrong
HEADINGS = {
    "metadata": "Metadata: one process, a directory of {ENTRIES} files",
    "parallel": "Metadata: several processes, each in a directory of its own",
    "data": "Data: one file of {FILE_MIB} MiB",
    "tools": "Tools: a source tree of at least {TREE_FILES} files",
    "transport": "Transport: the round trip of a request that takes no work",
    "startup": "Start and end: until the mount answers, and until the program has ended",
    "scale": "Scale: up to {FILES} files in a directory",
    "memory": "Memory: what the program needs for each of {MEMORY_FILES} empty files, peers for each of fewer",
    "database": "Kept in a database on a disk: small files, and a large one",
}
# Where another comparison does something else in a group of this name.
OTHER_HEADINGS = {
    ("passthroughfs", "memory"): "Memory: {MEMORY_FILES} files known to the kernel, of peers fewer",
    ("passthroughfs", "tools"): "Tools: a source tree of at least {TREE_FILES} files, on a disk",
}


def number(value):
    """Two or three digits: more mean nothing."""
    size = abs(value)
    for limit, digits in ((99.95, 0), (9.995, 1), (0.0995, 2)):
        if size >= limit:
            return f"{value:.{digits}f}"
    return f"{value:.3f}"


def spread_text(spread):
    if spread is None:
        return ""
    if len(spread.numbers) == 1:
        return number(spread.median)
    return f"{number(spread.median)} ({number(spread.least)}..{number(spread.most)})"


def speed_text(spread):
    """A range that covers 1 shows no difference."""
    if spread is None:
        return ""
    return spread_text(spread) + (" equal" if len(spread.numbers) > 1 and spread.covers(1) else "")


def requests_text(requests, per):
    """The frequent ones first; what is hardly ever asked is left out."""
    if requests is None:
        return ""
    told = [
        f"{name} {count:.2g}" for name, count in sorted(requests.items(), key=lambda item: -item[1]) if count >= 0.001
    ]
    return f"per {per}: {', '.join(told)}" if told else "none"


def table(head, rows):
    """Columns of one width, so that it is readable as it is."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in lines)


class Verdict:
    """One goal for one subject, and how it came out."""

    def __init__(self, results, workload, subject, goal):
        self.workload = workload
        self.subject = subject
        self.goal = goal
        self.spread = goal.spread(results, workload, subject)
        self.is_met = self.spread is not None and goal.is_met(self.spread)

    def __str__(self):
        return f"{self.goal} {'met' if self.is_met else 'missed'}"


def verdicts(results, workload, subject):
    goals = goals_for(results.comparison, workload, subject)
    all_of_them = [Verdict(results, workload, subject, goal) for goal in goals]
    return [verdict for verdict in all_of_them if verdict.spread is not None]


def peers(results):
    return results.comparison.peers


def workload_row(results, workload, subject):
    figure = results.figure(workload, subject)
    is_missing = (workload, subject) in results.not_supported
    return [
        workload.name,
        subject.name,
        "not supported" if is_missing else spread_text(figure),
        workload.unit if figure else "",
        speed_text(results.speed(workload, subject, results.comparison.reference)),
        *(speed_text(results.speed(workload, subject, peer)) if subject.is_ours else "" for peer in peers(results)),
        ", ".join(map(str, verdicts(results, workload, subject))),
        requests_text(results.requests(workload, subject), workload.per),
    ]


def group_table(results, group):
    workloads = [workload for workload in results.workloads if workload.group == group]
    speeds = [f"speed to {name}" for name in (results.comparison.reference, *peers(results))]
    head = ["what", "of", "median (least..most)", "", *speeds, "goals", "requests"]
    rows = [
        workload_row(results, workload, subject)
        for workload in workloads
        for subject in results.subjects
        if results.figure(workload, subject) or (workload, subject) in results.not_supported
    ]
    return table(*without_empty_columns(head, rows))


def without_empty_columns(head, rows):
    kept = [i for i in range(len(head)) if any(row[i] for row in rows)]
    return [head[i] for i in kept], [[row[i] for i in kept] for row in rows]


def goals_lines(results):
    lines = []
    for subject in results.subjects:
        judged = [verdict for workload in results.workloads for verdict in verdicts(results, workload, subject)]
        if not judged:
            continue
        missed = [verdict for verdict in judged if not verdict.is_met]
        lines.append(f"{subject.name}: {len(judged) - len(missed)} of {len(judged)} met{':' if missed else ''}")
        lines += [f"- missed: {v.workload.name} {spread_text(v.spread)}, goal {v.goal}" for v in missed]
        lines.append("")
    return lines


def heading(comparison, group, settings):
    text = OTHER_HEADINGS.get((comparison.name, group), HEADINGS[group])
    return f"{comparison.name}. {text.format(**settings)}"


def groups_of(results):
    measured = {workload.group for workload in results.workloads}
    return [group for group in GROUPS if group in measured]


def charts_of(all_results, settings):
    found = [
        chart_of(results, group, heading(results.comparison, group, settings))
        for results in all_results
        for group in groups_of(results)
    ]
    return [chart for chart in found if chart]


def missing_in(all_results):
    """Why, by what."""
    missing = {} if shutil.which(GNUPLOT) else {"charts": f"{GNUPLOT} is not installed; scripts/setup bench does it"}
    for results in all_results:
        missing |= {**results.comparison.missing, **results.not_measured}
    return missing


def markdown(all_results, about):
    lines = ["# Benchmark", "", *[f"- {name}: {value}" for name, value in about.items() if name != "settings"]]
    lines.append("- settings: " + ", ".join(f"{name}={value}" for name, value in about["settings"].items()))
    lines += [f"- missing: {name}: {why}" for name, why in missing_in(all_results).items()]
    lines += [f"- failed: {failure}" for results in all_results for failure in results.failures]
    lines.append("")
    for results in all_results:
        for group in groups_of(results):
            head = "## " + heading(results.comparison, group, about["settings"])
            lines += [head, "", group_table(results, group), ""]
    goals = [line for results in all_results for line in goals_lines(results)]
    if goals:
        lines += ["## Goals", "", *goals]
    return "\n".join(lines)


def as_dict(all_results, about):
    return {
        "format": FORMAT,
        "about": about,
        "missing": missing_in(all_results),
        "failures": [
            {"subject": failure.subject, "what": failure.what, "error": failure.text, "known": failure.is_known}
            for results in all_results
            for failure in results.failures
        ],
        "figures": [
            figure_dict(results, workload, subject)
            for results in all_results
            for workload in results.workloads
            for subject in results.subjects
            if results.figure(workload, subject)
        ],
    }


def figure_dict(results, workload, subject):
    comparison = results.comparison
    speeds = {name: results.speed(workload, subject, name) for name in (comparison.reference, *comparison.peers)}
    return {
        "fs": comparison.name,
        "group": workload.group,
        "workload": workload.name,
        "subject": subject.name,
        "is_ours": subject.is_ours,
        "reference": comparison.reference,
        "unit": workload.unit,
        "is_rate": workload.is_rate,
        **results.figure(workload, subject).as_dict(),
        "speed_to": {name: spread.as_dict() for name, spread in speeds.items() if spread},
        "requests": results.requests(workload, subject),
        "requests_per": workload.per,
        "goals": [
            {"goal": str(verdict.goal), "met": verdict.is_met} for verdict in verdicts(results, workload, subject)
        ],
    }


def save(directory, text, data, drawn):
    """Whole files or the old ones; no chart of another run stays beside them."""
    os.makedirs(directory, exist_ok=True)
    for name in os.listdir(directory):
        if name.endswith(".svg") and name not in drawn:
            os.unlink(os.path.join(directory, name))
    files = {"latest.md": text + "\n", "latest.json": json.dumps(data, indent=1) + "\n", **drawn}
    for name, content in files.items():
        path = os.path.join(directory, name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(content)
        os.rename(path + ".new", path)
