//! Cameras and viewers as the daemon meets them: other processes that talk to it over the network.
#![allow(dead_code, reason = "each test uses what it needs")]

use std::io::Read;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::program::{Running, program};

/// Size of the pictures in pixels.
pub const WIDTH: usize = 640;
/// See [`WIDTH`].
pub const HEIGHT: usize = 360;

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// ffmpeg playing an address: `frames` decoded pictures, raw RGB, to its standard output.
pub fn player(url: &str, frames: usize) -> Child {
    let transport: &[&str] = if url.starts_with("rtsp") { &["-rtsp_transport", "tcp"] } else { &[] };
    Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin"])
        .args(transport)
        .args(["-i", url, "-frames:v", &frames.to_string(), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// A camera, played by a farout that judges nothing.
pub fn camera(port: u16) -> Running {
    let mut command = program();
    let size = format!("synthetic:width={WIDTH},height={HEIGHT},fps=12");
    command.args(["run", "--bypass", "--http", "off", "--source", &size]);
    command.arg(format!("--rtsp=rtsp://127.0.0.1:{port}/farout"));
    Running::start(command)
}

/// A player whose pictures are looked at one by one, for as long as it is wanted.
pub struct Viewer(Child);

impl Viewer {
    /// Plays an address.
    pub fn start(url: &str) -> Viewer {
        Viewer(player(url, 1_000_000))
    }

    /// Sees pictures until `count` of them are such; the stream must not end before.
    pub fn until(&mut self, what: &str, count: usize, is: impl Fn(&[u8]) -> bool) {
        let (mut picture, mut seen, begun) = (vec![0; WIDTH * HEIGHT * 3], 0, Instant::now());
        while seen < count {
            let ended = self.0.stdout.as_mut().unwrap().read_exact(&mut picture);
            ended.unwrap_or_else(|e| panic!("the viewer waits for {what} and was let go: {e}"));
            seen += usize::from(is(&picture));
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}: only {seen}");
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a raw RGB picture has no colours.
pub fn is_grey(picture: &[u8]) -> bool {
    let coloured =
        picture.as_chunks::<3>().0.iter().filter(|[r, g, b]| r.max(g).max(b) - r.min(g).min(b) > 24);
    coloured.count() * 200 < WIDTH * HEIGHT
}

/// The width of the video that `ffprobe` sees at `url`, with these options more, and what it said.
pub fn probe(more: &[&str], url: &str) -> (Option<u32>, String) {
    let mut command = Command::new("timeout");
    command.args(["20", "ffprobe", "-v", "error", "-show_entries", "stream=width", "-of", "csv=p=0"]);
    let told = command.args(more).arg(url).output().unwrap();
    let width =
        String::from_utf8_lossy(&told.stdout).lines().find_map(|line| line.trim_matches(',').parse().ok());
    (width, String::from_utf8_lossy(&told.stderr).into_owned())
}
