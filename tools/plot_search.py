#!/usr/bin/env python3
"""Draws the time of the search against N and C from target/bench/nearest.json, and prints its rows as a table:
tools/plot_search.py JSON [OUT.svg]

Plain SVG, no library. Both axes are logarithmic; a slope of one decade per decade is what brute force costs. The table is
Markdown, for docs/results/search.md.
"""

import json
import math
import sys

WIDTH, HEIGHT, GAP = 330, 260, 70
COLOURS = {"farout": "#c8102e", "faiss": "#1f6fb2", "torch": "#5a8f29"}


def series(rows, along, fixed):
    """Points (value, ms) of ours and of the peers, of the rows in which all but `along` is as in `fixed`."""
    lines = {}
    for row in rows:
        if row["data"] != "gaussian" or any(row[key] != value for key, value in fixed.items() if key != along):
            continue
        ms = row["seconds"] * 1e3
        lines.setdefault("farout", []).append((row[along], ms))
        for peer in ("faiss", "torch"):
            if peer in row["ratio"]:
                lines.setdefault(peer, []).append((row[along], ms * row["ratio"][peer]))
    return {name: sorted(points) for name, points in lines.items()}


def panel(lines, left, title, label):
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    if not xs:
        sys.exit(f"no Gaussian rows for the panel {title!r}")
    low, high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)))
    first, last = math.log10(min(xs)), math.log10(max(xs))
    span = max(last - first, 1e-9)

    def at(x, y):
        return (
            left + (math.log10(x) - first) / span * WIDTH,
            30 + HEIGHT - (math.log10(y) - low) / max(high - low, 1) * HEIGHT,
        )

    out = [f'<text x="{left + WIDTH / 2}" y="16" text-anchor="middle" font-weight="bold">{title}</text>']
    for decade in range(low, high + 1):
        y = at(min(xs), 10**decade)[1]
        out.append(f'<line x1="{left}" y1="{y:.1f}" x2="{left + WIDTH}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{10**decade:g}</text>')
    for x in sorted(set(xs)):
        px = at(x, 10**low)[0]
        out.append(f'<text x="{px:.1f}" y="{HEIGHT + 48}" text-anchor="middle">{x:,}</text>')
    out.append(f'<text x="{left + WIDTH / 2}" y="{HEIGHT + 68}" text-anchor="middle">{label}</text>')
    for name, points in lines.items():
        path = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in points)
        colour = COLOURS[name]
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += ['<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}"/>'.format(*at(x, y), colour) for x, y in points]
        px, py = at(*points[-1])
        out.append(f'<text x="{px - 6:.1f}" y="{py - 8:.1f}" text-anchor="end" fill="{colour}">{name}</text>')
    return out


def table(report):
    peers = [name for name, version in report["peers"].items() if not version.startswith("absent")]
    lines = [f"{report['machine']}, {report['threads']} threads; " + ", ".join(f"{p} {report['peers'][p]}" for p in peers), ""]
    lines.append("| data | N | C | T | k | backend | ms per frame | " + " | ".join(f"{p} / ours" for p in peers) + " | of the peak | error |")
    lines.append("|---" * (9 + len(peers)) + "|")
    for row in report["rows"]:
        ratios = [f"{row['ratio'][p]:.1f}" if p in row["ratio"] else "" for p in peers]
        peak = "" if row["peak_fraction"] is None else f"{row['peak_fraction']:.2f}"
        backend = row["backend"].split(" ")[0]
        cells = [row["data"], f"{row['n']:,}", row["c"], row["t"], row["k"], backend, f"{row['seconds'] * 1e3:.1f}"]
        lines.append("| " + " | ".join(map(str, [*cells, *ratios, peak, f"{row['max_rel_error']:.0e}"])) + " |")
    return "\n".join(lines)


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    with open(sys.argv[1]) as file:
        report = json.load(file)
    print(table(report))
    if len(sys.argv) == 2:
        return
    usual = {"n": 100_000, "c": 384, "t": 1200, "k": 3}
    total = 2 * WIDTH + 2 * GAP + 30
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {total} {HEIGHT + 80}" font-family="sans-serif" font-size="12">',
        f'<rect width="{total}" height="{HEIGHT + 80}" fill="white"/>',
        *panel(series(report["rows"], "n", usual), GAP, "ms per frame, C = 384, T = 1200, k = 3", "N, reference features"),
        *panel(series(report["rows"], "c", usual), 2 * GAP + WIDTH, "ms per frame, N = 100,000, T = 1200, k = 3", "C, numbers per feature"),
        "</svg>",
    ]
    with open(sys.argv[2], "w") as file:
        file.write("\n".join(out) + "\n")


main()
