//! Events that can be looked at: the last ones in memory and, where a folder is given, each with its pictures and its clip
//! on disk. A thread of its own writes; whoever finds an event waits for no disk.

#[cfg(feature = "media")]
pub mod clips;
pub mod config;
pub mod record;
mod retention;
mod writer;

use std::collections::VecDeque;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use jiff::Timestamp;

use super::StateHook;
use super::events::{EventPicture, EventSink, MakeFile};
use super::folder::FileError;
use crate::clock;
use crate::file::{WriteError, write_whole};
use crate::region::{Event, EventKind};
#[cfg(feature = "media")]
use clips::ClipControl;
use config::EventsConfig;
use record::{CLIP, FEATURES, FILE, MARKED, Record, SNAPSHOT, is_id};

/// Events that may wait for the disk.
const WAITING: usize = 64;
/// Of them so many with pictures.
const PICTURES: u64 = 4;
/// And so many with files.
const FILES: u64 = 16;
/// How long the last ones may take at the end.
const ENDS_WITHIN: Duration = Duration::from_secs(4);
/// Without a folder so many are remembered.
const REMEMBERED: usize = 500;
/// What the store is called in states.
const PART: &str = "event store";

/// Events that can be looked at; cloning shares them.
#[derive(Clone)]
pub struct EventStore(Arc<Inner>);

struct Inner {
    config: EventsConfig,
    /// Oldest first.
    records: Mutex<VecDeque<Record>>,
    orders: Option<Sender<Order>>,
    lost: AtomicU64,
    /// Pictures that wait for the disk.
    pictures: AtomicU64,
    /// Files that wait for it.
    files: AtomicU64,
    /// Whether there is room for clips; the writing thread looks.
    room: AtomicBool,
    /// How many began and ended.
    begun: AtomicU64,
    ended: AtomicU64,
    state: StateHook,
}

/// What goes to the thread that writes.
enum Order {
    /// The event's folder, and the pictures in it.
    Pictures(String, Arc<EventPicture>),
    /// A file of the event.
    File(String, &'static str, MakeFile),
    /// Its record has changed.
    Record(String),
    /// All before it is written: say so.
    Flush(Sender<()>),
}

impl EventStore {
    /// Finds the events of former runs, and starts to write; `state` is told how that goes.
    ///
    /// # Errors
    /// [`FileError::Folder`] if the folder cannot be made or written to, or the system refuses a thread.
    pub fn open(config: &EventsConfig, state: StateHook) -> Result<EventStore, FileError> {
        let mut records = VecDeque::new();
        let mut orders = None;
        let mut work = None;
        if let Some(folder) = &config.folder {
            let failed = |source| FileError::Folder { path: folder.clone(), source };
            std::fs::create_dir_all(folder).map_err(failed)?;
            tempfile::Builder::new().prefix(".farout-").tempfile_in(folder).map_err(failed)?;
            records = known(folder).map_err(failed)?;
            let (give, take) = bounded(WAITING);
            orders = Some(give);
            work = Some((folder.clone(), take));
        }
        let inner = Arc::new(Inner {
            config: config.clone(),
            records: Mutex::new(records),
            orders,
            lost: AtomicU64::new(0),
            pictures: AtomicU64::new(0),
            files: AtomicU64::new(0),
            room: AtomicBool::new(true),
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            state,
        });
        if let Some((folder, orders)) = work {
            // It ends with the last store: a disk that hangs must not hold up the end.
            let weak = Arc::downgrade(&inner);
            let body = move || writer::work(&weak, &orders);
            let thread = std::thread::Builder::new().name("event-store".into()).spawn(body);
            thread.map_err(|source| FileError::Folder { path: folder, source })?;
        }
        Ok(EventStore(inner))
    }

    /// Takes the events of a stream; its clips are made by `clips`.
    #[cfg(feature = "media")]
    pub fn sink(&self, stream: &str, clips: Option<ClipControl>) -> Box<dyn EventSink> {
        Box::new(Keeper {
            store: self.clone(),
            stream: stream.to_owned(),
            open: Vec::new(),
            ended: None,
            clips,
        })
    }

    /// Takes the events of a stream.
    #[cfg(not(feature = "media"))]
    pub fn sink(&self, stream: &str) -> Box<dyn EventSink> {
        Box::new(Keeper { store: self.clone(), stream: stream.to_owned(), open: Vec::new(), ended: None })
    }

    /// Where clips and pictures are, if they are kept.
    pub fn folder(&self) -> Option<&Path> {
        self.0.config.folder.as_deref()
    }

    /// What holds for it.
    pub fn config(&self) -> &EventsConfig {
        &self.0.config
    }

    /// Up to `most` events, newest first, that began before the one called `before`.
    pub fn list(&self, before: Option<&str>, most: usize) -> Vec<Record> {
        let records = self.0.records();
        let newest = records.iter().rev();
        match before {
            None => newest.take(most).cloned().collect(),
            Some(id) => newest.skip_while(|one| one.id != id).skip(1).take(most).cloned().collect(),
        }
    }

    /// An event.
    pub fn get(&self, id: &str) -> Option<Record> {
        self.0.records().iter().find(|one| one.id == id).cloned()
    }

    /// How many began and ended since the start, and how many were lost to a slow disk.
    pub fn counts(&self) -> [u64; 3] {
        [&self.0.begun, &self.0.ended, &self.0.lost].map(|count| count.load(Ordering::Relaxed))
    }

    /// Waits until what there is has been written, but not for ever.
    pub fn finish(&self) {
        let Some(orders) = &self.0.orders else { return };
        let (done, ended) = bounded(1);
        let until = Instant::now() + ENDS_WITHIN;
        let sent = orders.send_deadline(Order::Flush(done), until).is_ok();
        if !(sent && ended.recv_deadline(until).is_ok()) {
            tracing::error!("the disk did not take the last of the events in time");
        }
    }

    /// A file of an event, if it is there.
    pub fn file(&self, id: &str, name: &str) -> Option<PathBuf> {
        let known = [SNAPSHOT, MARKED, CLIP, FEATURES].contains(&name) && is_id(id) && self.get(id).is_some();
        let path = self.folder()?.join(id).join(name);
        (known && path.is_file()).then_some(path)
    }

    /// Keeps an event however old it is, or does not any more. Nothing if there is none.
    ///
    /// # Errors
    /// If that could not be written down.
    pub fn protect(&self, id: &str, protected: bool) -> Result<Option<Record>, WriteError> {
        let Some(record) = self.0.change(id, |record| record.protected = protected) else { return Ok(None) };
        self.0.write(&record)?;
        Ok(Some(record))
    }

    /// Forgets an event, and removes what is kept of it. False if there is none.
    ///
    /// # Errors
    /// If its files could not be removed.
    pub fn remove(&self, id: &str) -> Result<bool, WriteError> {
        self.0.remove_if(id, |_| true)
    }
}

impl Inner {
    fn records(&self) -> MutexGuard<'_, VecDeque<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a record. What it then is; nothing if it is gone.
    fn change(&self, id: &str, change: impl FnOnce(&mut Record)) -> Option<Record> {
        let mut records = self.records();
        let record = records.iter_mut().rev().find(|one| one.id == id)?;
        change(record);
        Some(record.clone())
    }

    /// Writes a record down, if there is a folder.
    fn write(&self, record: &Record) -> Result<(), WriteError> {
        let Some(folder) = &self.config.folder else { return Ok(()) };
        let path = folder.join(&record.id).join(FILE);
        let text = serde_json::to_vec_pretty(record).unwrap_or_default();
        write_whole(&path, |out| out.write_all(&text))
    }

    /// Forgets an event if `may` is true of it, and removes its files. False if that is not so.
    fn remove_if(&self, id: &str, may: impl FnOnce(&Record) -> bool) -> Result<bool, WriteError> {
        // First the record: whoever protects it now finds that it is gone.
        let taken = {
            let mut records = self.records();
            let at = records.iter().position(|one| one.id == id).filter(|at| may(&records[*at]));
            at.and_then(|at| Some((at, records.remove(at)?)))
        };
        let (Some((at, record)), Some(folder)) = (taken.clone(), &self.config.folder) else {
            return Ok(taken.is_some());
        };
        let path = folder.join(id);
        match std::fs::remove_dir_all(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                let mut records = self.records();
                let at = at.min(records.len());
                records.insert(at, record);
                Err(WriteError { path, source })
            }
            _ => Ok(true),
        }
    }

    fn order(&self, order: Order) {
        let Some(orders) = &self.orders else { return };
        if let Err(refused) = orders.try_send(order) {
            match refused.into_inner() {
                Order::Pictures(..) => drop(self.pictures.fetch_sub(1, Ordering::Relaxed)),
                Order::File(..) => drop(self.files.fetch_sub(1, Ordering::Relaxed)),
                Order::Record(_) | Order::Flush(_) => {}
            }
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            (self.state)(
                PART,
                Some(format!("the disk is too slow: {lost} times something of an event was not written")),
            );
        }
    }
}

/// The events in a folder, oldest first. What a run that was cut off has left is completed.
fn known(folder: &Path) -> std::io::Result<VecDeque<Record>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        // Valid at every moment, it only lacks its name.
        #[cfg(feature = "media")]
        clips::complete(&path);
        found.extend(Record::read(&path));
    }
    // The name begins with the time.
    found.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(found.into())
}

/// Takes the events of a stream.
struct Keeper {
    store: EventStore,
    stream: String,
    /// Numbers and names of the events that go on.
    open: Vec<(u64, String)>,
    /// Those of the one that ended last.
    ended: Option<(u64, String)>,
    #[cfg(feature = "media")]
    clips: Option<ClipControl>,
}

impl EventSink for Keeper {
    fn write(&mut self, event: &Event) -> Result<(), FileError> {
        let inner = &self.store.0;
        let utc = event.utc.clone().unwrap_or_else(|| format!("{:.3}", Timestamp::now()));
        match event.kind {
            EventKind::Start => {
                inner.begun.fetch_add(1, Ordering::Relaxed);
                let id = format!("{}-{}-{}", clock::compact(&utc), self.stream, event.event);
                let mut records = inner.records();
                records.push_back(Record::new(id.clone(), event, utc));
                if inner.config.folder.is_none() && records.len() > REMEMBERED {
                    records.pop_front();
                }
                drop(records);
                self.open.push((event.event, id));
            }
            EventKind::End => {
                inner.ended.fetch_add(1, Ordering::Relaxed);
                let Some(at) = self.open.iter().position(|one| one.0 == event.event) else { return Ok(()) };
                let (_, id) = self.open.swap_remove(at);
                inner.change(&id, |record| record.end(event, utc));
                inner.order(Order::Record(id.clone()));
                self.ended = Some((event.event, id.clone()));
                #[cfg(feature = "media")]
                self.clips.iter().for_each(|clips| clips.end(&id, event.time_secs));
            }
        }
        Ok(())
    }

    fn wants_pictures(&self) -> bool {
        self.store.folder().is_some()
    }

    fn picture(&mut self, event: &Event, picture: &Arc<EventPicture>) {
        let Some((_, id)) = self.open.iter().find(|one| one.0 == event.event) else { return };
        let inner = &self.store.0;
        // Few: each is as large as two frames.
        match inner.pictures.load(Ordering::Relaxed) < PICTURES {
            true => {
                inner.pictures.fetch_add(1, Ordering::Relaxed);
                inner.order(Order::Pictures(id.clone(), Arc::clone(picture)));
            }
            false => inner.order(Order::Record(id.clone())),
        }
        #[cfg(feature = "media")]
        if let (Some(clips), Some(folder)) = (&self.clips, self.store.folder()) {
            match inner.room.load(Ordering::Relaxed) {
                true => clips.begin((id, event.time_secs), &folder.join(id), &self.store),
                false => {
                    let why = format!("less than {} MiB of the disk are free", inner.config.free_mib);
                    inner.change(id, |record| record.no_clip = Some(why));
                }
            }
        }
    }

    fn wants_files(&self) -> bool {
        self.store.folder().is_some()
    }

    fn attach(&mut self, event: &Event, name: &'static str, make: &MakeFile) {
        let known = self.open.iter().chain(&self.ended).find(|one| one.0 == event.event);
        if let Some((_, id)) = known {
            let inner = &self.store.0;
            // Few, as pictures: each may be some megabytes.
            if inner.files.fetch_add(1, Ordering::Relaxed) < FILES {
                inner.order(Order::File(id.clone(), name, Arc::clone(make)));
            } else {
                inner.files.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn finish(&mut self) -> Result<(), FileError> {
        Ok(())
    }
}
