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
use crate::file::also_at;
use crate::sink::SinkError;
use crate::sink::mp4::Mp4;
use crate::sink::outlet::{AccessUnit, Outlet};

/// Clips of a stream that are written at once.
const AT_ONCE: usize = 8;
/// Pictures that may wait for the disk: ten seconds of a fast camera.
const WAITING: usize = 600;
/// Pictures that are kept, at most: a minute of a fast camera.
const KEPT: usize = 4000;
/// Verdicts may be so much older than the newest picture.
const VERDICTS: f64 = 5.0;
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
    Begin { id: String, at: f64, folder: PathBuf, store: EventStore },
    End { id: String, at: f64 },
}

impl ClipControl {
    /// Clips as `config` wants them.
    pub fn new(config: &EventsConfig) -> ClipControl {
        ClipControl { orders: Arc::default(), config: config.clone() }
    }

    fn orders(&self) -> MutexGuard<'_, Vec<Order>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event begins `at` this presentation time, in seconds: with the next picture its clip does, in `folder`.
    pub(super) fn begin(&self, (id, at): (&str, f64), folder: &Path, store: &EventStore) {
        let order = Order::Begin { id: id.to_owned(), at, folder: folder.to_owned(), store: store.clone() };
        self.orders().push(order);
    }

    /// An event ends `at` this presentation time, in seconds.
    pub(super) fn end(&self, id: &str, at: f64) {
        self.orders().push(Order::End { id: id.to_owned(), at });
    }

    /// What keeps the last seconds of a stream's video.
    pub(in crate::sink) fn ring(&self) -> ClipRing {
        ClipRing { control: self.clone(), kept: VecDeque::new(), writing: Vec::new(), ending: Vec::new() }
    }
}

/// The last seconds of a stream's encoded video, and the clips that are written of it.
pub(in crate::sink) struct ClipRing {
    control: ClipControl,
    /// Begins with a key picture.
    kept: VecDeque<AccessUnit>,
    writing: Vec<Writing>,
    /// Clips that have all their pictures and are being finished.
    ending: Vec<JoinHandle<()>>,
}

/// A clip on its way.
struct Writing {
    /// The events that it is of, and whether each goes on.
    events: Vec<(String, bool)>,
    /// Their folders, for the thread that gives it its names.
    folders: Folders,
    /// Presentation times of its first picture, and at which it ends at the latest.
    first: gst::ClockTime,
    latest: gst::ClockTime,
    queue: Option<Sender<AccessUnit>>,
    thread: Option<JoinHandle<()>>,
    ends: gst::ClockTime,
}

/// Events and their folders.
type Folders = Arc<Mutex<Vec<(String, PathBuf)>>>;

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
        let from = time(unit).saturating_sub(clock(self.control.config.before_secs + VERDICTS));
        let start = self.key_before(from);
        drop(self.kept.drain(..start));
        // Whatever times say, it is no store of films: the oldest pictures up to a key picture go.
        if self.kept.len() > KEPT {
            let next = self.kept.iter().skip(1).position(|one| one.key).map_or(0, |at| at + 1);
            drop(self.kept.drain(..next));
        }
        if self.kept.len() > 2 * KEPT {
            self.kept.clear();
        }
    }

    /// The place of the last key picture that is not after `from`; else the first.
    fn key_before(&self, from: gst::ClockTime) -> usize {
        let early = self.kept.iter().take_while(|one| time(one) <= from);
        early.enumerate().filter(|(_, one)| one.key).last().map_or(0, |(at, _)| at)
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::End { id, at } => {
                let ends = clock(at + self.control.config.after_secs);
                self.writing.iter_mut().for_each(|one| one.event_ends(&id, ends));
            }
            Order::Begin { id, at, folder, store } => {
                let until = clock(at + self.control.config.after_secs);
                // An event that begins within a clip is part of it.
                let within = |one: &&mut Writing| one.first <= clock(at) && until <= one.latest;
                if let Some(writing) = self.writing.iter_mut().find(within) {
                    writing.join(&id, folder);
                    store.clip_begins(&id, secs(writing.first));
                    return;
                }
                let start = self.key_before(clock(at - self.control.config.before_secs));
                let kept = self.kept.iter().skip(start).cloned().collect();
                let begun = match self.writing.len() < AT_ONCE {
                    true => Writing::begin(&id, folder, &store, kept, &self.control.config),
                    false => Err(format!("{AT_ONCE} clips of this stream are written already")),
                };
                match begun {
                    Ok(writing) => {
                        store.clip_begins(&id, secs(writing.first));
                        self.writing.push(writing);
                    }
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
        orders.into_iter().for_each(|order| self.follow(order));
        self.keep(unit);
        for one in self.writing.extract_if(.., |one| !one.take(unit, now)) {
            self.ending.extend(one.thread);
        }
        self.ending.retain(|thread| !thread.is_finished());
        Ok(())
    }

    fn finish(&mut self) -> Result<(), SinkError> {
        self.writing.iter_mut().for_each(|one| one.queue = None);
        let writing = self.writing.drain(..).filter_map(|one| one.thread);
        for thread in writing.chain(self.ending.drain(..)) {
            if thread.join().is_err() {
                tracing::error!("the thread of a clip panicked; this is a bug in farout");
            }
        }
        Ok(())
    }
}

impl Writing {
    fn begin(
        id: &str,
        folder: PathBuf,
        store: &EventStore,
        kept: Vec<AccessUnit>,
        config: &EventsConfig,
    ) -> Result<Writing, String> {
        let first = kept.first().map(time).ok_or("the video has just begun")?;
        let (queue, units) = bounded(WAITING.max(kept.len() + 1));
        // There is room for all of them.
        kept.into_iter().for_each(|unit| drop(queue.try_send(unit)));
        let folders: Folders = Arc::new(Mutex::new(vec![(id.to_owned(), folder.clone())]));
        let (store, all) = (store.clone(), Arc::clone(&folders));
        let body = move || {
            let written = write(&folder, &units);
            let all = std::mem::take(&mut *all.lock().unwrap_or_else(PoisonError::into_inner));
            for (name, place) in all {
                match written.clone().and_then(|clip| also_in(&folder, &place).map(|()| clip)) {
                    Ok(clip) => store.clip_done(&name, clip),
                    Err(why) => {
                        tracing::error!(event = name, why, "a clip failed");
                        store.no_clip(&name, why);
                    }
                }
            }
        };
        let thread =
            std::thread::Builder::new().name("clip".into()).spawn(body).map_err(|why| why.to_string())?;
        let latest = first + clock(config.most_secs);
        let events = vec![(id.to_owned(), true)];
        Ok(Writing { events, folders, first, latest, queue: Some(queue), thread: Some(thread), ends: latest })
    }

    /// It is of one more event.
    fn join(&mut self, id: &str, folder: PathBuf) {
        self.events.push((id.to_owned(), true));
        self.folders.lock().unwrap_or_else(PoisonError::into_inner).push((id.to_owned(), folder));
        self.ends = self.latest;
    }

    /// One of its events has ended: with the last of them it ends at `ends`.
    fn event_ends(&mut self, id: &str, ends: gst::ClockTime) {
        let Some(one) = self.events.iter_mut().find(|one| one.0 == id) else { return };
        one.1 = false;
        if self.events.iter().all(|(_, open)| !open) {
            self.ends = ends.min(self.latest);
        }
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
    Ok(Clip { start_secs: secs(first), secs: Some(secs(last - first)) })
}

/// Gives a clip a name in the folder of another event, too.
fn also_in(from: &Path, to: &Path) -> Result<(), String> {
    if from == to {
        return Ok(());
    }
    std::fs::create_dir_all(to).map_err(|why| format!("{}: {why}", to.display()))?;
    also_at(&from.join(CLIP), &to.join(CLIP)).map_err(|why| why.to_string())
}

fn secs(time: gst::ClockTime) -> f64 {
    time.nseconds() as f64 / 1e9
}

impl EventStore {
    /// The clip of an event begins at this presentation time, in seconds.
    fn clip_begins(&self, id: &str, from: f64) {
        self.0.change(id, |record| record.clip_from = Some(from));
        self.0.order(super::Order::Record(id.to_owned()));
    }

    /// The clip of an event is complete.
    fn clip_done(&self, id: &str, clip: Clip) {
        self.0.change(id, |record| (record.clip, record.clip_from) = (Some(clip), None));
        self.0.order(super::Order::Record(id.to_owned()));
    }

    /// An event has no clip.
    fn no_clip(&self, id: &str, why: String) {
        self.0.change(id, |record| record.no_clip = Some(why));
        self.0.order(super::Order::Record(id.to_owned()));
    }
}
