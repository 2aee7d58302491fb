//! Time of what may be done to score maps, per frame and on one core, beside plain bilinear upsampling:
//! `cargo bench --bench scores`.
//!
//! Pictures are two frames of the synthetic drive, maps have one cell per 14 pixels of a model's input of 364 lines.
//! Medians of 100 frames, and as a factor of the bilinear upsampling of the same size in the same run.

use std::time::{Duration, Instant};

use farout::frame::Frame;
use farout::grid::{Grid, Logits, PixelScores, ScoreMap};
use farout::luma::Luma;
use farout::pool::Pooled;
use farout::score::{GuidedUpsampler, MotionTracker, Regions, Roi, Smoother, TemporalSmoother, Upsampler};
use farout::source::{self, Purpose, SourceConfig};
use farout::stop::Stop;

const FRAMES: usize = 100;
const GRID: Grid = Grid { rows: 26, cols: 46 };
const CLASSES: usize = 19;

fn main() {
    // `cargo test --benches` only wants to know that this runs.
    let frames = if std::env::args().any(|a| a == "--bench") { FRAMES } else { 1 };
    for (width, height) in [(640, 360), (1280, 720), (1920, 1080)] {
        let [first, second] = drive(width, height);
        let (mut luma, mut before) = (Luma::default(), Luma::default());
        before.take(&first);
        let map = ScoreMap { grid: GRID, data: Pooled::unpooled((0..GRID.len()).map(score).collect()) };
        let mut pixels = PixelScores::default();
        let mut bilinear = Upsampler::new();
        let plain = median(frames, || bilinear.step(&map, width, height, &mut pixels));
        let tell = |name: &str, took: Duration| {
            let (ms, factor) = (took.as_secs_f64() * 1e3, took.as_secs_f64() / plain.as_secs_f64());
            println!("{width}x{height} {name:34} {ms:7.3} ms, {factor:6.2} x bilinear");
        };
        tell("bilinear upsampling", plain);
        tell("brightness of the picture", median(frames, || luma.take(&second)));
        let mut guided = GuidedUpsampler::new(2.0, 0.001);
        tell("guided upsampling", median(frames, || guided.step(&map, &luma, &mut pixels)));
        let mut smoother = Smoother::new(1.0).expect("a sigma above 0");
        let mut cells = map.data.to_vec();
        tell("gaussian smoothing, sigma 1", median(frames, || smoother.apply(GRID, &mut cells)));
        let (mut tracker, mut temporal) =
            (MotionTracker::new(), TemporalSmoother::new(0.5).expect("above 0"));
        let (mut now, mut turn) = (map.clone(), 0);
        let moved = median(frames, || {
            // Always the same two frames, as if they followed each other.
            turn += 1;
            let mut frame = if turn % 2 == 0 { second.clone() } else { first.clone() };
            frame.pts = Duration::from_millis(40 * turn);
            let how = tracker.step(&frame, if turn % 2 == 0 { &luma } else { &before });
            temporal.step(&mut now, (width, height), &how);
        });
        tell("motion and smoothing along it", moved);
        let logits = road();
        let mut roi = Roi::new(&[], Some((vec![0], 0.05)));
        tell(
            "road as predicted",
            median(frames, || {
                std::hint::black_box(roi.step(Some(&logits), width, height));
            }),
        );
        bilinear.step(&map, width, height, &mut pixels);
        let (mut regions, mut found) = (Regions::new(0.95, 100), Vec::new());
        tell("regions", median(frames, || regions.step(&pixels, &[], &mut found)));
        let counted = roi.step(Some(&logits), width, height);
        tell("regions on the road", median(frames, || regions.step(&pixels, counted, &mut found)));
    }
}

fn score(cell: usize) -> f32 {
    ((cell * 7919) % 101) as f32 / 100.0
}

/// Logits of a model that sees road in the lower half, at an eighth of 1024x512.
fn road() -> Logits {
    let grid = Grid { rows: 64, cols: 128 };
    let data = (0..CLASSES).flat_map(|class| {
        (0..grid.len()).map(move |cell| match class {
            0 if cell >= grid.len() / 2 => 5.0,
            _ => score(cell + 31 * class),
        })
    });
    Logits { classes: CLASSES, grid, data: Pooled::unpooled(data.collect()) }
}

fn drive(width: usize, height: usize) -> [Frame; 2] {
    let location = format!("synthetic:seed=7,width={width},height={height},frames=2");
    let mut source = source::open(&location, &SourceConfig::default(), Purpose::Offline, Stop::new())
        .expect("the drive opens");
    [(); 2].map(|()| source.next().ok().flatten().expect("two frames"))
}

fn median(frames: usize, mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..frames)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}
