//! Test pictures, and the players that watch them.
#![allow(dead_code, clippy::unwrap_used)]

use std::process::Command;
use std::time::{Duration, Instant};

use farout::clock::Clock;
use farout::frame::{Colour, Frame, I420Layout, Matrix, PixelFormat};
use farout::pool::Pool;
use farout::sink::{AccessConfig, EncodedHook, Haste, Mount, OutputConfig, Servers, VideoOut};
use farout::source::{Purpose, Source, SourceConfig, open};
use farout::stop::Stop;
use jiff::SignedDuration;

/// Y'CbCr of the four quarters of a test picture: top left, top right, bottom left, bottom right.
pub const QUARTERS: [[u8; 3]; 4] = [[200, 90, 90], [60, 200, 128], [120, 128, 220], [170, 60, 160]];

/// A picture in four quarters.
pub fn quarters(pool: &Pool<Vec<u8>>, width: usize, height: usize, n: u64, fps: u32) -> Frame {
    let mut frame = Frame::take(pool, PixelFormat::I420, width, height);
    let layout = I420Layout::new(width, height);
    let (y, u, v) = layout.planes_mut(&mut frame.pixels);
    let fill = |plane: &mut [u8], stride: usize, w: usize, h: usize, c: usize| {
        for (row, line) in plane.chunks_mut(stride).take(h).enumerate() {
            let half = if row * 2 < h { 0 } else { 2 };
            line[..w / 2].fill(QUARTERS[half][c]);
            line[w / 2..w].fill(QUARTERS[half + 1][c]);
        }
    };
    fill(y, layout.y_stride, width, height, 0);
    fill(u, layout.uv_stride, layout.uv_width(), layout.uv_height(), 1);
    fill(v, layout.uv_stride, layout.uv_width(), layout.uv_height(), 2);
    frame.colour = Colour { matrix: Matrix::Bt601, full_range: false };
    frame.id = n;
    frame.pts = Duration::from_secs(n) / fps;
    frame.captured = Instant::now();
    frame
}

/// The quarters of a frame, read at their middles.
pub fn seen(frame: &Frame) -> [[u8; 3]; 4] {
    let layout = frame.i420().unwrap();
    let (y, u, v) = layout.planes(&frame.pixels);
    [(1, 1), (3, 1), (1, 3), (3, 3)].map(|(qx, qy)| {
        let (x, row) = (frame.width * qx / 4, frame.height * qy / 4);
        let chroma = row / 2 * layout.uv_stride + x / 2;
        [y[row * layout.y_stride + x], u[chroma], v[chroma]]
    })
}

/// Whether a frame shows the quarters, within what encoding may change.
pub fn shows_quarters(frame: &Frame) -> bool {
    seen(frame).iter().flatten().zip(QUARTERS.iter().flatten()).all(|(a, b)| a.abs_diff(*b) <= 8)
}

/// Both servers on free ports of this machine, nothing recorded.
pub fn served() -> OutputConfig {
    OutputConfig {
        rtsp: "rtsp://127.0.0.1:0/farout".into(),
        http: "http://127.0.0.1:0/farout.ts".into(),
        ..OutputConfig::default()
    }
}

/// Neither server.
pub fn unserved() -> OutputConfig {
    OutputConfig { rtsp: "off".into(), http: "off".into(), ..OutputConfig::default() }
}

/// Opens an address as our own live source, one GStreamer client.
pub fn watch(url: &str) -> Box<dyn Source> {
    open(url, &SourceConfig::default(), Purpose::Live, Stop::new()).unwrap()
}

/// What `ffprobe` tells.
pub fn ffprobe(args: &[&str]) -> String {
    let output = Command::new("ffprobe").args(["-v", "error"]).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A stream without a name at servers of its own.
fn mounted(config: &OutputConfig) -> Mount {
    Servers::start(config, &AccessConfig::default()).unwrap().mount(None).unwrap()
}

/// A live show of test pictures at 25 frames per second on a thread of its own, until dropped.
pub struct Show {
    /// RTSP and HTTP address.
    pub urls: Vec<String>,
    stop: Stop,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Show {
    /// Starts at once.
    pub fn start(config: &OutputConfig, width: usize, height: usize, hook: Option<EncodedHook>) -> Show {
        Self::start_with(config, mounted(config), (width, height), hook, false, None)
    }

    /// As `start`, with noise between the quarters.
    pub fn start_noisy(config: &OutputConfig, width: usize, height: usize) -> Show {
        Self::start_with(config, mounted(config), (width, height), None, true, None)
    }

    /// As `start`; pictures say that they were captured `late` before they come.
    pub fn start_late(config: &OutputConfig, width: usize, height: usize, late: SignedDuration) -> Show {
        Self::start_with(config, mounted(config), (width, height), None, false, Some(late))
    }

    /// One of several at the same servers.
    pub fn start_at(mount: Mount, width: usize, height: usize) -> Show {
        Self::start_with(&OutputConfig::default(), mount, (width, height), None, false, None)
    }

    fn start_with(
        config: &OutputConfig,
        mount: Mount,
        (width, height): (usize, usize),
        hook: Option<EncodedHook>,
        noisy: bool,
        late: Option<SignedDuration>,
    ) -> Show {
        let mut out = VideoOut::open(config, Some(mount), Haste::Live, Some(25.0), hook, None).unwrap();
        let urls = out.urls().to_vec();
        let stop = Stop::new();
        let token = stop.clone();
        let thread = std::thread::spawn(move || {
            let pool = Pool::new();
            let start = Instant::now();
            let mut n = 0;
            while !token.asked() {
                let mut frame = quarters(&pool, width, height, n, 25);
                frame.utc = late.map(|late| Clock::of_run().at(frame.captured) - late);
                if noisy {
                    let middle = height * 3 / 8 * width..height * 5 / 8 * width;
                    let mut state = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
                    for pixel in &mut frame.pixels[middle] {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        *pixel = state as u8;
                    }
                }
                out.push(frame).unwrap();
                n += 1;
                std::thread::sleep(
                    (start + Duration::from_millis(40) * n as u32).saturating_duration_since(Instant::now()),
                );
            }
            out.finish().unwrap();
            out.dropped()
        });
        Show { urls, stop, thread: Some(thread) }
    }

    /// Ends the show; the number of frames that the encoder could not take.
    pub fn end(mut self) -> u64 {
        self.stop.ask();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        self.stop.ask();
    }
}
