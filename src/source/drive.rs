//! The synthetic drive as a source.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::synthetic::{SyntheticConfig, World};
use super::{Source, SourceError};
use crate::frame::{Frame, PixelFormat, Truth};
use crate::pool::Pool;
use crate::stop::Stop;

/// Frames of a [`World`], painted when they are asked for.
pub(super) struct Drive {
    world: World,
    next: u64,
    with_truth: bool,
    stop: Stop,
    pixels: Pool<Vec<u8>>,
    truths: Pool<Truth>,
    name: Arc<str>,
}

impl Drive {
    /// The drive that `spec` describes, see [`SyntheticConfig::parse`].
    ///
    /// # Errors
    /// [`SourceError::Unreadable`] naming the key.
    pub(super) fn open(spec: &str, with_truth: bool, stop: Stop) -> Result<Drive, SourceError> {
        let config = SyntheticConfig::parse(spec)
            .map_err(|why| SourceError::unreadable(format!("synthetic:{spec}"), why.to_string()))?;
        let world = World::new(&config);
        Ok(Drive {
            world,
            next: 0,
            with_truth,
            stop,
            pixels: Pool::new(),
            truths: Pool::new(),
            name: "".into(),
        })
    }

    fn config(&self) -> &SyntheticConfig {
        self.world.config()
    }
}

impl Source for Drive {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        if self.stop.asked() || self.config().frames == Some(self.next) {
            return Ok(None);
        }
        let &SyntheticConfig { width, height, fps, .. } = self.config();
        let mut frame = Frame::take(&self.pixels, PixelFormat::I420, width, height);
        let mut truth = self.with_truth.then(|| self.truths.take());
        self.world.render(self.next, &mut frame, truth.as_deref_mut());
        frame.truth = truth;
        frame.id = self.next;
        frame.pts = Duration::from_nanos(self.next.saturating_mul(1_000_000_000) / u64::from(fps.max(1)));
        frame.captured = Instant::now();
        frame.name = Arc::clone(&self.name);
        self.next += 1;
        Ok(Some(frame))
    }

    fn rate(&self) -> Option<f64> {
        Some(f64::from(self.config().fps))
    }

    fn frames(&self) -> Option<u64> {
        self.config().frames
    }

    fn describe(&self) -> String {
        let SyntheticConfig { seed, width, height, fps, strangers, .. } = self.config();
        let strangers = if *strangers { "with" } else { "without" };
        format!("synthetic drive {seed}, {width}x{height} at {fps} fps, {strangers} strangers")
    }

    fn is_live(&self) -> bool {
        false
    }
}
