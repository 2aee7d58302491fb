//! A recording that starts again when it ends, as one stream with continuous numbers and times.

use std::time::Duration;

use super::{Source, SourceError};
use crate::frame::{Frame, FrameId};
use crate::stop::Stop;

/// Opens the recording anew.
pub type Opener = Box<dyn FnMut() -> Result<Box<dyn Source>, SourceError> + Send>;

/// Repeats a recording until stopping is asked.
pub struct Looped {
    open: Opener,
    current: Box<dyn Source>,
    stop: Stop,
    id_offset: FrameId,
    pts_offset: Duration,
    last: Option<(FrameId, Duration)>,
    /// Time between the last two frames: what the first frame of the next round keeps from
    /// the last one of this round.
    interval: Duration,
    frames_this_round: u64,
}

impl Looped {
    /// Opens the recording for its first round.
    ///
    /// # Errors
    /// Those of `open`.
    pub fn new(mut open: Opener, stop: Stop) -> Result<Looped, SourceError> {
        let current = open()?;
        let interval = current
            .rate()
            .filter(|r| *r > 0.1)
            .map_or(Duration::from_millis(40), |r| Duration::from_secs_f64(1.0 / r));
        Ok(Looped {
            open,
            current,
            stop,
            id_offset: 0,
            pts_offset: Duration::ZERO,
            last: None,
            interval,
            frames_this_round: 0,
        })
    }

    fn rewind(&mut self) -> Result<(), SourceError> {
        if self.frames_this_round == 0 {
            return Err(SourceError::unreadable(
                self.current.describe(),
                "it holds no frame; nothing to loop",
            ));
        }
        if let Some((id, pts)) = self.last {
            self.id_offset = id + 1;
            self.pts_offset = pts + self.interval;
        }
        self.frames_this_round = 0;
        self.current = (self.open)()?;
        Ok(())
    }
}

impl Source for Looped {
    fn next(&mut self) -> Result<Option<Frame>, SourceError> {
        loop {
            match self.current.next() {
                Ok(Some(mut frame)) => {
                    frame.id += self.id_offset;
                    frame.pts += self.pts_offset;
                    if let Some((_, before)) = self.last {
                        let interval = frame.pts.saturating_sub(before);
                        if !interval.is_zero() && interval < Duration::from_secs(1) {
                            self.interval = interval;
                        }
                    }
                    self.last = Some((frame.id, frame.pts));
                    self.frames_this_round += 1;
                    return Ok(Some(frame));
                }
                _ if self.stop.asked() => return Ok(None),
                Ok(None) => self.rewind()?,
                // A picture is passed over; a recording that broke off says `None` next.
                Err(error) => tracing::warn!(%error, "damaged; the loop goes on"),
            }
        }
    }

    fn rate(&self) -> Option<f64> {
        self.current.rate()
    }

    fn describe(&self) -> String {
        format!("{}, looped", self.current.describe())
    }

    fn is_live(&self) -> bool {
        self.current.is_live()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::images::Images;

    #[test]
    fn numbers_and_times_go_on() {
        let dir = tempfile::tempdir().unwrap();
        for i in 0..3 {
            image::RgbImage::new(2, 2).save(dir.path().join(format!("{i}.png"))).unwrap();
        }
        let location = dir.path().to_str().unwrap().to_owned();
        let stop = Stop::new();
        let token = stop.clone();
        let open = move || Ok(Box::new(Images::open(&location, 10.0, token.clone())?) as Box<dyn Source>);
        let mut looped = Looped::new(Box::new(open), stop.clone()).unwrap();
        for i in 0..8_u64 {
            let frame = looped.next().unwrap().unwrap();
            assert_eq!((frame.id, frame.pts.as_millis()), (i, u128::from(i) * 100));
        }
        stop.ask();
        assert!(looped.next().unwrap().is_none());
    }

    #[test]
    fn nothing_to_loop_is_an_error() {
        struct Empty;
        impl Source for Empty {
            fn next(&mut self) -> Result<Option<Frame>, SourceError> {
                Ok(None)
            }
            fn rate(&self) -> Option<f64> {
                None
            }
            fn describe(&self) -> String {
                "empty".into()
            }
            fn is_live(&self) -> bool {
                false
            }
        }
        let mut looped = Looped::new(Box::new(|| Ok(Box::new(Empty) as _)), Stop::new()).unwrap();
        assert!(looped.next().unwrap_err().to_string().contains("no frame"));
    }
}
