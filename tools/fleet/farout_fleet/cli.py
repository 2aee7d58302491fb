"""The command line: flags of the fleet here, all others go to farout as they are."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys

from . import bank, evaluate, replay
from .engine import Engine, Needs
from .piece import Damaged, PieceFailed
from .storage import StorageError, is_remote

log = logging.getLogger("farout_fleet")

PASSED = "All other flags are farout's own (farout {} --help) and go to it as they are. Files that they name travel along."


def parser() -> argparse.ArgumentParser:
    """All commands and flags."""
    top = argparse.ArgumentParser(
        prog="farout-fleet",
        description="farout bank build, eval and replay on many machines, by Ray",
        epilog="Exit codes: 0 all done, 1 pieces failed (they are named; what is done is kept), 2 wrong use.",
        allow_abbrev=False,
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    of_bank = verbs.add_parser("bank", help="Build a bank", allow_abbrev=False).add_subparsers(
        dest="what", required=True, metavar="COMMAND"
    )
    build = command(of_bank, "build", "Build a bank from images or videos of normal driving", "bank build")
    build.add_argument("--images", nargs="+", required=True, metavar="ADDRESS", help="Folders, globs, images or videos, here or s3://...")
    build.add_argument("--labels", metavar="ADDRESS", help="Folder of label masks with the stems of the images")
    build.add_argument("--void", default="255", metavar="V,V", help='Label values that mean "void" [default: 255]')
    build.add_argument("--outliers", nargs="+", metavar="ADDRESS", help="Images or videos with known outliers")
    build.add_argument("--outlier-labels", metavar="ADDRESS", help="Folder of label masks of the outliers")
    build.add_argument("--outlier-values", default="1", metavar="V,V", help="Label values of outliers [default: 1]")
    build.add_argument("--every", type=positive, metavar="N", help="Take every n-th frame of videos [default: 1]")
    build.add_argument("--seed", type=int, metavar="SEED", help="Seed of the sample and of the held-out split [default: 0]")
    build.add_argument("--pieces", type=positive, metavar="N", help=f"Pieces of the work [default: one for {bank.FRAMES} frames]")
    build.add_argument("--fan-in", type=at_least_two, default=bank.FAN_IN, metavar="N", help="Shards joined at once [default: %(default)s]")
    build.add_argument("-o", "--output", required=True, metavar="ADDRESS", help="Bank to write")
    judge = command(verbs, "eval", "Judge a detector on a data set with truth", "eval")
    judge.add_argument("--dataset", required=True, metavar="KIND:ADDRESS", help="Data set to judge on (farout eval --help lists the kinds)")
    judge.add_argument("--pieces", type=positive, default=16, metavar="N", help="Pieces of the work [default: %(default)s]")
    judge.add_argument("--json", metavar="FILE", help="Write the numbers to this file")
    judge.add_argument("--report", metavar="DIR", help="Write a report into this folder")
    judge.add_argument("--scores", metavar="DIR", help="Write the score maps at the truth's size")
    play = command(verbs, "replay", "Replay many recordings, each into a folder of its own", "replay")
    play.add_argument("--sources", nargs="+", required=True, metavar="ADDRESS", help="Folders, globs or recordings, here or s3://...")
    play.add_argument("-o", "--output", required=True, metavar="ADDRESS", help="Folder that gets a folder for each recording")
    for flag, name in (("events", "events.jsonl"), ("video", "marked.mp4"), ("scores", "scores"), ("pictures", "pictures"), ("frames-out", "frames")):
        text = f"Write farout's --{flag} under this name into each recording's folder, such as {name}"
        play.add_argument(f"--{flag}", metavar="NAME", type=plain_name, help=text)
    return top


def command(verbs, name: str, words: str, of: str) -> argparse.ArgumentParser:
    """A command with the flags that all have."""
    sub = verbs.add_parser(name, help=words, description=words, epilog=PASSED.format(of), allow_abbrev=False)
    fleet = sub.add_argument_group("fleet")
    fleet.add_argument("--address", default=os.environ.get("RAY_ADDRESS"), metavar="ADDRESS", help="Ray cluster (auto, host:port, ray://...) [default: RAY_ADDRESS, else this machine alone]")
    fleet.add_argument("--work", metavar="ADDRESS", help="Folder that all machines reach, in which this work gets one of its own [default: beside the output]")
    fleet.add_argument("--farout", default=os.environ.get("FAROUT", "farout"), metavar="PATH", help="The program on every machine [default: FAROUT, else farout]")
    fleet.add_argument("--piece-cpus", type=float, default=2, metavar="N", help="Processors of a piece [default: %(default)s]")
    fleet.add_argument("--piece-gpus", type=float, default=0, metavar="N", help="GPUs of a piece, may be a fraction [default: %(default)s]")
    fleet.add_argument("--attempts", type=positive, default=3, metavar="N", help="How often a piece is tried [default: %(default)s]")
    fleet.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="Set for farout on every machine; can be given again")
    fleet.add_argument("--pass-env", action="append", default=[], metavar="NAME", help="Give every machine this variable of here, such as the keys of a storage; can be given again")
    fleet.add_argument("--keep-work", action="store_true", help="Keep the work folder after success")
    fleet.add_argument("--summary", metavar="FILE", help="Write what was done, with times, as JSON")
    return sub


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("give 1 or more")
    return number


def at_least_two(text: str) -> int:
    number = int(text)
    if number < 2:
        raise argparse.ArgumentTypeError("give 2 or more")
    return number


def plain_name(text: str) -> str:
    if "/" in text or text in ("", ".", ".."):
        raise argparse.ArgumentTypeError(f"{text!r} is no name; each recording has a folder of its own")
    return text


def work_folder(args) -> str:
    """A folder of this work alone: in the one that was named, or beside the output."""
    output = getattr(args, "output", None) or getattr(args, "json", None) or getattr(args, "report", None)
    if not output:
        raise StorageError("give --json FILE or --report DIR")
    output = output.rstrip("/") if is_remote(output) else os.path.abspath(output)
    if not args.work:
        return f"{output}.work"
    work = args.work.rstrip("/") if is_remote(args.work) else os.path.abspath(args.work)
    return f"{work}/{output.rsplit('/', 1)[-1]}-{hashlib.sha256(output.encode()).hexdigest()[:12]}"


def environment(pairs: list[str]) -> dict[str, str]:
    env = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise StorageError(f"--env {pair}: give NAME=VALUE")
        env[name] = value
    return env


def main(argv: list[str] | None = None) -> int:
    """Runs one command; the exit code."""
    args, passed = parser().parse_known_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    args.bar = sys.stderr.isatty()
    try:
        env = environment(args.env)
        absent = [name for name in args.pass_env if name not in os.environ]
        if absent:
            raise StorageError(f"--pass-env {absent[0]}: it is not set here")
        handed = {name: os.environ[name] for name in args.pass_env}
        work = work_folder(args)
        if getattr(args, "output", None) and not is_remote(args.output):
            args.output = os.path.abspath(args.output)
        farout = shutil.which(args.farout)
        if farout is None:
            raise StorageError(f"there is no program {args.farout}; install farout, or name it with --farout")
        version = subprocess.run([farout, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        # A name is looked for on each machine, a path is the same on all.
        sent = args.farout if os.sep not in args.farout else os.path.abspath(args.farout)
    except (StorageError, subprocess.CalledProcessError) as why:
        print(f"error: {why}", file=sys.stderr)
        return 2
    engine = None
    try:
        needs = Needs(args.piece_cpus, args.piece_gpus, args.attempts)
        engine = Engine(args.address, (sent, farout), version, work, needs, env, handed)
        verb = {"bank": bank.build, "eval": evaluate.run, "replay": replay.run}[args.verb]
        ended = verb(args, passed, engine)
        return told(ended, args, work)
    except (StorageError, PieceFailed, Damaged, OSError) as why:
        print(f"error: {why}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"stopped; what is done is kept in {work}: run the same command again to go on", file=sys.stderr)
        return 130
    finally:
        if engine is not None:
            engine.close()


def told(ended, args, work: str) -> int:
    """Says what became of the work, and removes what is not needed any more."""
    from . import storage

    fresh = [done for done in ended.done.values() if not done.kept]
    if args.summary:
        summary = {
            "seconds": ended.seconds,
            "done": [dataclasses.asdict(done) for done in ended.done.values()],
            "failed": ended.failed,
            "waiting": ended.waiting,
        }
        storage.write(json.dumps(summary, indent=1).encode(), args.summary)
    if ended.failed:
        log.error("%d pieces failed, %d are done and kept in %s:", len(ended.failed), len(ended.done), work)
        for words in ended.failed.values():
            log.error("  %s", words.split("\n")[0])
        log.error("mend what they name and run the same command again: only these are run")
        return 1
    running, total = sum(done.running for done in fresh), sum(done.seconds for done in fresh)
    log.info(
        "%d pieces in %.1f s, %d of them from an earlier run; farout ran %.1f s, what is around it took %.1f s",
        len(ended.done), ended.seconds, len(ended.done) - len(fresh), running, total - running,
    )  # fmt: skip
    if not args.keep_work:
        storage.remove(work)
    return 0
