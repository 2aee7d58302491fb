//! A source that ends after a given number of frames.

use std::sync::Arc;

use crate::frame::Frame;
use crate::source::{Source, SourceError, SourceStatus};

/// Gives at most `left` more frames of `inner`.
struct Limited {
    inner: Box<dyn Source>,
    left: u64,
}

/// `source` itself, or ended after `frames` frames.
pub fn limited(source: Box<dyn Source>, frames: Option<u64>) -> Box<dyn Source> {
    match frames {
        Some(left) => Box::new(Limited { inner: source, left }),
        None => source,
    }
}

impl Source for Limited {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        if self.left == 0 {
            return Ok(None);
        }
        let frame = self.inner.next()?;
        self.left -= u64::from(frame.is_some());
        Ok(frame)
    }

    fn rate(&self) -> Option<f64> {
        self.inner.rate()
    }

    fn frames(&self) -> Option<u64> {
        Some(self.inner.frames().map_or(self.left, |frames| frames.min(self.left)))
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn is_live(&self) -> bool {
        self.inner.is_live()
    }

    fn has_names(&self) -> bool {
        self.inner.has_names()
    }

    fn status(&self) -> Option<Arc<SourceStatus>> {
        self.inner.status()
    }
}
