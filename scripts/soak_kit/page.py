"""What scripts/soak tells: a table, and the memory over time as a picture."""


def page(told):
    """The run as Markdown: one line for each fault, over all rounds."""
    machine = told["machine"]
    lines = [
        f"{told['command']}: {told['minutes']:.0f} minutes, {told['rounds']} rounds, {machine['processor']},"
        f" {machine['processors']} cores, {machine['system']}.", "",
        "| | fault | passed | what was seen |", "|---|---|---|---|",
    ]
    seen = {}
    for one in told["results"]:
        seen.setdefault((one["group"], one["fault"]), []).append(one)
    for (group, name), all_of_it in seen.items():
        passed = sum(one["outcome"] == "passed" for one in all_of_it)
        failed = [one for one in all_of_it if one["outcome"] == "FAILED"]
        count = "left out" if all(one["outcome"] == "left out" for one in all_of_it) else f"{passed} of {len(all_of_it)}"
        lines.append(f"| {group} | {name} | {count} | {(failed or all_of_it)[-1]['told'].replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def memory_picture(samples, width=760, height=240):
    """Resident memory over time as SVG; `samples` are tuples of seconds, MiB, descriptors, threads."""
    left, top = 52, 16
    if not samples:
        return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"/>'
    minutes = max(samples[-1][0] / 60, 1e-3)
    most = max(one[1] for one in samples) * 1.15
    x = lambda seconds: left + (width - left - 12) * seconds / 60 / minutes
    y = lambda mib: top + (height - top - 36) * (1 - mib / most)
    points = " ".join(f"{x(one[0]):.1f},{y(one[1]):.1f}" for one in samples)
    marks = []
    step = next(step for step in (10, 20, 50, 100, 200, 500, 1000, 10**6) if most / step <= 6)
    for mib in range(0, int(most) + 1, step):
        marks.append(f'<path d="M{left} {y(mib):.1f}H{width - 12}" stroke="#ddd"/>'
                     f'<text x="{left - 6}" y="{y(mib) + 4:.1f}" text-anchor="end">{mib}</text>')
    step = next(step for step in (1, 2, 5, 10, 20, 60, 10**6) if minutes / step <= 10)
    for minute in range(0, int(minutes) + 1, step):
        marks.append(f'<text x="{x(minute * 60):.1f}" y="{height - 18}" text-anchor="middle">{minute}</text>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">'
            f'<rect width="100%" height="100%" fill="#fff"/>{"".join(marks)}'
            f'<polyline points="{points}" fill="none" stroke="#0a6" stroke-width="1.5"/>'
            f'<text x="{left}" y="12">resident memory, MiB</text>'
            f'<text x="{width - 12}" y="{height - 4}" text-anchor="end">minutes</text></svg>\n')
