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
        with rig.without_camera():
            time.sleep(rig.random.uniform(0.2, 2.5))
        worst = max(worst, rig.back())
    return f"{times} times, picture back within {worst:.1f} s"


@fault("camera", "gone for a while")
def camera_gone(rig):
    with rig.without_camera():
        rig.lost()
        rig.nobody_lost()
    return f"lost in state and metrics, viewers see that; picture back within {rig.back():.1f} s"


@fault("camera", "freezes without an error")
def camera_freezes(rig):
    rig.camera.signal(signal.SIGSTOP)
    try:
        rig.lost(10)
        rig.nobody_lost()
    finally:
        rig.camera.signal(signal.SIGCONT)
        rig.over()
    return f"picture back within {rig.back():.1f} s"


@contextlib.contextmanager
def _in_its_place(rig):
    """Meanwhile a socket listens where the camera was."""
    with rig.without_camera(), socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        wait("port", 5, lambda: not _fails(lambda: server.bind(("127.0.0.1", rig.port))))
        server.listen(64)
        yield server


def _fails(action):
    try:
        action()
        return False
    except OSError:
        return True


@fault("camera", "answers TCP and nothing more")
def camera_mute(rig):
    with _in_its_place(rig):
        rig.lost(10)
        time.sleep(4)
        rig.nobody_lost()
    return f"picture back within {rig.back():.1f} s"


@fault("camera", "sends garbage")
def camera_garbage(rig):
    stop = threading.Event()

    def serve(server):
        while not stop.is_set():
            with contextlib.suppress(OSError):
                client, _ = server.accept()
                with client:
                    client.settimeout(1)
                    client.recv(100)
                    client.sendall(b"RTSP/1.0 200 OK\r\n" + rig.random.randbytes(20000))

    with _in_its_place(rig) as server:
        server.settimeout(0.2)
        thread = threading.Thread(target=serve, args=(server,), daemon=True)
        thread.start()
        try:
            time.sleep(8)
        finally:
            stop.set()
            thread.join()
        rig.nobody_lost()
    return f"picture back within {rig.back():.1f} s"


@fault("camera", "other size, rate and codec after reconnect")
def camera_changes(rig):
    usual, worst = rig.camera.launch, 0
    others = [((320, 180), 30, "h264"), ((640, 480), 10, "jpeg"), ((1280, 720), 15, "h264")]
    try:
        for launch in [*(camera_launch(*one) for one in others), usual]:
            with rig.without_camera():
                rig.camera.launch = launch
            worst = max(worst, rig.back())
            time.sleep(1)
    finally:
        rig.camera.launch = usual
    return f"4 changes, picture back within {worst:.1f} s"


@fault("camera", "absent at start; of two cameras one dies")
def two_cameras(rig):
    first, second = free_port(), free_port()
    keys = 'source = "rtsp://127.0.0.1:{}/camera"\nwait = true\ntimeout_secs = 2.0'
    farout = Farout(rig.place("two"), {"left": keys.format(first), "right": keys.format(second)})
    cameras = []
    try:
        wait("start without cameras", 30, lambda: farout.state() is not None)
        begun = time.monotonic()
        cameras = [Camera(first), Camera(second)]
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


@fault("camera", "over UDP, 3 % of packets lost, 12 % late and out of order")
def camera_lossy(rig):
    seconds = 60 if rig.long else 10
    camera = Camera(free_port(), loss=0.03)
    keys = f'source = "{camera.url}"\nrtsp_transport = "udp"\nwait = true\ntimeout_secs = 2.0'
    farout = Farout(rig.place("lossy"), {"front": keys})
    try:
        farout.ready()
        viewer = Viewer(farout.url())
        wait("viewer's picture", 15, viewer.watches)
        before, begun = farout.metric("farout_pictures_received_total"), time.monotonic()
        while time.monotonic() - begun < seconds:
            assert farout.is_running() and viewer.is_there(), "the picture suffers"
            time.sleep(0.25)
        rate = (farout.metric("farout_pictures_received_total") - before) / (time.monotonic() - begun)
        reconnects = farout.metric("farout_source_reconnects_total")
        # Key pictures come once a second; what lies between a lost packet and the next of them is left out.
        assert reconnects == 0 and rate > 2, f"{reconnects:g} reconnects, {rate:.1f} pictures per second"
        assert farout.logged("damaged"), "the log says nothing of it"
        assert farout.metric("farout_pictures_dropped_total", 'cause="damaged"') > 0, "the metrics say nothing of it"
        assert "source" in farout.stream()["problems"], "the state says nothing of it"
        assert viewer.watches(), "the viewer suffers"
        viewer.end()
    finally:
        farout.end()
        camera.kill()
    return f"{seconds} s without a reconnect, {rate:.1f} of 15 pictures per second: those up to the next key picture are left out"
