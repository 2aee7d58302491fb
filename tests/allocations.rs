//! The steady state allocates nothing of a frame's size: buffers go round.

mod support {
    pub mod given;
    pub mod program;
    pub mod tiny_model;
}

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use farout::config::Config;
use farout::detector::{Deliver, Detector, Draw, Record, Status, VideoEnd, detect};
use farout::flow::{Flow, Pace};
use farout::frame::Frame;
use farout::health::Health;
use farout::overlay::Overlay;
use farout::source::{Purpose, SourceConfig, open};
use farout::stop::Stop;

/// Far below any frame-sized buffer: pixels take 346 kB here, features 230 kB. The matrix product of the
/// search packs its operands into scratch of its own, of the size of a cache (32 KiB here).
const LARGE: usize = 48 * 1024;

/// Counts large allocations while told to.
struct Counting;

static WATCHING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

fn note(size: usize) {
    if size >= LARGE && WATCHING.load(Ordering::Relaxed) {
        COUNT.fetch_add(1, Ordering::Relaxed);
        LARGEST.fetch_max(size, Ordering::Relaxed);
    }
}

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Watches allocations from one frame to another.
struct Watching {
    from: u64,
    until: u64,
}

impl VideoEnd for Watching {
    fn push(&mut self, frame: Frame) -> Result<()> {
        if frame.id == self.from {
            WATCHING.store(true, Ordering::Relaxed);
        }
        if frame.id == self.until {
            WATCHING.store(false, Ordering::Relaxed);
        }
        Ok(())
    }
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

#[test]
fn the_steady_state_allocates_no_frames() {
    let given = support::given::given();
    let mut config = Config::default();
    config.model.path.clone_from(&given.model);
    config.bank.path.clone_from(&given.bank);
    config.score.threshold = "0.05".parse().unwrap();
    let (health, stop) = (Arc::new(Health::new()), Stop::new());
    let source = "synthetic:seed=5,width=640,height=360,frames=100";
    let source = open(source, &SourceConfig::default(), Purpose::Offline, stop.clone()).unwrap();
    let detector = Detector::open(&config).unwrap();
    let draw = Draw {
        overlay: Overlay::new(&config.overlay),
        scale: detector.scale,
        status: Status::new(detector.summary.clone(), detector.scale.threshold, Some(Arc::clone(&health))),
    };
    let flow = Flow::from_source(source, Pace::Offline, Arc::clone(&health), stop).unwrap();
    let deliver = Deliver {
        pictures: None,
        video: Some(Box::new(Watching { from: 30, until: 90 })),
        health: Arc::clone(&health),
    };
    detect(flow, Some(detector), Record::default(), Some(draw), deliver, Duration::from_secs(60)).unwrap();
    assert_eq!(health.report().frames_in, 100);
    let (count, largest) = (COUNT.load(Ordering::Relaxed), LARGEST.load(Ordering::Relaxed));
    assert_eq!(count, 0, "{count} allocations of up to {largest} bytes in 60 frames");
    // The counter counts: otherwise this test could not fail.
    WATCHING.store(true, Ordering::Relaxed);
    drop(std::hint::black_box(vec![1u8; LARGE]));
    WATCHING.store(false, Ordering::Relaxed);
    assert!(COUNT.load(Ordering::Relaxed) > 0);
}
