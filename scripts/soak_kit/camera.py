"""What cameras do."""

import contextlib
import signal
import socket
import threading
import time

from .fault import BACK, fault
from .rig import Camera, Farout, Viewer, camera_launch, free_port, wait


@fault("camera", "killed at random moments")
def camera_killed(rig):
    times, worst = (50, 0) if rig.long else (4, 0)
    for _ in range(times):
        time.sleep(rig.random.uniform(0.2, 1.5))
        rig.camera.kill()
        time.sleep(rig.random.uniform(0.2, 2.5))
        rig.camera.start()
        worst = max(worst, rig.back(time.monotonic()))
    return f"{times} times, picture back within {worst:.1f} s"


@fault("camera", "gone for a while")
def camera_gone(rig):
    rig.camera.kill()
    rig.lost()
    rig.nobody_lost()
    mark = time.monotonic()
    rig.camera.start()
    return f"lost in state and metrics, viewers see that; picture back within {rig.back(mark):.1f} s"


@fault("camera", "freezes without an error")
def camera_freezes(rig):
    rig.camera.signal(signal.SIGSTOP)
    try:
        rig.lost(10)
        rig.nobody_lost()
    finally:
        rig.camera.signal(signal.SIGCONT)
    return f"picture back within {rig.back(time.monotonic()):.1f} s"


@fault("camera", "answers TCP and nothing more")
def camera_mute(rig):
    rig.camera.kill()
    with socket.socket() as mute:
        mute.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wait("port", 5, lambda: not _fails(lambda: mute.bind(("127.0.0.1", rig.port))))
        mute.listen(64)
        rig.lost(10)
        time.sleep(4)
        rig.nobody_lost()
    wait("start of the camera", 10, lambda: _starts(rig))
    return f"picture back within {rig.back(time.monotonic()):.1f} s"


@fault("camera", "sends garbage")
def camera_garbage(rig):
    rig.camera.kill()
    stop = threading.Event()
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    wait("port", 5, lambda: not _fails(lambda: server.bind(("127.0.0.1", rig.port))))
    server.listen(64)
    server.settimeout(0.2)

    def serve():
        while not stop.is_set():
            with contextlib.suppress(OSError):
                client, _ = server.accept()
                with client:
                    client.settimeout(1)
                    client.recv(100)
                    client.sendall(b"RTSP/1.0 200 OK\r\n" + rig.random.randbytes(20000))

    thread = threading.Thread(target=serve)
    thread.start()
    time.sleep(8)
    stop.set()
    thread.join()
    server.close()
    rig.nobody_lost()
    wait("start of the camera", 10, lambda: _starts(rig))
    return f"picture back within {rig.back(time.monotonic()):.1f} s"


@fault("camera", "other size, rate and codec after reconnect")
def camera_changes(rig):
    usual, worst = rig.camera.launch, 0
    for size, rate, codec in [((320, 180), 30, "h264"), ((640, 480), 10, "jpeg"), ((1280, 720), 15, "h264")]:
        rig.camera.kill()
        rig.camera.launch = camera_launch(size, rate, codec)
        rig.camera.start()
        worst = max(worst, rig.back(time.monotonic()))
        time.sleep(1)
    rig.camera.kill()
    rig.camera.launch = usual
    rig.camera.start()
    worst = max(worst, rig.back(time.monotonic()))
    return f"4 changes, picture back within {worst:.1f} s"


@fault("camera", "absent at start; of two cameras one dies")
def two_cameras(rig):
    first, second = free_port(), free_port()
    keys = 'source = "rtsp://127.0.0.1:{}/camera"\nwait = true\ntimeout_secs = 2.0'
    farout = Farout(rig.folder / "two", {"left": keys.format(first), "right": keys.format(second)})
    cameras = []
    try:
        wait("start without cameras", 30, lambda: farout.state() is not None)
        cameras = [Camera(first), Camera(second)]
        begun = time.monotonic()
        wait("both pictures", BACK + 5, lambda: farout.is_running("left") and farout.is_running("right"))
        took = time.monotonic() - begun
        assert took <= BACK, f"the pictures were there after {took:.1f} s only"
        viewer = Viewer(farout.url("left"))
        wait("viewer's picture", 15, viewer.watches)
        cameras[1].kill()
        wait("word of the loss", 8, lambda: farout.stream("right")["state"] == "lost")
        for _ in range(20):
            assert farout.is_running("left") and viewer.is_there(), "the other camera suffers"
            time.sleep(0.1)
        assert viewer.watches(), "the other camera's viewer suffers"
        viewer.end()
    finally:
        for camera in cameras:
            camera.kill()
        farout.end()
    return f"both pictures within {took:.1f} s of the cameras; the other one goes on"


def _fails(action):
    try:
        action()
        return False
    except OSError:
        return True


def _starts(rig):
    """The camera starts once its port is free."""
    rig.camera.start()
    time.sleep(0.3)
    if rig.camera.process.poll() is None:
        return True
    rig.camera.process.stdout.close()
    return False
