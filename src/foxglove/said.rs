//! What the lanes say, on its way to the thread that passes it on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crossbeam_channel::{Sender, TrySendError};

use super::messages::{Map, Size};
use crate::clock::system_time;
use crate::region::{Event, Region};
use crate::sink::{EncodedPicture, EventSink, FileError, PictureLog};

/// Something that is said on a topic of a stream.
pub(super) enum Said {
    /// An encoded picture.
    Picture { size: Size, data: Vec<u8> },
    /// What was found in a frame of this size.
    Verdict { size: Size, regions: Vec<Region>, scores: Option<Map> },
    /// An event.
    Event(Box<Event>),
}

/// What was said when, of which stream.
pub(super) struct Line {
    pub stream: Arc<str>,
    pub time: SystemTime,
    pub said: Said,
}

/// Says something of a stream, and never waits.
pub(super) struct Teller {
    stream: Arc<str>,
    lines: Sender<Line>,
    lost: Arc<AtomicU64>,
    waits_for_key: bool,
}

impl Teller {
    pub(super) fn new(stream: &str, lines: Sender<Line>, lost: Arc<AtomicU64>) -> Teller {
        Teller { stream: stream.into(), lines, lost, waits_for_key: true }
    }

    /// False if there was no room.
    fn say(&self, time: SystemTime, said: Said) -> bool {
        let line = Line { stream: Arc::clone(&self.stream), time, said };
        let sent = self.lines.try_send(line);
        if let Err(TrySendError::Full(_)) = &sent {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        sent.is_ok()
    }

    /// What was found in a frame of this size; `scores`, if they are wanted.
    pub(super) fn verdict(&self, time: SystemTime, size: Size, regions: Vec<Region>, scores: Option<Map>) {
        self.say(time, Said::Verdict { size, regions, scores });
    }
}

impl PictureLog for Teller {
    fn take(&mut self, picture: &EncodedPicture<'_>) {
        if self.waits_for_key && !picture.key {
            return;
        }
        let said = Said::Picture { size: picture.size, data: picture.bytes.to_vec() };
        // One that is missing spoils those after it.
        self.waits_for_key = !self.say(picture.captured.unwrap_or_else(SystemTime::now), said);
    }
}

impl EventSink for Teller {
    fn write(&mut self, event: &Event) -> Result<(), FileError> {
        let captured = event.utc.as_deref().and_then(|utc| utc.parse::<jiff::Timestamp>().ok());
        let time = captured.map_or_else(SystemTime::now, system_time);
        self.say(time, Said::Event(Box::new(event.clone())));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), FileError> {
        Ok(())
    }
}
