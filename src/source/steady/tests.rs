//! Gaps, losses and other sources, with cameras of their own.

use super::*;

/// A camera that gives pictures at the times told (milliseconds), then ends.
struct Camera(Vec<u64>, Instant, u64);

/// The same, lost and opened again before its pictures of these numbers.
struct Flaky(Camera, &'static [u64], Arc<SourceStatus>);

impl Source for Flaky {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        if self.1.contains(&self.0.2) {
            self.2.lost("gone");
        }
        let frame = self.0.next()?;
        self.2.running(self.0.2, 0);
        Ok(frame)
    }

    fn rate(&self) -> Option<f64> {
        self.0.rate()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn is_live(&self) -> bool {
        true
    }

    fn status(&self) -> Option<Arc<SourceStatus>> {
        Some(Arc::clone(&self.2))
    }
}

impl Source for Camera {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let due = self.1 + Duration::from_millis(self.0.remove(0));
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut frame = Frame::take(&Pool::new(), PixelFormat::I420, 32, 16);
        frame.pixels.fill(200);
        (frame.id, frame.pts) = (self.2, Duration::from_millis(40 * self.2));
        self.2 += 1;
        Ok(Some(frame))
    }

    fn rate(&self) -> Option<f64> {
        Some(25.0)
    }

    fn describe(&self) -> String {
        "a camera".into()
    }

    fn is_live(&self) -> bool {
        true
    }
}

#[test]
fn a_gap_is_filled_and_time_goes_on() {
    let times = vec![0, 40, 80, 120, 1500, 1540];
    let camera = Box::new(Camera(times, Instant::now(), 0));
    let mut steady = Steady::new(camera, (0, 0), Stop::new()).unwrap();
    let mut seen = Vec::new();
    while let Some(frame) = steady.next().unwrap() {
        seen.push((frame.id, frame.no_signal.is_some(), frame.pts, (frame.width, frame.height)));
    }
    assert!(seen.windows(2).all(|pair| pair[0].2 < pair[1].2), "{seen:?}");
    let real: Vec<u64> = seen.iter().filter(|one| !one.1).map(|one| one.0).collect();
    assert_eq!(real, [0, 1, 2, 3, 4, 5], "{seen:?}");
    let gap: Vec<_> = seen.iter().filter(|one| one.1).collect();
    assert!((3..=7).contains(&gap.len()) && gap.iter().all(|one| one.0 == 3), "{seen:?}");
    assert!(seen.iter().all(|one| one.3 == (32, 16)));
    // The picture after the gap lies where it came.
    let back = seen.iter().find(|one| one.0 == 4).unwrap();
    assert!(back.2 > Duration::from_millis(1200) && back.2 < Duration::from_millis(2500), "{seen:?}");
}

#[test]
fn a_camera_that_was_away_is_waited_for_no_longer() {
    let times = vec![0, 40, 80, 120, 2600, 2640, 4600];
    let camera = Flaky(Camera(times, Instant::now(), 0), &[4, 6], Arc::default());
    let mut steady = Steady::new(Box::new(camera), (0, 0), Stop::new()).unwrap();
    let seen: Vec<_> = std::iter::from_fn(|| steady.next().unwrap()).collect();
    let filled = |id| seen.iter().filter(|one| one.id == id && one.no_signal.is_some()).count();
    assert!(filled(3) >= 5 && filled(5) >= 5, "{} and {}", filled(3), filled(5));
}

#[test]
fn what_is_missing_is_told_where_packets_are_lost() {
    let status = Arc::<SourceStatus>::default();
    let camera = Flaky(Camera(vec![0, 40, 80, 900, 940], Instant::now(), 0), &[], Arc::clone(&status));
    let mut steady = Steady::new(Box::new(camera), (0, 0), Stop::new()).unwrap();
    let first = steady.next().unwrap().unwrap();
    assert!(first.no_signal.is_none() && status.damage().is_none());
    status.leave_out(3);
    let rest: Vec<_> = std::iter::from_fn(|| steady.next().unwrap()).collect();
    let told: Vec<_> = rest.iter().filter_map(|frame| frame.no_signal.as_ref()).collect();
    assert!(!told.is_empty() && told.iter().all(|one| one.why.contains("packets") && one.why.contains('3')));
    // It counts for no signal once the source is lost.
    status.lost("gone");
    assert!(status.damage().is_none() && status.left_out() == 3);
}

#[test]
fn another_source_goes_on_where_the_one_before_was() {
    let begun = Instant::now();
    let camera = |times| Box::new(Camera(times, begun, 0));
    let mut steady = Steady::new(camera(vec![0, 40, 80, 5000]), (0, 0), Stop::new()).unwrap();
    let switch = steady.switch();
    let mut seen: Vec<_> = (0..3).map(|_| steady.next().unwrap().unwrap()).collect();
    switch.to(camera(vec![120, 160, 200])).unwrap();
    seen.extend(std::iter::from_fn(|| steady.next().unwrap()));
    let ids: Vec<_> = seen.iter().map(|frame| frame.id).collect();
    assert_eq!(ids, [0, 1, 2, 3, 4, 5]);
    assert!(seen.windows(2).all(|pair| pair[0].pts < pair[1].pts));
    assert!(seen[5].pts < Duration::from_secs(1) && seen.iter().all(|frame| frame.no_signal.is_none()));
}

#[test]
fn before_the_first_picture_a_plain_one_of_the_wanted_size_is_shown() {
    struct Absent(Stop);
    impl Source for Absent {
        fn next(&mut self) -> Result<Option<Frame>, SourceError> {
            while !self.0.asked() {
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(None)
        }
        fn rate(&self) -> Option<f64> {
            None
        }
        fn describe(&self) -> String {
            "absent".into()
        }
        fn is_live(&self) -> bool {
            true
        }
    }
    let stop = Stop::new();
    let mut steady = Steady::new(Box::new(Absent(stop.clone())), (640, 360), stop.clone()).unwrap();
    let first = steady.next().unwrap().unwrap();
    assert_eq!((first.width, first.height), (640, 360));
    let told = first.no_signal.unwrap().to_string();
    assert!(told.starts_with("no signal since ") && told.contains("no picture comes"), "{told}");
    stop.ask();
    assert!(steady.next().unwrap().is_none());
}
