"""Taking steps: commands that end in time, results that are kept after each step, and the exit code. For gpu_check.py."""

import ctypes
import glob
import json
import os
import pathlib
import signal
import subprocess
import sysconfig
import time

from gpu_page import page
from gpu_pieces import unpack

PARTS = ["machine", "answers", "sanitizer", "search", "peers", "model", "live"]
PEERS = {
    "product": "PyTorch: the product alone (cuBLAS, fp16)",
    "topk": "PyTorch: product, topk (fp16)",
    "groups": "PyTorch: addmm, least of 128, gather, topk (fp16)",
    "faiss": "FAISS: GpuIndexFlatL2 (fp16)",
    "cuvs": "cuVS: brute_force (fp16)",
}

class Skip(Exception):
    """A step that cannot be taken here."""


class Failed(Exception):
    """A step that was taken and went wrong."""


class NoGpu(Exception):
    """Nothing here can be checked."""


def look():
    """How many GPUs the driver counts."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        raise NoGpu("no NVIDIA driver (libcuda.so.1) is installed") from None
    count = ctypes.c_int()
    for call in (lambda: cuda.cuInit(0), lambda: cuda.cuDeviceGetCount(ctypes.byref(count))):
        code = call()
        if code:
            raise NoGpu(f"the NVIDIA driver gives no device (error {code})")
    if not count.value:
        raise NoGpu("the NVIDIA driver counts no device")
    return count.value


class Steps:
    def __init__(self, args):
        self.args, self.rehearsal = args, args.rehearse
        self.device = "cpu" if args.rehearse else "cuda"
        self.out = pathlib.Path(args.out).resolve()
        self.work = (pathlib.Path(args.packed).resolve() if args.packed else self.out) / "work"
        self.out.mkdir(parents=True, exist_ok=True)
        for folder in ("logs", "configs", "features", "kernels"):
            (self.work / folder).mkdir(parents=True, exist_ok=True)
        self.logs = self.out / "gpu-check.log"
        self.logs.write_text("")
        self.steps, self.started, self.dead, self.no_gpu, self.card = [], time.time(), None, False, {}
        self.home = self.work / "unpacked" if args.packed else pathlib.Path(__file__).resolve().parent.parent
        self.lacks = unpack(pathlib.Path(args.packed), self.home) if args.packed else {}
        self.env = dict(os.environ, **self.environment())

    def environment(self):
        """Where libraries are that Python packages bring: CUDA, cuDNN, TensorRT, NVRTC."""
        site = pathlib.Path(sysconfig.get_paths()["purelib"])
        folders = [*glob.glob(f"{site}/nvidia/*/lib"), *glob.glob(f"{site}/tensorrt_libs"), "/usr/local/cuda/lib64"]
        paths = [*filter(os.path.isdir, folders), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])]
        env = {"LD_LIBRARY_PATH": ":".join(paths), "FAROUT_CACHE": str(self.work / "cache"), "RUST_BACKTRACE": "0"}
        found = [lib for folder in folders for lib in sorted(glob.glob(f"{folder}/libnvrtc.so.1[23]"))]
        if found and "NVRTC_DYLIB_PATH" not in os.environ:
            env["NVRTC_DYLIB_PATH"] = found[0]
        packed = sorted(glob.glob(f"{self.home}/onnxruntime/libonnxruntime.so.*"))
        if self.args.packed and packed:
            env["ORT_DYLIB_PATH"] = packed[0]
        return env

    def program(self, name):
        given = os.environ.get({"farout": "FAROUT", "gpu_check": "GPU_CHECK"}[name])
        path = pathlib.Path(given) if given else self.home / ("programs" if self.args.packed else "target/release") / name
        if not path.exists() and not given and name == "gpu_check":
            path = self.home / "target/release/examples" / name
        if not path.exists():
            raise Skip(self.lacks.get("programs", f"there is no {path}: build it"))
        return str(path)

    def file(self, kind, path):
        """A file of the project, or why it is not here."""
        full = self.home / path
        if not full.exists():
            raise Skip(self.lacks.get(kind, f"there is no {full}"))
        return full

    def log(self, name):
        return self.work / "logs" / (name.replace(" ", "-").replace("/", "-").replace(",", "") + ".log")

    def said(self, name):
        """The last words of a command on standard error."""
        lines = [line.strip() for line in self.log(name).read_text(errors="replace").splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith(("error", "traceback")) or "Error: " in line]
        return (errors[-1:] or lines[-1:] or ["it said nothing"])[0][:400]

    def run(self, log, command, limit, fine=(0,)):
        """Standard output of a command that ends in time, and with one of the codes that are `fine`."""
        words = self.log(log)
        told = ""
        with open(words, "w") as stderr:
            child = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, stderr=stderr, env=self.env, text=True, start_new_session=True)
            try:
                told, _ = child.communicate(timeout=limit)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                told, _ = child.communicate()
                raise Failed(f"it took longer than {limit} s and was ended; see {self.logs}") from None
            finally:
                with open(self.logs, "a") as logs:
                    logs.write(f"== {' '.join(map(str, command))}\n{words.read_text(errors='replace')}{told or ''}== {child.returncode}\n\n")
        if child.returncode not in fine:
            ended = f"ended by signal {-child.returncode}" if child.returncode < 0 else f"code {child.returncode}"
            raise Failed(f"{self.said(log)} ({ended}; see {self.logs})")
        return told, child.returncode

    def answers(self, log, command, limit):
        """The lines of JSON that the Rust program prints; every one must be right, and there must be one."""
        told, code = self.run(log, [self.program("gpu_check"), "--device", self.device, "--patience", 50 if self.rehearsal else 2000, *command], limit, fine=(0, 1))
        lines = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
        wrong = [f"{line.get('case', line.get('model', 'answer'))}: {'; '.join(line['wrong'])}" for line in lines if line.get("wrong")]
        if wrong:
            raise Failed(f"{len(wrong)} of {len(lines)} wrong: " + " | ".join(wrong)[:600])
        if code or not lines:
            raise Failed(self.said(log))
        return lines

    def falsify(self, part):
        return ["--falsify"] if self.args.plant == part else []

    def step(self, part, name, work):
        """Takes one step, tells of it and keeps its result."""
        print(f"[{time.time() - self.started:5.0f} s] {part}: {name} ...", end=" ", flush=True)
        begun, figures, why = time.time(), None, ""
        try:
            if self.dead and part != "machine":
                raise Skip(self.dead)
            if part not in self.args.only:
                raise Skip("not asked for (--only)")
            if self.args.minutes and begun - self.started > 60 * self.args.minutes:
                raise Skip(f"the {self.args.minutes:g} minutes of --minutes are over")
            figures, result = work(), "passed"
        except Skip as reason:
            result, why = "skipped", str(reason)
        except NoGpu as reason:
            result, why, self.dead, self.no_gpu = "failed", str(reason), "there is no GPU", True
        except Failed as reason:
            result, why = "failed", str(reason)
        except Exception as error:  # noqa: BLE001: a fault of this script must not look like a pass
            result, why = "failed", f"{type(error).__name__}: {error}"
        seconds = round(time.time() - begun, 2)
        self.steps.append({"part": part, "step": name, "result": result, "why": why, "seconds": seconds, "figures": figures})
        print(result + (f": {why}" if why else f" ({seconds:.1f} s)"), flush=True)
        self.write()
        return figures

    def verdict(self):
        count = {word: sum(step["result"] == word for step in self.steps) for word in ("passed", "failed", "skipped")}
        code = 4 if self.no_gpu else 1 if count["failed"] else 3 if count["skipped"] else 0
        why = next((step["why"] for step in self.steps if step["result"] == "failed"), "")
        words = {0: "PASSED", 1: "FAILED", 3: "INCOMPLETE", 4: f"THERE IS NO GPU HERE ({why}), nothing of it was checked"}[code]
        kind = "rehearsal on the CPU, which says nothing of a GPU: " if self.rehearsal else ""
        return code, f"{kind}{words}: {count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped"

    def write(self):
        """JSON and page are whole after every step, whatever ends the next."""
        code, verdict = self.verdict()
        report = {
            "verdict": verdict, "exit_code": code, "rehearsal": self.rehearsal, "card": self.card, "steps": self.steps,
            "begun": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.started)), "seconds": round(time.time() - self.started),
        }
        for name, text in (("gpu-check.json", json.dumps(report, indent=1)), ("gpu-check.md", page(report, PEERS))):
            whole = self.out / (name + ".part")
            whole.write_text(text)
            whole.replace(self.out / name)
