#!/usr/bin/env python3
"""From the making of a picture to its pixels in a browser: how long it takes over WebRTC and over HTTP, in turn.

Pictures that carry the time at which they were made, as black and white squares, go into `farout run`; Chromium shows them
on the live page, and a script in it reads the time back. Needs numpy, chromium and chromedriver.

    tools/browser_delay.py [target/release/farout]
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import numpy as np

WIDTH, HEIGHT, RATE = 640, 360, 25
SQUARE, ACROSS, BITS = 80, 8, 24
HTTP, DRIVER = 8198, 9598

CONFIG = """
[[stream]]
name = "front"
source = "gst:filesrc location={pipe} do-timestamp=true ! rawvideoparse format=gray8 width={w} height={h} framerate={r}/1 ! videoconvert"
[output]
rtsp = "off"
http = "http://127.0.0.1:{http}"
"""

# The delays of 150 pictures, in milliseconds.
READ = f"""return new Promise((done) => {{
  const video = document.querySelector('.stream video');
  const canvas = Object.assign(document.createElement('canvas'), {{ width: {WIDTH}, height: {HEIGHT} }});
  const drawn = canvas.getContext('2d', {{ willReadFrequently: true }});
  const delays = [];
  const read = () => {{
    drawn.drawImage(video, 0, 0, {WIDTH}, {HEIGHT});
    const now = Date.now() % {1 << BITS};
    const pixels = drawn.getImageData(0, 0, {WIDTH}, {HEIGHT}).data;
    let made = 0;
    for (let bit = 0; bit < {BITS}; bit++) {{
      const [x, y] = [(bit % {ACROSS} + 0.5) * {SQUARE}, (Math.floor(bit / {ACROSS}) + 0.5) * {SQUARE}];
      if (pixels[(y * {WIDTH} + x) * 4] > 125) made |= 1 << bit;
    }}
    delays.push(now - made);
    if (delays.length < 150) video.requestVideoFrameCallback(read); else done(delays);
  }};
  video.requestVideoFrameCallback(read);
}})"""


def make_pictures(pipe, ended):
    """Writes pictures at their rate until `ended` is set."""
    texture = np.random.default_rng(0).integers(16, 76, (HEIGHT, WIDTH), dtype=np.uint8)
    with open(pipe, "wb", buffering=0) as out:
        begun, count = time.time(), 0
        while not ended.is_set():
            picture = np.roll(texture, 3 * count, 1)
            made = int(time.time() * 1000) % (1 << BITS)
            for bit in range(BITS):
                x, y = bit % ACROSS * SQUARE, bit // ACROSS * SQUARE
                picture[y : y + SQUARE, x : x + SQUARE] = 235 if made >> bit & 1 else 16
            try:
                out.write(picture.tobytes())
            except BrokenPipeError:
                return
            count += 1
            time.sleep(max(0.0, begun + count / RATE - time.time()))


def ask(path, body=None, method="POST"):
    """What chromedriver answers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{DRIVER}{path}", data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["value"]


def watch(way):
    """The delays with one way, and how many pictures the browser dropped."""
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
    wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": {"args": flags}}}}
    session = "/session/" + ask("/session", wanted)["sessionId"]
    try:
        ask(session + "/url", {"url": f"http://127.0.0.1:{HTTP}/?{way}"})
        time.sleep(6)
        delays = ask(session + "/execute/sync", {"script": READ, "args": []})
        dropped = "return document.querySelector('.stream video').getVideoPlaybackQuality().droppedVideoFrames"
        return delays, ask(session + "/execute/sync", {"script": dropped, "args": []})
    finally:
        ask(session, method="DELETE")


def main():
    farout = sys.argv[1] if len(sys.argv) > 1 else "target/release/farout"
    with tempfile.TemporaryDirectory() as folder:
        pipe, config = os.path.join(folder, "pictures"), os.path.join(folder, "car.toml")
        os.mkfifo(pipe)
        with open(config, "w") as out:
            out.write(CONFIG.format(pipe=pipe, w=WIDTH, h=HEIGHT, r=RATE, http=HTTP))
        ended = threading.Event()
        threading.Thread(target=make_pictures, args=(pipe, ended), daemon=True).start()
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        run = subprocess.Popen([farout, "run", "--bypass", "-c", config], **quiet)
        driver = subprocess.Popen(["chromedriver", f"--port={DRIVER}"], **quiet)
        try:
            time.sleep(3)
            for way in ["webrtc", "mse"] * 2:
                delays, dropped = watch(way)
                p50, p95 = np.percentile(delays, [50, 95])
                print(f"{way}: p50 {p50:.0f} ms, p95 {p95:.0f} ms, most {max(delays)} ms, {dropped} dropped")
        finally:
            ended.set()
            driver.terminate()
            run.terminate()
            run.wait()


if __name__ == "__main__":
    main()
