"""What viewers do."""

import contextlib
import random
import signal
import socket
import threading
import time

from .fault import fault
from .rig import Viewer, wait


@fault("viewers", "connect and disconnect")
def viewers_come_and_go(rig):
    times = 10_000 if rig.long else 600
    paths = ["/front.ts", "/front.mp4", "/front.mjpeg", "/api/v1/state", "/metrics", "/"]

    def come(count, seed):
        dice = random.Random(seed)
        for _ in range(count):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", rig.farout.http), 5) as one:
                one.sendall(f"GET {dice.choice(paths)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                if dice.random() < 0.5:
                    one.recv(1000)
            if dice.random() < 0.2:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", rig.farout.rtsp), 5) as one:
                    one.sendall(f"DESCRIBE rtsp://127.0.0.1:{rig.farout.rtsp}/front RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
                    if dice.random() < 0.5:
                        one.recv(1000)

    threads = [threading.Thread(target=come, args=(times // 4, seed)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rig.nobody_lost()
    return f"{times} over HTTP, a fifth as many over RTSP"


@fault("viewers", "50 at once")
def fifty(rig):
    count = 50 if rig.long else 12
    # Over HTTP 32 are served at once.
    ways = ["rtsp", "ts", "rtsp", "mp4", "rtsp"]
    many = [Viewer(rig.farout.url(scheme=ways[at % len(ways)])) for at in range(count)]
    try:
        wait("picture for all", 60, lambda: all(viewer.frames > 0 for viewer in many))
        time.sleep(5 if rig.long else 2)
        gone = sum(not viewer.is_there() for viewer in many)
        assert gone == 0, f"{gone} of {count} were lost"
    finally:
        for viewer in many:
            viewer.end()
    rig.nobody_lost()
    return f"{count} players, none lost"


@fault("viewers", "one stops reading")
def viewer_stops(rig):
    seconds = 60 if rig.long else 6
    before = rig.farout.footprint()[0]
    sleepers = []
    for path, port in [("GET /front.ts HTTP/1.1\r\nHost: x\r\n\r\n", rig.farout.http)]:
        one = socket.create_connection(("127.0.0.1", port), 5)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.sendall(path.encode())
        sleepers.append(one)
    slow = Viewer(rig.farout.url())
    wait("picture for the slow one", 15, slow.watches)
    slow.process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    grown = rig.farout.footprint()[0] - before
    rig.nobody_lost()
    slow.process.send_signal(signal.SIGCONT)
    slow.end()
    for one in sleepers:
        one.close()
    assert grown < 40, f"memory grew by {grown:.0f} MiB"
    return f"{seconds} s; memory meanwhile {grown:+.0f} MiB"


@fault("viewers", "300 half-open connections, slow and malformed requests")
def half_open(rig):
    held = []
    for port in (rig.farout.http, rig.farout.rtsp):
        for at in range(150):
            with contextlib.suppress(OSError):
                one = socket.create_connection(("127.0.0.1", port), 5)
                held.append(one)
                if at % 3 == 1:
                    one.sendall(b"GET / HTTP/1.1\r\nHos")
                elif at % 3 == 2:
                    one.sendall(rig.random.randbytes(300))
    for _ in range(40 if rig.long else 10):
        for port in (rig.farout.http, rig.farout.rtsp):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5) as one:
                one.sendall(rig.random.choice([b"\0" * 5000, b"GET " + b"a" * 70000, b"POST / HTTP/9\r\n\r\n", b"SETUP x\r\n\r\n"]))
                one.settimeout(1)
                one.recv(100)
    time.sleep(2)
    # Those who want to watch still can.
    late = Viewer(rig.farout.url())
    try:
        wait("picture for one more viewer", 20, late.watches)
    finally:
        late.end()
    for one in held:
        one.close()
    rig.nobody_lost()
    return f"{len(held)} held open"


@fault("viewers", "Prometheus ten times a second")
def scraped(rig):
    seconds = 60 if rig.long else 5
    until, count, worst = time.monotonic() + seconds, 0, 0
    while time.monotonic() < until:
        begun = time.monotonic()
        assert rig.farout.metric("farout_ready") == 1, "not ready"
        worst = max(worst, time.monotonic() - begun)
        count += 1
        time.sleep(max(0, 0.1 - (time.monotonic() - begun)))
    assert count >= seconds * 5, f"{count} answers only"
    return f"{count} scrapes, the slowest {worst * 1000:.0f} ms"
