//! Marking what alarms as normal, while it runs: a region that is seen now, or an event.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::bank::{AddError, Bank, Look, Mark, Supplement, Supplements};
use crate::detector::{Looks, Seen};
use crate::file::WriteError;
use crate::live::{Live, Standing};
use crate::region::{Rect, Region};
use crate::sink::EventStore;

/// What was judged longer ago than this is not what somebody points at.
const FRESH: Duration = Duration::from_secs(5);
/// Regions of so many frames, at most, show one thing that was pointed at.
const LOOKS: usize = 4;
/// What was not seen for so long is another thing.
const GAP: Duration = Duration::from_millis(600);
/// In former frames, it is what shares so much of the smaller rectangle.
const SHARE: f64 = 0.5;
/// So many things that were pointed at are remembered.
const POINTED: usize = 32;

/// Marks things as normal, and takes that back.
pub struct Marks {
    live: Live,
    looks: Looks,
    supplements: Supplements,
    events: Option<EventStore>,
    /// What was pointed at last.
    pointed: Mutex<VecDeque<Arc<Supplement>>>,
}

/// Where somebody points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// Column, in pixels of the judged frame.
    pub x: u32,
    /// Row.
    pub y: u32,
    /// Width and height of the very region whose left upper corner this is; without, the smallest one that lies there.
    pub size: Option<(u32, u32)>,
}

impl Spot {
    /// The region of a frame that is meant, if it is there.
    fn of<'a>(&self, seen: &'a Seen) -> Option<&'a (Region, Look)> {
        let exact = |(width, height)| seen.of(&Rect { x: self.x, y: self.y, width, height });
        match self.size {
            None => seen.at(self.x, self.y),
            // A newer verdict has another one: its middle then tells.
            Some((width, height)) => exact((width, height))
                .or_else(|| seen.at(self.x.saturating_add(width / 2), self.y.saturating_add(height / 2))),
        }
    }
}

/// Why something was not marked: nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// There is no such stream.
    #[error("there is no stream {name:?}; there are: {known}")]
    NoStream {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// Nothing alarms there.
    #[error(
        "no region has lain at {x}, {y} of {stream:?} in the last 5 seconds; regions are in \"found\" of /api/v1/streams, or name \
         an event"
    )]
    Nothing {
        /// The stream.
        stream: String,
        /// Column.
        x: u32,
        /// Row.
        y: u32,
    },
    /// It was not pointed at, or that is too long ago.
    #[error("nothing is known of {0} any more: ask why it alarms once more, or name an event")]
    Forgotten(String),
    /// There is no such event.
    #[error("there is no event {0}, or it is gone; /api/v1/events lists them")]
    NoEvent(String),
    /// An event's features are not there.
    #[error("event {id} cannot be marked: {why}")]
    NoFeatures {
        /// The event.
        id: String,
        /// What is missing, and what to do.
        why: String,
    },
    /// Another model has seen it.
    #[error("{id} was seen by another model than judges now, and cannot be compared: {differences}")]
    OtherModel {
        /// What was to be marked.
        id: String,
        /// What differs.
        differences: String,
    },
    /// The method does not search.
    #[error(
        "nothing is searched for in a bank here (score.method): what is marked as normal would change nothing"
    )]
    NoSearch,
    /// It cannot be taken.
    #[error(transparent)]
    Add(#[from] AddError),
}

impl Marks {
    /// Marks what `live` sees in `supplements`, by which it judges.
    pub fn new(live: Live, supplements: Supplements, events: Option<EventStore>) -> Marks {
        Marks { looks: live.looks(), live, supplements, events, pointed: Mutex::default() }
    }

    fn pointed(&self) -> MutexGuard<'_, VecDeque<Arc<Supplement>>> {
        self.pointed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bank that judges now, if there is one.
    pub fn bank(&self) -> Option<Arc<Bank>> {
        self.live.bank()
    }

    /// What holds.
    pub fn supplements(&self) -> &Supplements {
        &self.supplements
    }

    /// What a stream shows at a place, as its last frames show it. It can be marked by its name ([`Marks::mark_seen`]) for a
    /// while.
    ///
    /// # Errors
    /// [`MarkError::NoStream`] and [`MarkError::Nothing`].
    pub fn seen_at(&self, stream: &str, spot: Spot) -> Result<Arc<Supplement>, MarkError> {
        let (seen, region, looks) = self.find(stream, spot)?;
        let utc = format!("{:.3}", seen.utc.unwrap_or_else(Timestamp::now));
        let mark = Mark {
            id: format!("{}-{stream}-{}x{}", crate::clock::compact(&utc), region.rect.x, region.rect.y),
            stream: Some(stream.to_owned()),
            event: false,
            seen: Some(utc),
            marked: None,
            rect: region.rect,
            frame_size: seen.size,
            grid: (seen.grid.rows, seen.grid.cols),
            peak: Some(region.peak).filter(|peak| peak.is_finite()),
            rows: 0,
        };
        let one = Arc::new(Supplement::of(&seen.model, mark, &looks));
        let mut pointed = self.pointed();
        let id = |one: &Supplement| one.marks().first().map(|mark| mark.id.clone());
        // Asked once more, it is the same.
        pointed.retain(|known| id(known) != id(&one));
        pointed.push_back(Arc::clone(&one));
        if pointed.len() > POINTED {
            pointed.pop_front();
        }
        Ok(one)
    }

    /// What an event has shown.
    ///
    /// # Errors
    /// [`MarkError::NoEvent`] and [`MarkError::NoFeatures`].
    pub fn seen_in(&self, id: &str) -> Result<Supplement, MarkError> {
        let events = self.events.as_ref().filter(|events| events.get(id).is_some());
        let events = events.ok_or_else(|| MarkError::NoEvent(id.to_owned()))?;
        let refused = |why: String| MarkError::NoFeatures { id: id.to_owned(), why };
        let Some(path) = events.file(id, crate::sink::FEATURES) else {
            let why = match events.folder() {
                None => {
                    "its features are not kept: name a folder in events.folder, or point at the region while it is seen"
                }
                Some(_) => "its features are not kept, or not yet",
            };
            return Err(refused(why.to_owned()));
        };
        let one = Supplement::read_unnamed(&path).map_err(|why| refused(why.to_string()))?;
        // It had no name when it was written.
        Ok(one.named(id))
    }

    /// Marks what a stream shows at a place as normal.
    ///
    /// # Errors
    /// [`MarkError`].
    pub fn mark_spot(&self, stream: &str, spot: Spot) -> Result<Mark, MarkError> {
        let one = self.seen_at(stream, spot)?;
        self.add((*one).clone())
    }

    /// Marks as normal what [`Marks::seen_at`] has called so.
    ///
    /// # Errors
    /// [`MarkError`].
    pub fn mark_seen(&self, id: &str) -> Result<Mark, MarkError> {
        let known = self.pointed().iter().find(|one| one.marks().iter().any(|mark| mark.id == id)).cloned();
        self.add((*known.ok_or_else(|| MarkError::Forgotten(id.to_owned()))?).clone())
    }

    /// Marks what an event has shown as normal.
    ///
    /// # Errors
    /// [`MarkError`].
    pub fn mark_event(&self, id: &str) -> Result<Mark, MarkError> {
        self.add(self.seen_in(id)?)
    }

    fn add(&self, one: Supplement) -> Result<Mark, MarkError> {
        let searches = self.live.detection().and_then(|lane| lane.facts());
        if searches.is_some_and(|facts| facts.search.is_none()) {
            return Err(MarkError::NoSearch);
        }
        let one = one.marked_at(&format!("{:.3}", Timestamp::now()));
        let mark = one.marks().first().cloned().ok_or(AddError::Empty)?;
        let differences = self.bank().map(|bank| one.model().differences(&bank.metadata().model));
        if let Some(differences) = differences.filter(|differences| !differences.is_empty()) {
            return Err(MarkError::OtherModel { id: mark.id, differences: differences.join("; ") });
        }
        self.supplements.add(one)?;
        self.tell();
        tracing::info!(mark = mark.id, features = mark.rows, "marked as normal");
        Ok(mark)
    }

    /// A JPEG of something that was marked, pointed at, or is an event.
    pub fn picture(&self, id: &str) -> Option<Vec<u8>> {
        let of = |one: &Supplement| one.picture(id).map(<[u8]>::to_vec);
        let marked = self.supplements.all().1.iter().find_map(|one| of(one));
        let pointed = || self.pointed().iter().find_map(|one| of(one));
        marked.or_else(pointed).or_else(|| of(&self.seen_in(id).ok()?))
    }

    /// Says which files of the supplement do not count.
    fn tell(&self) {
        let damaged = Some(self.supplements.damaged().join("; ")).filter(|why| !why.is_empty());
        self.live.detection().iter().for_each(|lane| lane.health.problem("supplement", damaged.clone()));
    }

    /// Takes a mark back. False if there is none of this name.
    ///
    /// # Errors
    /// If the disk does not forget it.
    pub fn unmark(&self, id: &str) -> Result<bool, WriteError> {
        let known = self.supplements.remove(id)?;
        self.tell();
        if known {
            tracing::info!(mark = id, "no longer marked as normal");
        }
        Ok(known)
    }

    /// The thing at this place of a stream: the newest frame that shows it, its region there, and what it looks like in that
    /// and in former frames.
    ///
    /// # Errors
    /// [`MarkError::NoStream`] and [`MarkError::Nothing`].
    fn find(&self, stream: &str, spot: Spot) -> Result<(Arc<Seen>, Region, Vec<Look>), MarkError> {
        let streams = self.live.streams();
        let standing = streams.iter().rev().find(|one| one.called() == stream).ok_or_else(|| {
            let known: Vec<_> = streams.iter().map(Standing::called).collect();
            MarkError::NoStream { name: stream.to_owned(), known: known.join(", ") }
        })?;
        let frames = self.looks.last(standing.id);
        let nothing = || MarkError::Nothing { stream: stream.to_owned(), x: spot.x, y: spot.y };
        let shows = |seen: &Arc<Seen>| seen.judged.elapsed() < FRESH && spot.of(seen).is_some();
        let at = frames.iter().position(shows).ok_or_else(nothing)?;
        let newest = Arc::clone(&frames[at]);
        let (region, look) = spot.of(&newest).cloned().ok_or_else(nothing)?;
        let mut looks = vec![look];
        let (mut rect, mut captured) = (region.rect, newest.captured);
        for seen in frames[at + 1..].iter().filter(|seen| seen.model == newest.model) {
            let alike = |one: &&(Region, Look)| one.0.rect.share_of_smaller(&rect) >= SHARE;
            if captured.saturating_duration_since(seen.captured) > GAP {
                break;
            }
            let Some((before, look)) = seen.regions.iter().take(seen.above).find(alike) else { continue };
            (rect, captured) = (before.rect, seen.captured);
            looks.push(look.clone());
            if looks.len() == LOOKS {
                break;
            }
        }
        Ok((newest, region, looks))
    }
}
