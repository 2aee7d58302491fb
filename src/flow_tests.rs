//! What the flow promises: order, no loss offline, the newest frame live, faults that surface.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::bail;

use super::*;
use crate::frame::PixelFormat;
use crate::pool::Pool;

struct Counting {
    next: u64,
    end: u64,
    interval: Duration,
    stop: Stop,
    fail_at: Option<u64>,
}

impl Counting {
    fn boxed(end: u64, interval_ms: u64, stop: &Stop) -> Box<Self> {
        Box::new(Counting {
            next: 0,
            end,
            interval: Duration::from_millis(interval_ms),
            stop: stop.clone(),
            fail_at: None,
        })
    }
}

impl Source for Counting {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        if self.next == self.end || self.stop.asked() {
            return Ok(None);
        }
        if self.fail_at == Some(self.next) {
            return Err(SourceError::CutOff {
                location: "x".into(),
                last_frame: self.next - 1,
                last_secs: 0.0,
                why: "cut".into(),
            });
        }
        std::thread::sleep(self.interval);
        let mut frame = Frame::take(&Pool::new(), PixelFormat::I420, 16, 16);
        frame.id = self.next;
        self.next += 1;
        Ok(Some(frame))
    }

    fn rate(&self) -> Option<f64> {
        None
    }

    fn describe(&self) -> String {
        "counting".into()
    }

    fn is_live(&self) -> bool {
        true
    }
}

/// Calls a closure per frame.
struct Each<F>(F, Arc<AtomicU64>);

impl<F: FnMut(&Frame) -> anyhow::Result<()> + Send + 'static> Stage for Each<F> {
    type In = Frame;
    type Out = Frame;
    fn step(&mut self, frame: Frame) -> anyhow::Result<Frame> {
        (self.0)(&frame)?;
        Ok(frame)
    }
    fn finish(&mut self) -> anyhow::Result<()> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

fn each<F: FnMut(&Frame) -> anyhow::Result<()> + Send + 'static>(f: F) -> (Each<F>, Arc<AtomicU64>) {
    let finished = Arc::new(AtomicU64::new(0));
    (Each(f, Arc::clone(&finished)), finished)
}

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn offline_every_frame_arrives_in_order() {
    let (stop, health) = (Stop::new(), Arc::new(Health::new()));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let (slow, _) = each(|_| {
        std::thread::sleep(Duration::from_micros(200));
        Ok(())
    });
    let (last, finished) = each(move |f| {
        sink.lock().unwrap().push(f.id);
        Ok(())
    });
    let flow =
        Flow::from_source(Counting::boxed(200, 0, &stop), Pace::Offline, Arc::clone(&health), stop).unwrap();
    flow.stage("slow", slow).unwrap().run("last", last, PATIENCE).unwrap();
    assert_eq!(*seen.lock().unwrap(), (0..200).collect::<Vec<_>>());
    assert_eq!(finished.load(Ordering::SeqCst), 1);
    let report = health.report();
    assert_eq!((report.frames_in, report.dropped), (200, 0));
    let names: Vec<_> = report.stages.iter().map(|s| (s.name.as_str(), s.frames)).collect();
    assert_eq!(names, [("decode", 200), ("slow", 200), ("last", 200)]);
}

#[test]
fn live_a_slow_stage_gets_the_newest_frame_and_the_rest_is_counted() {
    let (stop, health) = (Stop::new(), Arc::new(Health::new()));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let (last, _) = each(move |f| {
        std::thread::sleep(Duration::from_millis(20));
        sink.lock().unwrap().push(f.id);
        Ok(())
    });
    let pace = Pace::Live { in_flight: 2 };
    let flow = Flow::from_source(Counting::boxed(200, 1, &stop), pace, Arc::clone(&health), stop).unwrap();
    flow.run("last", last, PATIENCE).unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.windows(2).all(|w| w[0] < w[1]), "{seen:?}");
    assert_eq!(seen.last(), Some(&199), "the newest frame is never lost");
    let report = health.report();
    assert_eq!(report.frames_in, 200);
    assert_eq!(report.dropped + seen.len() as u64, 200);
    assert!(report.dropped > 50, "{}", report.dropped);
}

#[test]
fn offline_a_fault_names_stage_and_frame_and_files_are_finished() {
    let (stop, health) = (Stop::new(), Arc::new(Health::new()));
    let (bad, _) = each(|f| if f.id == 7 { bail!("no") } else { Ok(()) });
    let (last, finished) = each(|_| Ok(()));
    let flow = Flow::from_source(Counting::boxed(50, 0, &stop), Pace::Offline, health, stop).unwrap();
    let error = flow.stage("bad", bad).unwrap().run("last", last, PATIENCE).unwrap_err();
    assert_eq!(error.to_string(), "bad, frame 7: no");
    assert_eq!(finished.load(Ordering::SeqCst), 1);
}

#[test]
fn live_a_fault_is_counted_and_the_stream_goes_on() {
    let (stop, health) = (Stop::new(), Arc::new(Health::new()));
    let (bad, _) = each(|f| if f.id % 2 == 0 { bail!("no") } else { Ok(()) });
    let arrived = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&arrived);
    let (last, _) = each(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let pace = Pace::Live { in_flight: 3 };
    let flow = Flow::from_source(Counting::boxed(20, 5, &stop), pace, Arc::clone(&health), stop).unwrap();
    flow.stage("bad", bad).unwrap().run("last", last, PATIENCE).unwrap();
    let report = health.report();
    assert_eq!(report.failed + report.dropped + arrived.load(Ordering::SeqCst), 20);
    assert!(report.failed > 0 && arrived.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_panic_surfaces_with_the_name_of_the_stage() {
    for pace in [Pace::Offline, Pace::Live { in_flight: 2 }] {
        let (stop, health) = (Stop::new(), Arc::new(Health::new()));
        let (bad, _) = each(|f| if f.id >= 3 { panic!("index out of bounds") } else { Ok(()) });
        let (last, finished) = each(|_| Ok(()));
        let flow = Flow::from_source(Counting::boxed(1000, 1, &stop), pace, health, stop).unwrap();
        let error = flow.stage("bad", bad).unwrap().run("last", last, PATIENCE).unwrap_err();
        assert!(matches!(&error, FlowError::Panic { stage, .. } if stage == "bad"), "{error}");
        assert_eq!(finished.load(Ordering::SeqCst), 1, "later stages close their files");
    }
}

#[test]
fn a_recording_cut_off_keeps_its_frames_and_says_so() {
    let (stop, health) = (Stop::new(), Arc::new(Health::new()));
    let arrived = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&arrived);
    let (last, finished) = each(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    let mut source = Counting::boxed(50, 0, &stop);
    source.fail_at = Some(30);
    let error = Flow::from_source(source, Pace::Offline, health, stop)
        .unwrap()
        .run("last", last, PATIENCE)
        .unwrap_err();
    assert!(matches!(error, FlowError::Source(SourceError::CutOff { last_frame: 29, .. })), "{error}");
    assert_eq!((arrived.load(Ordering::SeqCst), finished.load(Ordering::SeqCst)), (30, 1));
}

#[test]
fn a_stopped_flow_drains() {
    for pace in [Pace::Offline, Pace::Live { in_flight: 2 }] {
        let (stop, health) = (Stop::new(), Arc::new(Health::new()));
        let asker = stop.clone();
        let (last, finished) = each(move |f| {
            // Live, the fifth frame itself may be dropped.
            if f.id >= 5 {
                asker.ask();
            }
            Ok(())
        });
        let flow = Flow::from_source(Counting::boxed(u64::MAX, 2, &stop), pace, health, stop).unwrap();
        flow.run("last", last, PATIENCE).unwrap();
        assert_eq!(finished.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn a_stage_that_hangs_after_the_stop_is_named() {
    let (stop, health) = (Stop::new(), Arc::new(Health::new()));
    let asker = stop.clone();
    let (last, _) = each(move |_| {
        asker.ask();
        std::thread::sleep(Duration::from_secs(3600));
        Ok(())
    });
    let flow = Flow::from_source(Counting::boxed(10, 0, &stop), Pace::Offline, health, stop).unwrap();
    let error = flow.run("last", last, Duration::from_millis(50)).unwrap_err();
    assert!(
        matches!(&error, FlowError::Stuck { stage, .. } if stage == "source" || stage == "last"),
        "{error}"
    );
}
