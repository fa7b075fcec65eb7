# SPDX-License-Identifier: MIT
"""
The results as pictures: for each group an SVG file, drawn by gnuplot.  A bar for each subject shows its speed by the
measure of the reference, and reaches from that (1) to the median; where nothing is said of speeds, the figure itself.
A thin line is the range.
"""

import itertools
import shutil
import subprocess
import sys

GNUPLOT = "gnuplot"
# Ours are blue; the peers are told apart without them.
OURS = ("#1f5fbf", "#6aa5f0")
REFERENCE = "#444444"
PEERS = ("#d9822b", "#b8b8b8", "#8c6bb1", "#5aa469", "#c0504d")
BAR = 9  # pixels
GAP = 10
WIDTH = 860
MARGINS = 150  # for the legend, the title and the axis
LEGEND_ROWS = 2
# Speeds to mounting without a program would say nothing, and the limit has no memory of its own.
ABSOLUTE = ("transport", "startup", "memory")
# Their figures are of one subject alone; the tables have them.
WITHOUT = ("database",)


class Bar:
    def __init__(self, subject, spread):
        self.subject = subject
        self.spread = spread


class Chart:
    """@rows are (name, bars).  @limit is the name of the reference, which is what a speed of 1 is @has_speed; the
    figures are in @unit otherwise."""

    def __init__(self, name, title, rows, limit, has_speed, unit):
        self.name = name
        self.title = title
        self.rows = rows
        self.limit = limit
        self.has_speed = has_speed
        self.unit = unit

    def subjects(self):
        return list({bar.subject.name: bar.subject for _, bars in self.rows for bar in bars}.values())


def chart_of(results, group, title):
    """None if there is nothing to draw."""
    limit = results.comparison.reference
    has_speed = group not in ABSOLUTE
    workloads = [workload for workload in results.workloads if workload.group == group and workload.has_speed]

    def spread(workload, subject):
        return results.speed(workload, subject, limit) if has_speed else results.figure(workload, subject)

    rows = []
    for workload in workloads:
        spreads = [(subject, spread(workload, subject)) for subject in results.subjects]
        bars = [Bar(subject, found) for subject, found in spreads if found and found.least > 0]
        if bars:
            rows.append((workload.name, bars))
    if group in WITHOUT or not rows:
        return None
    return Chart(f"{results.comparison.name}-{group}", title, rows, limit, has_speed, workloads[0].unit)


def colours(chart):
    ours, peers = itertools.cycle(OURS), itertools.cycle(PEERS)
    found = {chart.limit: REFERENCE}
    for subject in chart.subjects():
        if subject.name not in found:
            found[subject.name] = next(ours if subject.is_ours else peers)
    return found


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def layout(chart):
    """The rows of each subject's block of data, the labels at their places, and the height; in pixels from above."""
    blocks = {subject.name: [] for subject in chart.subjects()}
    labels = []
    y = 0
    for name, bars in chart.rows:
        labels.append(f"{quoted(name)} {y + BAR * len(bars) / 2}")
        for bar in bars:
            blocks[bar.subject.name].append((y + BAR / 2, bar.spread))
            y += BAR
        y += GAP
    return blocks, labels, y


def bounds(chart):
    numbers = [n for _, bars in chart.rows for bar in bars for n in (bar.spread.least, bar.spread.most)]
    numbers += [1] if chart.has_speed else []
    return min(numbers) / 1.3, max(numbers) * 1.3


def data_row(middle, spread, start):
    """As boxxyerror has it (x, y, x from, x to, y from, y to), then the range."""
    edges = (spread.median, middle, start, spread.median, middle - BAR * 0.42, middle + BAR * 0.42)
    return " ".join(f"{edge:.6g}" for edge in (*edges, spread.least, spread.most))


def script(chart):
    """What gnuplot is told."""
    blocks, labels, bottom = layout(chart)
    low, high = bounds(chart)
    meaning = f"speed, {chart.limit} = 1 (to the right is faster)" if chart.has_speed else f"{chart.unit} (less is better)"
    lines = [
        f"set terminal svg size {WIDTH},{bottom + MARGINS} dynamic font 'sans-serif,12' background '#ffffff'",
        f"set title {quoted(chart.title)} noenhanced font ',14'",
        f"set xlabel {quoted(meaning)} noenhanced",
        "set logscale x",
        "set format x '%g'",
        f"set xrange [{low:.6g}:{high:.6g}]",
        f"set yrange [{bottom}:{-GAP}]",
        "set grid xtics lc rgb '#dddddd'",
        "set border 1 lc rgb '#888888'",
        "set tics nomirror textcolor rgb '#222222'",
        f"set ytics ({', '.join(labels)}) scale 0 noenhanced",
        f"set tmargin {LEGEND_ROWS + 3}",
        f"set key at screen 0.5,0.99 center top horizontal maxrows {LEGEND_ROWS} noenhanced",
        "set style fill solid 1 noborder",
    ]
    if chart.has_speed:
        lines.append(f"set arrow from 1,{bottom} to 1,{-GAP} nohead front lc rgb '#333333' lw 1.5")
    plots = []
    colour = colours(chart)
    for number, (name, rows) in enumerate(blocks.items()):
        block = f"$data{number}"
        data = [data_row(middle, spread, 1 if chart.has_speed else low) for middle, spread in rows]
        lines += [f"{block} << EOD", *data, "EOD"]
        plots.append(f"{block} using 1:2:3:4:5:6 with boxxyerror lc rgb '{colour[name]}' title {quoted(name)}")
        plots.append(f"{block} using 1:2:7:8 with xerrorbars pt 0 lw 1 lc rgb '#333333' notitle")
    return "\n".join([*lines, "plot " + ", ".join(plots), ""])


def draw(charts):
    """The text of each, by file name; none where gnuplot is missing."""
    if not shutil.which(GNUPLOT):
        return {}
    drawn = {}
    for chart in charts:
        done = subprocess.run([GNUPLOT], input=script(chart), capture_output=True, text=True, check=False)
        if done.returncode == 0:
            drawn[f"{chart.name}.svg"] = done.stdout
        else:
            print(f"bench: no chart {chart.name}: {done.stderr.strip()}", file=sys.stderr)
    return drawn
