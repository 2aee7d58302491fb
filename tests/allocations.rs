//! The steady state allocates no frame-sized memory: everything between the source and the encoder
//! runs in this process under an allocator that watches for large blocks.
//!
//! The allocator of a process is one for all, so this file has a single test.

mod support {
    pub mod given;
    pub mod program;
    pub mod tiny_model;
}

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use farout::config::Config;
use farout::detector::{
    Deliver, Detector, Draw, EventRecorder, EventRecorders, Record, Status, VideoEnd, detect,
};
use farout::flow::{Flow, Pace};
use farout::frame::Frame;
use farout::health::Health;
use farout::overlay::Overlay;
use farout::score::{Class, Normalise, Polygons, ScoreConfig, ThresholdSetting, Upsampling};
use farout::sink::EventLog;
use farout::source::{self, Purpose, SourceConfig};
use farout::stop::Stop;
use support::given::given;

/// Blocks of this size and more count. A frame's smallest array, the distances of its patches,
/// takes 14 kB here; pixels take 345 kB.
const LARGE: usize = 8 << 10;
/// Frames until every stock of buffers has been filled.
const WARM_UP: u64 = 30;
/// Frames that are watched after that.
const WATCHED: u64 = 100;
/// Threads may meet in a way in which they did not meet before, and a stock grows by one more buffer;
/// what every frame allocates counts at least [`WATCHED`].
const LATE: usize = 10;

static WATCHING: AtomicBool = AtomicBool::new(false);
static SEEN: Mutex<Vec<(usize, Backtrace)>> = Mutex::new(Vec::new());

thread_local! {
    /// Taking notes allocates too.
    static NOTING: Cell<bool> = const { Cell::new(false) };
}

struct Watchful;

impl Watchful {
    fn note(&self, size: usize) {
        if size < LARGE || !WATCHING.load(SeqCst) || NOTING.replace(true) {
            return;
        }
        if let Ok(mut seen) = SEEN.lock() {
            seen.push((size, Backtrace::force_capture()));
        }
        NOTING.set(false);
    }
}

// SAFETY: every call goes on to the system's allocator as it came.
unsafe impl GlobalAlloc for Watchful {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.note(layout.size());
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.note(layout.size());
        // SAFETY: the caller keeps the promises of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        self.note(size);
        // SAFETY: the caller keeps the promises of `realloc`.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watchful = Watchful;

/// Starts and ends the watch, and stops the source when it is over.
struct Turnstile {
    inner: Option<Box<dyn VideoEnd>>,
    health: Arc<Health>,
    passed: Arc<AtomicU64>,
    stop: Stop,
}

impl VideoEnd for Turnstile {
    fn push(&mut self, frame: Frame) -> anyhow::Result<()> {
        match self.passed.fetch_add(1, SeqCst) + 1 {
            // Nobody moves on until all queues are full: as many buffers are in use as can be.
            n if n == WARM_UP / 2 => std::thread::sleep(Duration::from_millis(500)),
            WARM_UP => WATCHING.store(true, SeqCst),
            n if n == WARM_UP + WATCHED => {
                WATCHING.store(false, SeqCst);
                self.stop.ask();
            }
            _ => {}
        }
        match &mut self.inner {
            Some(inner) => inner.push(frame)?,
            None => self.health.frame_done(frame.captured),
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.inner.as_mut().map_or(Ok(()), |inner| inner.finish())
    }
}

/// The real encoder with nobody watching.
#[cfg(feature = "media")]
fn encoder() -> Option<Box<dyn VideoEnd>> {
    use farout::sink::{Haste, OutputConfig, VideoOut};

    struct Video(VideoOut);

    impl VideoEnd for Video {
        fn push(&mut self, frame: Frame) -> anyhow::Result<()> {
            Ok(self.0.push(frame)?)
        }
        fn finish(&mut self) -> anyhow::Result<()> {
            Ok(self.0.finish()?)
        }
    }

    let config = OutputConfig::default();
    Some(Box::new(Video(VideoOut::open(&config, None, Haste::Offline, Some(25.0), None, None).unwrap())))
}

#[cfg(not(feature = "media"))]
fn encoder() -> Option<Box<dyn VideoEnd>> {
    None
}

/// All that may be done to score maps, at once.
fn every_option() -> ScoreConfig {
    ScoreConfig {
        normalise: Normalise::Spread,
        smooth: 0.7,
        hysteresis: 0.5,
        upsample: Upsampling::Guided,
        temporal: 0.5,
        roi: Some(Polygons::One(vec![[0.05, 0.2], [0.95, 0.2], [1.0, 1.0], [0.0, 1.0]])),
        roi_classes: (0..3).map(Class::Number).collect(),
        // In deviations of the frame's distances.
        threshold: ThresholdSetting::Fixed(1.0),
        ..ScoreConfig::default()
    }
}

/// Runs `source` through everything; the large blocks that were allocated while it was watched.
fn large_blocks(source: &str, score: ScoreConfig, end: Option<Box<dyn VideoEnd>>) -> Vec<(usize, Backtrace)> {
    let mut config = Config::default();
    config.model.path.clone_from(&given().model);
    config.bank.path.clone_from(&given().bank);
    config.runtime.device = farout::features::Device::CPU;
    config.runtime.threads = 1;
    config.search.device = farout::nearest::Device::Cpu;
    config.search.threads = 1;
    config.model.logits = Some("logits".to_owned());
    config.score = score;
    let folder = tempfile::tempdir().unwrap();
    let (stop, health) = (Stop::new(), Arc::new(Health::new()));
    let stream = SourceConfig { pace: source::Pace::Fast, ..SourceConfig::default() };
    let source = source::open(source, &stream, Purpose::Live, stop.clone()).unwrap();
    let detector = Detector::open(&config).unwrap();
    detector.alarms.add(0, &config.score).unwrap();
    let log = Box::new(EventLog::create(&folder.path().join("events.jsonl")).unwrap());
    let events = EventRecorders::one(EventRecorder::new(&config.score, None, log));
    let record = Record { events, ..Record::default() };
    let status = Status::new(detector.summary.clone(), Some(Arc::clone(&health)));
    let draw = Draw { overlay: Overlay::new(&config.overlay), status };
    let passed = Arc::new(AtomicU64::new(0));
    let turnstile = Turnstile {
        inner: end,
        health: Arc::clone(&health),
        passed: Arc::clone(&passed),
        stop: stop.clone(),
    };
    let deliver = Deliver { pictures: None, video: Some(Box::new(turnstile)), health: Arc::clone(&health) };
    let frames = Flow::from_source(source, Pace::Offline, health, stop).unwrap();
    let begun = Instant::now();
    detect(frames, Some(detector), record, Some(draw), deliver, Duration::from_secs(10)).unwrap();
    println!("{} frames in {:?}", passed.load(SeqCst), begun.elapsed());
    assert!(passed.load(SeqCst) >= WARM_UP + WATCHED);
    assert!(std::fs::metadata(folder.path().join("events.jsonl")).unwrap().len() > 0, "nothing was found");
    std::mem::take(&mut *SEEN.lock().unwrap())
}

/// The calls of ours that led to a block, innermost first.
fn ours(backtrace: &Backtrace) -> String {
    let text = backtrace.to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let calls = lines.windows(2).filter(|pair| pair[0].contains("farout::") && pair[1].starts_with("at "));
    let calls: Vec<String> = calls.take(3).map(|pair| format!("{} {}", pair[0], pair[1])).collect();
    if calls.is_empty() { text } else { calls.join("\n      ") }
}

#[test]
fn the_steady_state_allocates_nothing_of_a_frames_size() {
    let source = "synthetic:seed=3,width=640,height=360,fps=25";
    let mut faults = Vec::new();
    // Something to draw and to follow in every picture.
    let plain = ScoreConfig { threshold: ThresholdSetting::Fixed(0.4), ..ScoreConfig::default() };
    let cases = [
        ("drawn", plain.clone(), None),
        ("encoded", plain, encoder()),
        ("with every option of the score map", every_option(), None),
    ];
    for (name, score, end) in cases {
        let blocks = large_blocks(source, score, end);
        println!("{name}: {} large blocks", blocks.len());
        if blocks.len() <= LATE {
            continue;
        }
        let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (size, backtrace) in &blocks {
            places.entry(ours(backtrace)).or_default().push(*size);
        }
        for (place, sizes) in places {
            let largest = sizes.iter().max();
            faults.push(format!(
                "{name}: {} blocks, the largest {largest:?} bytes, at\n      {place}",
                sizes.len()
            ));
        }
    }
    assert!(faults.is_empty(), "in {WATCHED} frames\n{}", faults.join("\n"));
}
