//! Time of the overlay per frame, on one core: `cargo bench --bench overlay`.
//!
//! `heat everywhere` scores every pixel around the threshold, `typical` has a few blobs on
//! an otherwise normal road, `nothing` has no score near the threshold. Medians of
//! 200 frames, and the fastest: on a busy machine that one tells more.

use std::time::{Duration, Instant};

use farout::frame::{Frame, PixelFormat};
use farout::grid::PixelScores;
use farout::overlay::{Overlay, OverlayConfig, ScoreScale};
use farout::pool::{Pool, Pooled};
use farout::region::{Rect, Region};

const SCALE: ScoreScale = ScoreScale { threshold: 10.0, spread: 2.0 };
const STATUS: &str = "12:34:56.789  25.0 fps  p50 41.2 ms  p95 88.0 ms  CPUExecutionProvider  \
                      vit-s-14.onnx  road.bank  dropped 0";
const FRAMES: usize = 200;

fn main() {
    // `cargo test --benches` only wants to know that this runs.
    let frames = if std::env::args().any(|a| a == "--bench") { FRAMES } else { 1 };
    for format in [PixelFormat::I420, PixelFormat::Rgb] {
        for (width, height) in [(640, 360), (1280, 720), (1920, 1080)] {
            for (name, blobs, floor) in
                [("heat everywhere", 40, 9.5), ("typical", 3, 0.0), ("nothing", 0, 0.0)]
            {
                let (scores, regions) = scene(width, height, blobs, floor);
                let (median, fastest) = measure(format, &scores, &regions, frames);
                println!("{format:?} {width}x{height} {name:16} {median:7.3} ms, fastest {fastest:7.3} ms");
            }
        }
    }
}

/// Scores with `blobs` round bumps over a wavy floor, and their regions.
fn scene(width: usize, height: usize, blobs: usize, floor: f32) -> (PixelScores, Vec<Region>) {
    let radius = height as f32 / 12.0;
    let centre = |i: usize| {
        let (column, row) = (i % 8, i / 8 % 5);
        ((column as f32 + 0.5) * width as f32 / 8.0, (row as f32 + 0.5) * height as f32 / 5.0)
    };
    let mut data = vec![0.0; width * height];
    for (i, score) in data.iter_mut().enumerate() {
        let (x, y) = ((i % width) as f32, (i / width) as f32);
        *score = floor + 0.4 * (x / 30.0).sin() * (y / 20.0).cos();
        for blob in 0..blobs {
            let (cx, cy) = centre(blob);
            let distance = (x - cx).hypot(y - cy) / radius;
            *score = score.max(15.0 - 5.0 * distance);
        }
    }
    let regions = (0..blobs).map(|blob| {
        let (cx, cy) = centre(blob);
        let (x, y) = ((cx - radius).max(0.0) as u32, (cy - radius).max(0.0) as u32);
        let side = 2 * radius as u32;
        Region { rect: Rect { x, y, width: side, height: side }, area: side * side, peak: 15.0 }
    });
    (PixelScores { width, height, data: Pooled::unpooled(data) }, regions.collect())
}

fn measure(format: PixelFormat, scores: &PixelScores, regions: &[Region], frames: usize) -> (f64, f64) {
    let mut overlay = Overlay::new(&OverlayConfig::default());
    let mut frame = Frame::take(&Pool::new(), format, scores.width, scores.height);
    let mut times: Vec<Duration> = (0..frames)
        .map(|_| {
            frame.pixels.fill(120);
            let start = Instant::now();
            let drawn = overlay.draw(&mut frame, scores, regions, SCALE, STATUS);
            let took = start.elapsed();
            if let Err(e) = drawn {
                eprintln!("{e}");
            }
            took
        })
        .collect();
    times.sort_unstable();
    let ms = |took: Duration| took.as_secs_f64() * 1e3;
    (ms(times[times.len() / 2]), ms(times[0]))
}
