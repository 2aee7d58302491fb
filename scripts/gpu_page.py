"""The page of scripts/gpu-check: Markdown that stands for itself."""


def number(value, digits=3):
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.1e}" if value and abs(value) < 1e-3 else f"{value:.{digits}f}"
    return str(value)


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        lines.append("| " + " | ".join(number(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |")
    return lines


def figures(report, part):
    return [step["figures"] for step in report["steps"] if step["part"] == part and step["figures"]]


def search(report, peers):
    """Ours and the peers', shape by shape."""
    lines, shapes = [], []
    for ours in figures(report, "search"):
        shape = tuple(ours[key] for key in "tnck")
        if "files" in ours and shape not in shapes:
            shapes.append(shape)
    for shape in shapes:
        lines += ["", "### {} patches x {} rows x {} numbers, k = {}".format(*shape), ""]
        rows, base = [], None
        for ours in figures(report, "search"):
            if "files" in ours and tuple(ours[key] for key in "tnck") == shape:
                ms = ours.get("ms_from_card", ours["ms_from_host"])
                base = base or ours.get("ms_kernels", ms)
                who = f"farout, {ours['code']}"
                if "ms_kernels" in ours:
                    rows.append([who + ": its kernels, by the GPU's clock", ours["ms_kernels"], ours["ms_kernels"] / base, ours["max_rel_error"]])
                    rows.append([who + ": a frame in the card's memory", ms, ms / base, ""])
                rows.append([who + ": a frame from the host", ours["ms_from_host"], ours["ms_from_host"] / base, ours["max_rel_error"]])
        for peer in figures(report, "peers"):
            if tuple(peer[key] for key in "tnck") == shape:
                rows.append([peers[peer["peer"]], peer["ms"], peer["ms"] / base, peer["max_rel_error"]])
        lines += table(["who", "ms", "x the first", "largest relative error"], rows)
        kernels = [one for one in figures(report, "search") if one.get("ms_per_kernel") and tuple(one[key] for key in "tnck") == shape]
        if kernels:
            names = sorted({name for one in kernels for name in one["ms_per_kernel"]})
            lines += ["", "Milliseconds per kernel, patches that were compared with the whole bank, rows per patch that codes left over, and tiles",
                      "of 128 patches for which they were no good:", ""]
            lines += table(["code", *names, "patches", "rows left over", "tiles"], [
                [one["code"], *[one["ms_per_kernel"].get(name) for name in names], one["rescans_per_frame"],
                 one["survivors_per_frame"] / one["t"], one["open_tiles_per_frame"]] for one in kernels])
    for recipe in figures(report, "search"):
        if "tables" in recipe:
            words = "The default recipe: {t} patches, {tables} tables of {n} rows x {c}, from the host"
            lines += ["", f"{words.format(**recipe)}: {number(recipe['ms_from_host'])} ms."]
    return lines


def page(report, peers):
    lines = ["# GPU check", "", f"**{report['verdict']}**", "", f"{report['begun']}, {report['seconds']} s.", ""]
    if report["rehearsal"]:
        lines += ["This was a rehearsal on the CPU: the figures are those of small problems there.", ""]
    facts = {key: value for step in figures(report, "machine") for key, value in step.items()}
    lines += table(["machine", ""], facts.items())
    lines += ["", "## Steps", "", "A step that was skipped says nothing of what it would have shown.", ""]
    lines += table(["result", "part", "step", "s", "why"], [
        [{"passed": "passed", "failed": "**FAILED**", "skipped": "*skipped*"}[step["result"]], step["part"], step["step"], step["seconds"], step["why"]]
        for step in report["steps"]])
    found = search(report, peers)
    if found:
        lines += ["", "## Search", *found]
    sanitizer = figures(report, "sanitizer")
    if sanitizer:
        lines += ["", "## Sanitizer", "", *[f"- {one['summary']}" for one in sanitizer]]
    model = [one for one in figures(report, "model") if "ms_frame" in one]
    if model:
        keys = ["ms_preprocess", "ms_upload", "ms_model", "ms_download", "ms_upload_model_download", "ms_search_from_host", "ms_frame", "ms_frame_own_stream",
                "off_golden_frame", "off_features", "off_distances"]
        heads = ["preprocess", "upload", "model", "download", "these three", "search from the host", "a frame", "a frame, features read back",
                 "golden frame off", "features off", "distances off"]
        lines += ["", "## Model and search, milliseconds", "", f"{model[0]['model']}; a bank of {model[0]['rows']} rows.", "",
                  "Upload, model and download are told apart where features stay on the card. What is off is part of the CPU's length.", ""]
        lines += table(["runs on", "way", *heads], [[one["runs_on"], one["way"], *[one.get(key) for key in keys]] for one in model])
    live = figures(report, "live")
    if live:
        keys = ["verdicts_per_second", "age_p50_ms", "age_p95_ms", "pictures_per_second", "picture_p95_ms", "dropped"]
        lines += ["", "## A live source", ""]
        lines += table(["provider", "way", "verdicts/s", "age p50 ms", "age p95 ms", "pictures/s", "picture p95 ms", "dropped"],
                       [[one["provider"], one["way"], *[one[key] for key in keys]] for one in live])
    return "\n".join(lines) + "\n"
