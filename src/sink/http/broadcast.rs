//! Those who read a stream over HTTP: each with a queue of its own, and a place that it loses to a new one if it is behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::sink::outlet::KeyWanted;

/// Chunks (about one per picture) that may wait for a reader before it loses some.
const WAITING: usize = 60;
/// Readers of one stream at once.
const PLACES: usize = 32;
/// A reader that has lost nothing for so long is no longer behind.
const RECENT: Duration = Duration::from_secs(10);
/// What waits for a reader when the stream ends is handed out for so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes shared by all readers.
pub(in crate::sink) type Chunk = Arc<[u8]>;

/// One who reads.
struct Reader {
    number: u64,
    send: Sender<Chunk>,
    /// Set if the place goes to another.
    evicted: Arc<AtomicBool>,
    /// Whether it has got anything yet.
    started: bool,
    waits_for_key: bool,
    /// Chunks that it lost since it was last whole for [`RECENT`].
    lost: u64,
    lost_last: Option<Instant>,
}

impl Reader {
    /// Hands over a chunk; who is behind loses it and all up to the next key picture. False if the reader is gone.
    fn offer(&mut self, chunk: &Chunk, key: bool, tables: Option<&Chunk>, now: Instant) -> bool {
        if self.waits_for_key {
            if !key {
                self.lose(now);
                return true;
            }
            if let Some(tables) = tables
                && matches!(self.send.try_send(Arc::clone(tables)), Err(TrySendError::Closed(_)))
            {
                return false;
            }
        }
        match self.send.try_send(Arc::clone(chunk)) {
            Ok(()) => {
                self.waits_for_key = false;
                self.started = true;
            }
            Err(TrySendError::Full(_)) => {
                self.waits_for_key = true;
                self.lose(now);
            }
            Err(TrySendError::Closed(_)) => return false,
        }
        true
    }

    /// One chunk less. What comes before the first key picture is no loss.
    fn lose(&mut self, now: Instant) {
        if self.started {
            self.lost = self.behind(now) + 1;
            self.lost_last = Some(now);
        }
    }

    /// Chunks that it lost lately.
    fn behind(&self, now: Instant) -> u64 {
        let lately = self.lost_last.is_some_and(|at| now.saturating_duration_since(at) < RECENT);
        if lately { self.lost } else { 0 }
    }
}

/// The readers, and the tables that each must see first.
#[derive(Default)]
struct Readers {
    list: Vec<Reader>,
    tables: Option<Chunk>,
    numbers: u64,
    ended: bool,
}

impl Readers {
    fn offer(&mut self, chunk: &Chunk, key: bool, now: Instant) {
        let tables = self.tables.as_ref();
        self.list.retain_mut(|reader| reader.offer(chunk, key, tables, now));
    }

    /// A place for one more: a free one, or that of the reader that is furthest behind. False if all keep up.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.list.len() < PLACES {
            return true;
        }
        let furthest = self.list.iter().enumerate().max_by_key(|(_, reader)| reader.behind(now));
        let Some((at, behind)) = furthest.map(|(at, reader)| (at, reader.behind(now))) else {
            return false;
        };
        if behind == 0 {
            return false;
        }
        let gone = self.list.swap_remove(at);
        tracing::info!(lost = behind, "an HTTP viewer that is behind makes room for another");
        // What waits for it is not sent any more.
        gone.evicted.store(true, Ordering::Release);
        true
    }
}

/// A stream for any number of readers.
#[derive(Clone)]
pub(in crate::sink) struct Broadcast {
    readers: Arc<Mutex<Readers>>,
    pub(in crate::sink) key_wanted: Arc<KeyWanted>,
}

impl Broadcast {
    /// A stream without readers.
    pub(in crate::sink) fn new(key_wanted: Arc<KeyWanted>) -> Broadcast {
        Broadcast { readers: Arc::default(), key_wanted }
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From the next key picture on, everything. `None` if there is no place.
    pub(in crate::sink) fn subscribe(&self) -> Option<Subscription> {
        let (send, chunks) = channel(WAITING);
        let mut readers = self.readers();
        if !readers.make_room(Instant::now()) {
            return None;
        }
        readers.numbers += 1;
        let number = readers.numbers;
        let evicted = Arc::<AtomicBool>::default();
        if !readers.ended {
            readers.list.push(Reader {
                number,
                send,
                evicted: Arc::clone(&evicted),
                started: false,
                waits_for_key: true,
                lost: 0,
                lost_last: None,
            });
        }
        drop(readers);
        self.key_wanted.ask();
        Some(Subscription { chunks, evicted, ended: None, stream: self.clone(), number })
    }

    /// Hands a chunk to all readers; `key` if decoding can start with it.
    pub(in crate::sink) fn offer(&self, chunk: &Chunk, key: bool) {
        self.readers().offer(chunk, key, Instant::now());
    }

    /// What each reader must see first; who reads already sees it before the next key picture.
    pub(in crate::sink) fn begin(&self, tables: Chunk) {
        let mut readers = self.readers();
        if readers.tables.as_ref() != Some(&tables) {
            readers.tables = Some(tables);
            readers.list.iter_mut().for_each(|reader| reader.waits_for_key = true);
        }
    }

    /// How many read.
    pub(in crate::sink) fn viewers(&self) -> usize {
        self.readers().list.len()
    }

    /// No more comes: readers get what waits for them, and then the end.
    pub(in crate::sink) fn end(&self) {
        let mut readers = self.readers();
        readers.ended = true;
        readers.list.clear();
    }

    /// Whether no more comes.
    fn has_ended(&self) -> bool {
        self.readers().ended
    }
}

/// A place among the readers; free again when dropped.
pub(in crate::sink) struct Subscription {
    chunks: Receiver<Chunk>,
    evicted: Arc<AtomicBool>,
    /// When it was first seen that no more comes.
    ended: Option<Instant>,
    stream: Broadcast,
    number: u64,
}

impl Subscription {
    /// What comes next; `None` at the end of the stream, and when the place went to another.
    pub(in crate::sink) async fn next(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.recv().await?;
        let over =
            self.stream.has_ended() && self.ended.get_or_insert_with(Instant::now).elapsed() > PATIENCE;
        (!over && !self.evicted.load(Ordering::Acquire)).then_some(chunk)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stream.readers().list.retain(|reader| reader.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream with all places taken.
    fn full() -> (Broadcast, Vec<Subscription>) {
        let stream = Broadcast::new(Arc::default());
        let readers = (0..PLACES).map(|_| stream.subscribe().unwrap()).collect();
        (stream, readers)
    }

    fn offer(stream: &Broadcast, n: usize) {
        stream.offer(&Chunk::from([n as u8]), n.is_multiple_of(10));
    }

    /// What comes next, without waiting for long.
    fn next(reader: &mut Subscription) -> Option<u8> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let next = async { tokio::time::timeout(Duration::from_secs(5), reader.next()).await };
        runtime.block_on(next).unwrap().map(|chunk| chunk[0])
    }

    #[test]
    fn the_place_of_the_one_furthest_behind_goes_to_a_new_one() {
        let (stream, mut readers) = full();
        // What comes before the first key picture is nobody's loss.
        (1..10).for_each(|n| offer(&stream, n));
        assert!(stream.subscribe().is_none(), "nobody is behind");
        for n in 0..WAITING + 25 {
            offer(&stream, n);
            for (at, reader) in readers.iter_mut().enumerate() {
                // The seventh takes nothing, the ninth nothing for a while: it has lost less.
                if at != 7 && (at != 9 || n > WAITING + 3) {
                    while reader.chunks.try_recv().is_ok() {}
                }
            }
        }
        let place = stream.subscribe().unwrap();
        assert_eq!(stream.viewers(), PLACES);
        assert_eq!(next(&mut readers[7]), None, "it sees the end, and not what waited");
        // Two were behind: there is room for one more, and then for none.
        let other = stream.subscribe().unwrap();
        assert_eq!(next(&mut readers[9]), None);
        assert!(stream.subscribe().is_none());
        drop((place, other));
        assert_eq!(stream.viewers(), PLACES - 2);
        assert!(stream.subscribe().is_some());
    }

    #[test]
    fn who_has_lost_nothing_lately_is_not_behind() {
        let (stream, mut readers) = full();
        for n in 0..WAITING + 5 {
            offer(&stream, n);
            readers.iter_mut().skip(1).for_each(|reader| while reader.chunks.try_recv().is_ok() {});
        }
        let mut list = stream.readers();
        let now = Instant::now();
        assert_eq!(list.list[0].behind(now), 5);
        assert_eq!(list.list[0].behind(now + RECENT), 0);
        assert!(!list.make_room(now + RECENT));
        assert!(list.make_room(now));
    }

    #[test]
    fn the_end_comes_after_what_waits() {
        let stream = Broadcast::new(Arc::default());
        let mut reader = stream.subscribe().unwrap();
        (0..3).for_each(|n| offer(&stream, n));
        stream.end();
        assert_eq!((stream.viewers(), stream.has_ended()), (0, true));
        let got: Vec<u8> = std::iter::from_fn(|| next(&mut reader)).collect();
        assert_eq!(got, [0, 1, 2]);
        assert_eq!(next(&mut stream.subscribe().unwrap()), None, "too late");
    }

    #[test]
    fn new_tables_come_before_the_next_key_picture() {
        let stream = Broadcast::new(Arc::default());
        let mut reader = stream.subscribe().unwrap();
        stream.begin(Chunk::from([101]));
        (0..2).for_each(|n| offer(&stream, n));
        stream.begin(Chunk::from([101]));
        offer(&stream, 2);
        stream.begin(Chunk::from([102]));
        (3..12).for_each(|n| offer(&stream, n));
        stream.end();
        let got: Vec<u8> = std::iter::from_fn(|| next(&mut reader)).collect();
        assert_eq!(got, [101, 0, 1, 2, 102, 10, 11]);
    }
}
