//! Where annotated video goes, for `run` and for `replay`.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use crate::config::Config;
use crate::detector::VideoEnd;
use crate::health::Health;
use crate::sink::OutputConfig;

/// Servers and recording as configured. For a live source a busy encoder loses frames, which are counted;
/// for one that can wait nothing is lost.
///
/// # Errors
/// If a port is in use, a file cannot be made, or no encoder works.
pub fn live(
    output: &OutputConfig,
    _name: Option<&str>,
    live: bool,
    rate: Option<f64>,
    health: &Arc<Health>,
) -> Result<Box<dyn VideoEnd>> {
    open(output, !live, rate, health)
}

/// One video file and no servers; nothing is lost.
///
/// # Errors
/// As [`live`].
pub fn file(
    config: &Config,
    path: &Path,
    rate: Option<f64>,
    health: &Arc<Health>,
) -> Result<Box<dyn VideoEnd>> {
    let off = || "off".to_owned();
    let output =
        OutputConfig { rtsp: off(), http: off(), record: Some(path.to_owned()), ..config.output.clone() };
    open(&output, true, rate, health)
}

#[cfg(feature = "media")]
fn open(
    output: &OutputConfig,
    wait: bool,
    rate: Option<f64>,
    health: &Arc<Health>,
) -> Result<Box<dyn VideoEnd>> {
    use super::answer;
    use crate::frame::Frame;
    use crate::sink::{Haste, StateHook, VideoOut};

    struct Video {
        out: VideoOut,
        health: Arc<Health>,
        dropped: u64,
    }

    impl VideoEnd for Video {
        fn push(&mut self, frame: Frame) -> Result<()> {
            self.out.push(frame)?;
            for _ in self.dropped..self.out.dropped() {
                self.health.frame_dropped();
            }
            self.dropped = self.out.dropped();
            Ok(())
        }

        fn finish(&mut self) -> Result<()> {
            Ok(self.out.finish()?)
        }
    }

    let told = Arc::clone(health);
    let hook = Box::new(move |_, captured| told.frame_done(captured));
    let haste = if wait { Haste::Offline } else { Haste::Live };
    let states = Arc::clone(health);
    let state: StateHook = Arc::new(move |part, problem| states.problem(part, problem));
    let out = VideoOut::open(output, haste, rate, Some(hook), Some(state))?;
    for url in out.urls() {
        // What a person who starts the program looks for.
        answer::print(format!("watch {url}\n"))?;
    }
    Ok(Box::new(Video { out, health: Arc::clone(health), dropped: 0 }))
}

#[cfg(not(feature = "media"))]
fn open(_: &OutputConfig, _: bool, _: Option<f64>, _: &Arc<Health>) -> Result<Box<dyn VideoEnd>> {
    anyhow::bail!("this farout was built without video; build it with the feature \"media\"")
}
