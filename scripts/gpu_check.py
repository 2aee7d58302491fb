#!/usr/bin/env python3
"""The steps of scripts/gpu-check, their results, and the page. Needs nothing but Python; see docs/gpu.md.

Ends with 0 if every step passed, 1 if one failed, 3 if none failed and some were skipped, 4 if there is no GPU.
"""

import argparse
import array
import glob
import json
import math
import os
import pathlib
import platform
import shutil
import sys

from gpu_steps import PARTS, PEERS, Failed, NoGpu, Skip, Steps, look

SHAPES = [(3600, 100_000, 768, 3), (1196, 20_000, 128, 3)]
# What an answer tells of how it was found, per frame.
COUNTED = ["rescans_per_frame", "survivors_per_frame", "open_tiles_per_frame"]
RECIPE = (1196, 20_000, 128, 3)
WAYS = {
    "off": 'io_binding = "off"',
    "binding": 'io_binding = "auto"',
    "graph": 'io_binding = "auto"\ncuda_graph = true',
}
PRECISIONS = {"cuda": ["tf32", "fp32"], "tensorrt": ["fp16", "fp32"], "cpu": ["fp32"]}
# Small models that hold their numbers in other formats.
FORMATS = ["timm-vit.fp16", "timm-vit.bf16", "timm-dinov3.qdq", "timm-vit.qoperator"]
# Whose code is tried as far as the card can run it: each way that the kernels are written or cut.
ARCHITECTURES = [61, 70, 75, 80, 86, 87, 89, 90, 100, 103, 120]
# How far a frame's numbers may be off the CPU's, as part of their length.
OFF = 0.02


class Check(Steps):
    def machine(self):
        def gpu():
            if self.rehearsal:
                raise Skip("a rehearsal looks for no GPU")
            look()
            told = self.answers("card", ["card"], 60)[0]
            self.card.update(told)
            return told

        def software():
            told = {"system": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()}
            if not self.rehearsal and shutil.which("nvidia-smi"):
                query = "--query-gpu=name,driver_version,clocks.max.sm,power.limit,memory.total"
                told["nvidia-smi"] = self.run("nvidia-smi", ["nvidia-smi", query, "--format=csv,noheader"], 30)[0].strip()
            findings = json.loads(self.run("doctor", [self.program("farout"), "doctor", "--json"], 60, fine=(0, 1))[0])
            self.findings = {(one["topic"], one["name"]): one for one in findings}
            for key in (("ONNX Runtime", "library"), ("ONNX Runtime", "cuda"), ("ONNX Runtime", "tensorrt"), ("search", "cuda")):
                if key in self.findings:
                    told[f"{key[0]}, {key[1]}"] = self.findings[key]["detail"]
            return told

        self.findings = {}
        if self.step("machine", "GPU", gpu) is None and not self.rehearsal:
            self.dead = self.dead or self.lacks.get("programs", "the GPU was not recognised")
        self.step("machine", "software", software)

    def paths(self):
        """The ways to have code for this card, by name: a folder of code and a word of the engine's name."""
        if self.rehearsal:
            return {"CPU": (None, "")}
        own, found = int(self.card["architecture"].removeprefix("sm_")), {}
        for arch in sorted({own, *ARCHITECTURES}, reverse=True):
            if arch > own:
                continue
            ready = self.home / "kernels" / str(arch)
            if not ready.exists():
                ready = self.work / "kernels" / f"{arch}-made"
                try:
                    self.run(f"kernels {arch}", [self.program("farout"), "kernels", "build", "--arch", f"sm_{arch}", "-o", ready], 120)
                except (Skip, Failed) as why:
                    found[f"sm_{arch}" if arch == own else f"compute_{arch}"] = (Skip(f"no code for it: {self.lacks.get('kernels', why)}"), "")
                    continue
            for name, words in ([(f"sm_{arch}", f"sm_{arch}")] if arch == own else []) + [(f"compute_{arch}", f"compute_{arch}, translated by the driver")]:
                # A folder with one file, so that it is the one that is taken.
                folder = self.work / "kernels" / name
                folder.mkdir(exist_ok=True)
                shutil.copy(ready / f"{name}.kernels", folder)
                found[words] = (folder, f"{name}.kernels")
        return found

    def by_nvrtc(self):
        """The daemon's first start without ready code."""
        if self.rehearsal:
            raise Skip("it needs a GPU")
        shutil.rmtree(self.work / "cache" / "kernels", ignore_errors=True)
        try:
            lines = self.answers("answers NVRTC", ["answers", "--small"], 300)
        except Failed as why:
            if "NVRTC is not installed" in str(why):
                raise Skip("NVRTC is not installed") from None
            raise
        engines = [line["engine"] for line in lines if "engine" in line]
        if "NVRTC" not in engines[0] or "/cache/" not in engines[1]:
            raise Failed(f"it was not compiled and then taken from the cache: {engines[0]}; {engines[1]}")
        return {"cases": len(lines)}

    def with_code(self, folder):
        if isinstance(folder, Skip):
            raise folder
        return ["--kernels", folder] if folder else []

    def held(self, lines, word):
        """That the code was taken which was meant to be."""
        others = {line["engine"] for line in lines if word not in line.get("engine", word)}
        if others:
            raise Failed(f"other code was taken than {word}: {others.pop()}")
        return lines

    def check_answers(self, paths):
        for name, (folder, word), first in self.with_and_without_codes(paths):

            def work(name=name, folder=folder, word=word, first=first, own=folder is self.best):
                if self.args.plant == "death":
                    self.run("death", ["sh", "-c", "kill -9 $$"], 10)
                command = [*self.with_code(folder), *first, "answers", *([] if own and not self.rehearsal else ["--small"]), *self.falsify("answers")]
                lines = self.held(self.answers(f"answers {name}", command, 300), word)
                return {"cases": len(lines), **{key: sum(line.get(key, 0) for line in lines) for key in COUNTED}}

            self.step("answers", f"hard cases against double precision, {name}", work)

    def with_and_without_codes(self, paths):
        """Each way to have code, as the search takes it, and with 8-bit codes left out: half precision does all the work then."""
        for name, path in paths.items():
            yield name, path, []
            if not self.rehearsal:
                yield f"{name}, halves alone", path, ["--halves"]

    def check_sanitizer(self):
        places = ["/usr/local/cuda*/bin", "/usr/local/cuda*/compute-sanitizer", "/opt/nvidia/*/*/compute-sanitizer"]
        tool = shutil.which("compute-sanitizer") or next((p for f in places for p in sorted(glob.glob(f"{f}/compute-sanitizer"))), None)
        for kind in ("memcheck", "racecheck", "synccheck", "initcheck"):

            def work(kind=kind):
                if self.rehearsal:
                    raise Skip("it needs a GPU")
                if not tool:
                    raise Skip("compute-sanitizer is not installed")
                program = [self.program("gpu_check"), *self.with_code(self.best), "answers", "--small"]
                told, _ = self.run(kind, [tool, "--tool", kind, "--error-exitcode", "86", *program], 240)
                summary = [line.strip("= ") for line in told.splitlines() if "SUMMARY" in line]
                if not summary:
                    raise Failed("it printed no summary")
                return {"summary": summary[-1]}

            self.step("sanitizer", kind, work)

    def check_search(self, paths):
        shapes = [(150, 1000, 48, 3)] if self.rehearsal else SHAPES
        measured = []
        for name, (folder, word), first in self.with_and_without_codes(paths):
            own = folder is self.best
            for shape in shapes if own else shapes[:1]:

                def work(name=name, shape=shape, folder=folder, word=word, first=first):
                    text = ",".join(map(str, shape))
                    command = [*self.with_code(folder), *first, "search", "--shape", text, "--features", self.work / "features"]
                    (line,) = self.held(self.answers(f"search {name} {text}", [*command, *self.falsify("search")], 240), word)
                    return dict(line, code=name)

                figures = self.step("search", f"{shape[0]} x {shape[1]} x {shape[2]}, k = {shape[3]}, {name}", work)
                if figures and own and not first:
                    measured.append(figures)
        return measured

    def check_recipe(self):
        recipe = (100, 800, 32, 3) if self.rehearsal else RECIPE
        self.step("search", "the default recipe's tables, {} x {} x {}".format(*recipe), lambda: self.answers(
            "recipe", [*self.with_code(self.best), "recipe", "--shape", ",".join(map(str, recipe)), *self.falsify("recipe")], 240)[0])

    def check_peers(self, measured):
        if not measured:
            self.step("peers", "all", lambda: (_ for _ in ()).throw(Skip("there is no search to set them beside")))
        for ours in measured:
            for peer, words in PEERS.items():

                def work(ours=ours, peer=peer):
                    script = pathlib.Path(__file__).with_name("gpu_peers.py")
                    command = [sys.executable, script, peer, self.device, *ours["files"], ours["c"], ours["k"]]
                    try:
                        told, code = self.run(f"peer {peer} {ours['t']} {ours['c']}", command, 240, fine=(0, 3))
                    except Failed as why:
                        raise Skip(f"the peer fails: {why}") from None
                    if code == 3:
                        raise Skip(told.strip())
                    return dict(json.loads(told.splitlines()[-1]), **{key: ours[key] for key in "tnck"})

                self.step("peers", f"{words}, {ours['t']} x {ours['n']} x {ours['c']}", work)

    def config(self, name, source, runtime, model=None, bank=None):
        """Writes a configuration."""
        search = "cpu" if 'device = "cpu"' in runtime else "cuda"
        bank_lines = f'[bank]\npath = "{bank}"\n' if bank else ""
        code = f'kernels = "{self.best}"\n' if self.best else ""
        path = self.work / "configs" / f"{name}.toml"
        path.write_text(
            f'[[stream]]\nsource = "{source}"\n[model]\npath = "{model}"\n{bank_lines}[runtime]\n{runtime}\n'
            f'engines = "{self.work / "engines"}"\n[search]\ndevice = "{search}"\n{code}[output]\nrtsp = "off"\nhttp = "off"\n')
        return path

    def provider_is_there(self, provider):
        if provider == "cpu":
            return
        if self.rehearsal:
            raise Skip("it needs a GPU")
        found = self.findings.get(("ONNX Runtime", provider))
        if found is None or found["standing"] != "good":
            lack = self.lacks.get("onnxruntime")
            raise Skip(lack or f"{found['detail']} -> {found['remedy']}" if found else lack or "ONNX Runtime does not load")

    def pair(self):
        if self.args.model:
            return self.args.model, self.args.bank
        return self.file("models", "models/synthetic-vit.onnx"), self.file("models", "models/synthetic.bank")

    def check_model(self):
        small = "width=320,height=180" if self.rehearsal else "width=1280,height=720"
        source, runs = f"synthetic:seed=951,frames=2,{small}", 2 if self.rehearsal else 30

        def timed(name, provider, precision, way, plant):
            self.provider_is_there(provider)
            model, bank = self.pair()
            runtime = f'device = "{provider}"\nprecision = "{precision}"\n{WAYS[way]}'
            numbers = self.work / "features" / f"{name}.f32"
            command = ["model", "--config", self.config(name, source, runtime, model, bank), "--source", source, "--runs", runs]
            (line,) = self.answers(f"model {name}", [*command, "--numbers", numbers, *self.falsify(plant)], 420)
            wanted = "cpu" if provider == "cpu" else f"{provider} ({precision})"
            if line["runs_on"] != wanted:
                raise Failed(f"it runs on {line['runs_on']}: {'; '.join(line['passed_over'])}")
            if line["withheld"]:
                raise Failed("; ".join(line["withheld"]))
            if provider != "cpu" and (way != "off") != line["shares_stream"] and not self.args.model:
                raise Failed(f"model and search {'share a' if line['shares_stream'] else 'do not share their'} stream")
            return dict(line, provider=provider, precision=precision, way=way), numbers

        def off(a, b, count):
            """Difference as part of the length, of the features and of the distances after them."""
            one, two = array.array("f"), array.array("f")
            for numbers, path in ((one, a), (two, b)):
                numbers.frombytes(path.read_bytes())
            if len(one) != len(two):
                raise Failed(f"it gives {len(two)} numbers, the CPU {len(one)}")
            parts = [(one[:count], two[:count]), (one[count:], two[count:])]
            return [math.sqrt(sum((x - y) ** 2 for x, y in zip(p, q)) / max(sum(x * x for x in p), 1e-300)) for p, q in parts]

        def reference():
            line, self.reference = timed("reference", "cpu", "fp32", "off", "reference")
            return dict(line, way="reference")

        self.reference = None
        self.step("model", "the CPU's features and distances", reference)
        for provider in ["cpu"] if self.rehearsal else ["cuda", "tensorrt"]:
            for precision in PRECISIONS[provider]:
                for way in WAYS:

                    def work(provider=provider, precision=precision, way=way):
                        line, numbers = timed(f"{provider}-{precision}-{way}", provider, precision, way, "model")
                        if self.reference is None:
                            raise Skip("there is nothing of the CPU's to compare it with")
                        line["off_features"], line["off_distances"] = off(self.reference, numbers, line["patches"] * line["width"])
                        worst = max(line["off_features"], line["off_distances"])
                        if not worst <= OFF:
                            raise Failed(f"its numbers are off the CPU's by {worst:.1%} of their length, {OFF:.0%} is allowed")
                        return line

                    self.step("model", f"{provider}, {precision}, {way}", work)
        for name in FORMATS:

            def work(name=name):
                self.provider_is_there("cpu" if self.rehearsal else "cuda")
                model = self.file("models", f"tests/models/{name}.onnx")
                config = self.config(name, source, f'device = "{self.device}"', model)
                told, _ = self.run(f"format {name}", [self.program("farout"), "-q", "model", "warm", "-c", config, "--json"], 120)
                told = json.loads(told)
                return {"model": name, "runs_on": told["runs_on"], "off_golden_frame": told["off_golden_frame"], "run_ms": told["run_ms"]}

            self.step("model", f"a model in another format of numbers: {name}", work)
        if self.rehearsal:
            for provider in ("cuda", "tensorrt"):
                self.step("model", provider, lambda: self.provider_is_there("cuda"))

    def check_live(self):
        size, seconds = ("width=320,height=180,fps=5", 3) if self.rehearsal else ("width=1280,height=720,fps=30", 15)
        for provider in ["cpu"] if self.rehearsal else ["cuda", "tensorrt"]:
            for way in WAYS:

                def work(provider=provider, way=way):
                    self.provider_is_there(provider)
                    model, bank = self.pair()
                    runtime = f'device = "{provider}"\n{WAYS[way]}'
                    config = self.config(f"live-{provider}-{way}", f"synthetic:seed=951,{size}", runtime, model, bank)
                    command = [self.program("farout"), "run", "-c", config, "--seconds", seconds, "--json"]
                    told = json.loads(self.run(f"live {provider} {way}", command, 240)[0].splitlines()[-1])
                    verdicts = told["verdicts"]
                    if self.args.plant == "live":
                        verdicts["failed"] += 1
                    if not verdicts["frames"]:
                        raise Failed("no frame was judged")
                    if verdicts["failed"] or told["failed"]:
                        raise Failed(f"{verdicts['failed'] + told['failed']} frames failed")
                    stages = {stage["name"]: stage["busy_ms"] for stage in verdicts["stages"]}
                    return {"provider": provider, "way": way, "verdicts_per_second": verdicts["fps"], "age_p50_ms": verdicts["p50_ms"],
                            "age_p95_ms": verdicts["p95_ms"], "pictures_per_second": told["fps"], "picture_p95_ms": told["p95_ms"],
                            "dropped": told["dropped"], "stages_ms": stages}

                self.step("live", f"{provider}, {way}", work)

    def all(self):
        self.machine()
        try:
            self.all_paths = {"this card's code": (None, "")} if self.dead else self.paths()
        except Exception as why:  # noqa: BLE001
            self.all_paths = {"this card's code": (Skip(f"no code: {why}"), "")}
        # What matters most comes first: time may be short.
        best = next((name for name, (folder, _) in self.all_paths.items() if not isinstance(folder, Skip)), None)
        self.best = self.all_paths.get(best, (None, ""))[0]
        own = {name: path for name, path in self.all_paths.items() if name == best or name.startswith("sm_") or best is None}
        older = {name: path for name, path in self.all_paths.items() if name not in own}
        self.check_answers(own)
        measured = self.check_search(own)
        self.check_recipe()
        self.check_peers(measured)
        self.check_model()
        self.check_live()
        self.step("answers", "compiled by NVRTC at the first start, cached at the second", self.by_nvrtc)
        self.check_answers(older)
        self.check_sanitizer()
        self.check_search(older)
        code, verdict = self.verdict()
        if self.lacks:
            print("not all pieces are here: " + "; ".join(f"{kind}: {why}" for kind, why in self.lacks.items()))
        print(f"{self.out / 'gpu-check.md'}\n{verdict}")
        return code


def main():
    parser = argparse.ArgumentParser(prog="gpu-check", description="Checks and times farout's GPU search and model on this machine.")
    parser.add_argument("--rehearse", action="store_true", help="the same on the CPU with small problems; says nothing of a GPU")
    parser.add_argument("--out", default=pathlib.Path(__file__).resolve().parent.parent / "target/gpu-check", help="folder of gpu-check.md, gpu-check.json and gpu-check.log (default: %(default)s)")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to take, of %(default)s; the others count as skipped")
    parser.add_argument("--minutes", type=float, default=0, help="take no further step after so many minutes")
    parser.add_argument("--model", type=lambda p: pathlib.Path(p).resolve(), help="time this model instead of the small shipped one")
    parser.add_argument("--bank", type=lambda p: pathlib.Path(p).resolve(), help="its bank")
    parser.add_argument("--plant", metavar="PART", choices=["answers", "search", "recipe", "model", "live", "death"], help="falsify a result, to see that it is noticed")
    parser.add_argument("--packed", help=argparse.SUPPRESS)
    parser.add_argument("--look", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.only = ["machine", *args.only.split(",")]
    if set(args.only) - set(PARTS):
        parser.error(f"--only takes some of {','.join(PARTS)}")
    if bool(args.model) != bool(args.bank):
        parser.error("--model and --bank go together")
    if args.look:
        try:
            sys.exit(0 if look() else 4)
        except NoGpu:
            sys.exit(4)
    sys.exit(Check(args).all())


if __name__ == "__main__":
    main()
