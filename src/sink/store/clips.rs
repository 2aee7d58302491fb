//! Clips of events: the last seconds of the encoded video are kept, and go on into a file where an event begins. Nothing is
//! encoded twice.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use gstreamer as gst;

use super::EventStore;
use super::config::EventsConfig;
use super::record::{CLIP, Clip};
use crate::sink::SinkError;
use crate::sink::mp4::Mp4;
use crate::sink::outlet::{AccessUnit, Outlet};

/// Clips of a stream that are written at once.
const AT_ONCE: usize = 8;
/// Pictures that may wait for the disk: ten seconds of a fast camera.
const WAITING: usize = 600;
/// Pictures that are kept, at most: a minute of a fast camera.
const KEPT: usize = 4000;
/// How long the end of a clip may take.
const ENDS_WITHIN: Duration = Duration::from_secs(4);
/// What a clip is called until it is complete.
const PART: &str = "clip.mp4.part";

/// Gives a clip that was cut off its name: fragmented MP4 is valid at every moment.
pub(super) fn complete(folder: &Path) {
    let part = folder.join(PART);
    if part.exists() && !folder.join(CLIP).exists() {
        // If this fails, the clip is missing and nothing else.
        let _ = std::fs::rename(part, folder.join(CLIP));
    }
}

/// Begins and ends clips; cloning shares it.
#[derive(Clone)]
pub struct ClipControl {
    orders: Arc<Mutex<Vec<Order>>>,
    config: EventsConfig,
}

enum Order {
    Begin { id: String, folder: PathBuf, store: EventStore },
    End { id: String },
}

impl ClipControl {
    /// Clips as `config` wants them.
    pub fn new(config: &EventsConfig) -> ClipControl {
        ClipControl { orders: Arc::default(), config: config.clone() }
    }

    fn orders(&self) -> MutexGuard<'_, Vec<Order>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event begins: with the next picture its clip does, in `folder`.
    pub(super) fn begin(&self, id: &str, folder: &Path, store: &EventStore) {
        let order = Order::Begin { id: id.to_owned(), folder: folder.to_owned(), store: store.clone() };
        self.orders().push(order);
    }

    /// An event ends.
    pub(super) fn end(&self, id: &str) {
        self.orders().push(Order::End { id: id.to_owned() });
    }

    /// What keeps the last seconds of a stream's video.
    pub(in crate::sink) fn ring(&self) -> ClipRing {
        ClipRing { control: self.clone(), kept: VecDeque::new(), writing: Vec::new() }
    }
}

/// The last seconds of a stream's encoded video, and the clips that are written of it.
pub(in crate::sink) struct ClipRing {
    control: ClipControl,
    /// Begins with a key picture.
    kept: VecDeque<AccessUnit>,
    writing: Vec<Writing>,
}

/// A clip on its way.
struct Writing {
    id: String,
    queue: Option<Sender<AccessUnit>>,
    thread: Option<JoinHandle<()>>,
    ends: gst::ClockTime,
}

fn time(unit: &AccessUnit) -> gst::ClockTime {
    unit.buffer.pts().unwrap_or_default()
}

fn clock(secs: f64) -> gst::ClockTime {
    gst::ClockTime::from_seconds_f64(secs.max(0.0))
}

impl ClipRing {
    /// Keeps a picture, and lets go of those that no clip begins with any more.
    fn keep(&mut self, unit: &AccessUnit) {
        if self.kept.is_empty() && !unit.key {
            return;
        }
        self.kept.push_back(unit.clone());
        let from = time(unit).saturating_sub(clock(self.control.config.before_secs));
        loop {
            // A clip begins with the last key picture before its time.
            let next = self.kept.iter().skip(1).position(|one| one.key).map(|at| at + 1);
            match next {
                Some(next) if time(&self.kept[next]) <= from || self.kept.len() > KEPT => {
                    drop(self.kept.drain(..next));
                }
                None if self.kept.len() > KEPT => self.kept.clear(),
                _ => return,
            }
        }
    }

    fn follow(&mut self, order: Order, now: gst::ClockTime) {
        match order {
            Order::End { id } => {
                let ends = now + clock(self.control.config.after_secs);
                let own = self.writing.iter_mut().filter(|one| one.id == id);
                own.for_each(|one| one.ends = one.ends.min(ends));
            }
            Order::Begin { id, folder, store } => {
                let begun = match self.writing.len() < AT_ONCE {
                    true => Writing::begin(&id, &folder, &store, &self.kept, &self.control.config),
                    false => Err(format!("{AT_ONCE} clips of this stream are written already")),
                };
                match begun {
                    Ok(writing) => self.writing.push(writing),
                    Err(why) => store.no_clip(&id, why),
                }
            }
        }
    }
}

impl Outlet for ClipRing {
    fn take(&mut self, unit: &AccessUnit) -> Result<(), SinkError> {
        let now = time(unit);
        let orders = std::mem::take(&mut *self.control.orders());
        orders.into_iter().for_each(|order| self.follow(order, now));
        self.keep(unit);
        self.writing.retain_mut(|one| one.take(unit, now));
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.writing.iter_mut().for_each(|one| one.queue = None);
        for mut one in self.writing.drain(..) {
            if one.thread.take().is_some_and(|thread| thread.join().is_err()) {
                tracing::error!("the thread of a clip panicked; this is a bug in farout");
            }
        }
        Ok(())
    }
}

impl Writing {
    fn begin(
        id: &str,
        folder: &Path,
        store: &EventStore,
        kept: &VecDeque<AccessUnit>,
        config: &EventsConfig,
    ) -> Result<Writing, String> {
        let first = kept.front().map(time).ok_or("the video has just begun")?;
        let (queue, units) = bounded(WAITING.max(kept.len() + 1));
        // There is room for all of them.
        kept.iter().for_each(|unit| drop(queue.try_send(unit.clone())));
        let (folder, store, name) = (folder.to_owned(), store.clone(), id.to_owned());
        let body = move || match write(&folder, &units) {
            Ok(clip) => store.clip_done(&name, clip),
            Err(why) => {
                tracing::error!(event = name, why, "a clip failed");
                store.no_clip(&name, why);
            }
        };
        let thread =
            std::thread::Builder::new().name("clip".into()).spawn(body).map_err(|why| why.to_string())?;
        let ends = first + clock(config.most_secs);
        Ok(Writing { id: id.to_owned(), queue: Some(queue), thread: Some(thread), ends })
    }

    /// Takes a picture; false if the clip ends with it.
    fn take(&mut self, unit: &AccessUnit, now: gst::ClockTime) -> bool {
        // A disk that is too slow ends the clip: what is written so far plays.
        let taken = self.queue.as_ref().is_some_and(|queue| queue.try_send(unit.clone()).is_ok());
        taken && now < self.ends
    }
}

/// Writes pictures until there are no more, and gives the file its name.
fn write(folder: &Path, units: &Receiver<AccessUnit>) -> Result<Clip, String> {
    std::fs::create_dir_all(folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let (part, whole) = (folder.join(PART), folder.join(CLIP));
    let mut file = Mp4::prepare(&part, ENDS_WITHIN).map_err(|why| why.to_string())?;
    let mut times: Option<(gst::ClockTime, gst::ClockTime)> = None;
    for unit in units {
        file.take(&unit).map_err(|why| why.to_string())?;
        let now = time(&unit);
        times = Some((times.map_or(now, |(first, _)| first), now));
    }
    file.finish().map_err(|why| why.to_string())?;
    let (first, last) = times.ok_or("no picture came")?;
    std::fs::rename(&part, &whole).map_err(|why| format!("{}: {why}", whole.display()))?;
    let secs = |time: gst::ClockTime| time.nseconds() as f64 / 1e9;
    Ok(Clip { start_secs: secs(first), secs: secs(last - first) })
}

impl EventStore {
    /// The clip of an event is complete.
    fn clip_done(&self, id: &str, clip: Clip) {
        self.0.change(id, |record| record.clip = Some(clip));
        self.0.order(super::Order::Record(id.to_owned()));
    }

    /// An event has no clip.
    fn no_clip(&self, id: &str, why: String) {
        self.0.change(id, |record| record.no_clip = Some(why));
        self.0.order(super::Order::Record(id.to_owned()));
    }
}
