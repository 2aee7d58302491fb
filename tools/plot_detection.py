#!/usr/bin/env python3
"""Draws what tools/judge_public found on RoadAnomaly: AP and FPR95 by layer, by references and k, and by the kinds of outliers.

    tools/plot_detection.py OUT docs/results/detection.svg

OUT is the folder of tools/judge_public; the tables layers, size, options and outliers must have been run. Plain SVG, no library.
"""

import json
import pathlib
import sys

WIDTH, HEIGHT, GAP, TOP = 300, 200, 90, 30
COLOURS = ("#c8102e", "#1f6fb2", "#5a8f29", "#8a5aa8")
KINDS = ("query", "key", "value", "tokens")
COUNTS = (1000, 3000, 10000, 30000, 100000)
KS = (1, 3, 10, 30)
OUTLIERS = (("option-sum-affinity", "none"), ("outliers-scraps-0.5", "scraps 0.5"), ("default", "scraps 0.7"),
            ("outliers-scraps-1", "scraps 1"), ("outliers-objects", "objects 0.7"), ("outliers-both", "both 0.7"))  # fmt: skip


def figure(out, name, key):
    pooled = json.loads((out / f"roadanomaly-{name}.json").read_text())["methods"][0]["pooled"]
    return 100 * pooled[key]


def panel(left, top, title, ticks, lines, width=WIDTH):
    """Lines of percents over evenly spaced ticks, with their names at the right."""
    values = [value for points in lines.values() for value in points]
    low, high = 10 * (min(values) // 10), 10 * (max(values) // 10 + 1)

    def at(place, value):
        x = left + (place + 0.5) / len(ticks) * width
        return x, top + HEIGHT - (value - low) / (high - low) * HEIGHT

    parts = [f'<text x="{left + width / 2}" y="{top - 12}" text-anchor="middle" font-weight="bold">{title}</text>']
    for value in range(int(low), int(high) + 1, 10):
        y = at(0, value)[1]
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{left + width}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value}</text>')
    for place, tick in enumerate(ticks):
        parts.append(f'<text x="{at(place, low)[0]:.1f}" y="{top + HEIGHT + 18}" text-anchor="middle">{tick}</text>')
    # Names keep clear of each other.
    names = sorted(lines, key=lambda name: -lines[name][-1])
    floor = top
    for name in names:
        colour, points = COLOURS[list(lines).index(name)], lines[name]
        path = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in enumerate(points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += ['<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}"/>'.format(*at(*point), colour) for point in enumerate(points)]
        floor = max(floor + 13, at(0, points[-1])[1] + 4)
        parts.append(f'<text x="{left + width + 4}" y="{floor:.1f}" fill="{colour}">{name}</text>')
    return parts


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    out, picture = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    blocks, measures, parts = (9, 10, 11, 12), (("AP", "ap"), ("FPR95", "fpr95_first")), []
    for place, (name, key) in enumerate(measures):
        lines = {kind: [figure(out, f"layer-{kind}{block}", key) for block in blocks] for kind in KINDS}
        parts += panel(60 + place * (WIDTH + GAP), TOP, f"{name} by layer", [f"block {b}" for b in blocks], lines)
    second = TOP + HEIGHT + 80
    sizes = {name: [figure(out, f"size-{count}-3", key) for count in COUNTS] for name, key in measures}
    parts += panel(60, second, "references, k = 3", [f"{count:,}" for count in COUNTS], sizes)
    neighbours = {name: [figure(out, f"size-100000-{k}", key) for k in KS] for name, key in measures}
    parts += panel(60 + WIDTH + GAP, second, "k, 100,000 references", KS, neighbours)
    third = second + HEIGHT + 80
    kinds = {name: [figure(out, run, key) for run, _ in OUTLIERS] for name, key in measures}
    parts += panel(60, third, "known outliers and their weight", [label for _, label in OUTLIERS], kinds, 2 * WIDTH + GAP)
    width, height = 2 * WIDTH + GAP + 120, third + HEIGHT + 40
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">'
    picture.write_text("\n".join([head, f'<rect width="{width}" height="{height}" fill="white"/>', *parts, "</svg>"]) + "\n")


if __name__ == "__main__":
    main()
