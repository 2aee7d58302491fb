"""A detector, footage and a data set that farout itself makes; a cluster of four machines, in processes of this one."""

import json
import logging
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading

import pytest

HOUSE = pathlib.Path(__file__).resolve().parents[3]
MODEL = HOUSE / "models" / "synthetic-vit.onnx"


@pytest.fixture(scope="session")
def farout():
    """The program that the cluster runs."""
    found = os.environ.get("FAROUT") or shutil.which("farout")
    if not found:
        pytest.fail("these tests run farout: build it, and name it with FAROUT=target/release/farout")
    return str(pathlib.Path(found).resolve())


@pytest.fixture(scope="session")
def footage(farout, tmp_path_factory):
    """Folders drive-0 to drive-2 of images, a recording, a data set with truth, and what one machine makes of them."""
    root = tmp_path_factory.mktemp("footage")

    def run(*words):
        subprocess.run([farout, *map(str, words)], check=True, capture_output=True)

    for name in "ab":
        (root / "recordings" / name).mkdir(parents=True)
    size = "width=320,height=180"
    for number in range(3):
        source = f"synthetic:seed={number},{size},strangers=off,frames=16,stride=40"
        run("replay", "--bypass", source, "--frames-out", root / "images" / f"drive-{number}")
    video = f"synthetic:seed=7,{size},strangers=off,frames=40,stride=5"
    run("replay", "--bypass", video, "--video", root / "images" / "drive-0" / "more.mp4")
    run("replay", "--bypass", f"synthetic:seed=5,{size},frames=12,stride=20", "--frames-out", root / "set/images", "--truth", root / "set/truth")
    run("replay", "--bypass", f"synthetic:seed=6,{size},frames=30,stride=3", "--video", root / "recordings" / "a" / "x.mp4")
    run("replay", "--bypass", f"synthetic:seed=8,{size},frames=30,stride=3", "--video", root / "recordings" / "b" / "x.mp4")
    describe(root / "set")
    detector = ["--device", "cpu", "--model", MODEL]
    run("bank", "build", *detector, "--images", root / "images", "--every", 3, "--size", 3000, "-o", root / "one.bank")
    return root


def describe(folder: pathlib.Path):
    """The data set's file; its masks are those of strangers."""
    words = 'images = "images"\nmasks = "truth"\nmask_suffix = "_stranger"\nnormal = [0]\nanomaly = VALUES\nvoid = []\n'.replace("VALUES", str(list(range(1, 256))))
    (folder / "set.toml").write_text(words)


class Machines:
    """A Ray cluster of `count` nodes of one processor each."""

    def __init__(self, count: int):
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.nodes = [self.cluster.add_node(num_cpus=1) for _ in range(count - 1)]
        self.cluster.wait_for_nodes()

    @property
    def address(self) -> str:
        return self.cluster.address

    def kill(self):
        """Ends one node at once, with all that runs on it."""
        self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)

    def add(self):
        self.nodes.append(self.cluster.add_node(num_cpus=1))
        self.cluster.wait_for_nodes()

    def end(self):
        self.cluster.shutdown()


@pytest.fixture(scope="session")
def machines():
    four = Machines(4)
    yield four
    four.end()


class Driver:
    """`farout-fleet` as a program of its own."""

    def __init__(self, words, machines, farout, env=None):
        command = [sys.executable, "-m", "farout_fleet", *map(str, words), "--address", machines.address]
        command += ["--farout", farout, "--piece-cpus", "1"]
        # The machines were there before the storage was.
        command += [word for name in os.environ if name.startswith("AWS_") for word in ("--pass-env", name)]
        self.child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(env or {})})
        self.said, self.lines = "", threading.Thread(target=self._read, daemon=True)
        self.lines.start()

    def _read(self):
        for line in self.child.stderr:
            self.said += line

    def wait(self, code: int = 0) -> str:
        found = self.child.wait(timeout=300)
        self.lines.join(timeout=10)
        assert found == code, f"code {found}:\n{self.said}"
        return self.said

    def kill(self):
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()


@pytest.fixture
def fleet(machines, farout):
    def start(*words, program=farout, env=None):
        return Driver(words, machines, program, env)

    return start


@pytest.fixture
def watched(farout, tmp_path):
    """A stand-in for farout that notes each piece that it begins, may dawdle, and may fail the first times."""
    path, notes = tmp_path / "farout-watched", tmp_path / "notes"
    path.write_text(
        f"""#!/bin/sh
if [ "$1" = --version ]; then exec {farout} --version; fi
for word; do case $word in */[0-9]*of*|[0-9]*/[0-9]*) piece=$word;; esac; done
echo "$1 $2 $piece" >> {notes}
if [ -n "$piece" ] && [ "$piece" = "$(cat {tmp_path}/fails 2>/dev/null)" ] && [ "$(grep -c -- " $piece\\$" {notes})" -le 2 ]; then
    echo "error: this machine had a bad moment" >&2; exit 1
fi
[ -n "$piece" ] && sleep "$(cat {tmp_path}/dawdle 2>/dev/null || echo 0)"
exec {farout} "$@"
"""
    )
    path.chmod(0o755)
    path.touch()

    class Watched:
        program = str(path)

        @staticmethod
        def pieces():
            lines = notes.read_text().split("\n") if notes.exists() else []
            return [line.split()[-1] for line in lines if line.startswith("bank build")]

        @staticmethod
        def fails(piece):
            (tmp_path / "fails").write_text(piece)

        @staticmethod
        def dawdles(seconds):
            (tmp_path / "dawdle").write_text(str(seconds))

    return Watched


@pytest.fixture(scope="session")
def bucket(footage):
    """The footage in object storage: an S3 server of moto in this process."""
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-east-1", AWS_ENDPOINT_URL=url)
    client = boto3.client("s3")
    client.create_bucket(Bucket="drives")
    for path in footage.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), "drives", str(path.relative_to(footage)))
    yield "s3://drives"
    server.stop()


def numbers(path) -> dict:
    """An evaluation without when and how long."""
    result = json.loads(pathlib.Path(path).read_text())
    for key in ("made", "time"):
        result.pop(key, None)
    return result
