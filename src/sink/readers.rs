//! Those who read a stream over HTTP: each with a queue of its own, and a place that it loses to a new one if it is behind.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::outlet::KeyWanted;

/// Chunks (about one per picture) that may wait for a reader before it loses some.
const WAITING: usize = 60;
/// Readers of one stream at once.
const PLACES: usize = 32;
/// A reader that has lost nothing for so long is no longer behind.
const RECENT: Duration = Duration::from_secs(10);

/// Bytes shared by all readers.
pub(super) type Chunk = Arc<[u8]>;

/// One who reads.
struct Reader {
    number: u64,
    send: Sender<Chunk>,
    /// Shut down if the place goes to another.
    connection: Arc<TcpStream>,
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
                && matches!(self.send.try_send(Arc::clone(tables)), Err(TrySendError::Disconnected(_)))
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
            Err(TrySendError::Disconnected(_)) => return false,
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
        // Its thread may wait for it to take something.
        let _ = gone.connection.shutdown(Shutdown::Both);
        true
    }
}

/// A stream for any number of readers.
#[derive(Clone)]
pub(super) struct TransportStream {
    readers: Arc<Mutex<Readers>>,
    pub(super) key_wanted: Arc<KeyWanted>,
}

impl TransportStream {
    /// A stream without readers.
    pub(super) fn new(key_wanted: Arc<KeyWanted>) -> TransportStream {
        TransportStream { readers: Arc::default(), key_wanted }
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From the next key picture on, everything, for the client at `connection`. `None` if there is no place.
    pub(super) fn subscribe(&self, connection: &Arc<TcpStream>) -> Option<Subscription> {
        let (send, chunks) = bounded(WAITING);
        let mut readers = self.readers();
        if !readers.make_room(Instant::now()) {
            return None;
        }
        readers.numbers += 1;
        let number = readers.numbers;
        if !readers.ended {
            readers.list.push(Reader {
                number,
                send,
                connection: Arc::clone(connection),
                started: false,
                waits_for_key: true,
                lost: 0,
                lost_last: None,
            });
        }
        drop(readers);
        self.key_wanted.ask();
        Some(Subscription { chunks, stream: self.clone(), number })
    }

    /// Hands a chunk to all readers; `key` if decoding can start with it.
    pub(super) fn offer(&self, chunk: &Chunk, key: bool, tables: impl FnOnce() -> Option<Chunk>) {
        let mut readers = self.readers();
        if readers.tables.is_none() {
            readers.tables = tables();
        }
        readers.offer(chunk, key, Instant::now());
    }

    /// How many read.
    pub(super) fn viewers(&self) -> usize {
        self.readers().list.len()
    }

    /// No more comes: readers get what waits for them, and then the end.
    pub(super) fn end(&self) {
        let mut readers = self.readers();
        readers.ended = true;
        readers.list.clear();
    }

    /// Whether no more comes.
    pub(super) fn has_ended(&self) -> bool {
        self.readers().ended
    }
}

/// A place among the readers; free again when dropped.
pub(super) struct Subscription {
    /// What comes; disconnected at the end of the stream, and when the place went to another.
    pub(super) chunks: Receiver<Chunk>,
    stream: TransportStream,
    number: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stream.readers().list.retain(|reader| reader.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    /// Two ends of a connection.
    fn pair() -> (Arc<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Arc::new(near), listener.accept().unwrap().0)
    }

    /// A stream with all places taken, each by a client whose far end is kept.
    fn full() -> (TransportStream, Vec<(Subscription, TcpStream)>) {
        let stream = TransportStream::new(Arc::default());
        let readers = (0..PLACES)
            .map(|_| {
                let (near, far) = pair();
                (stream.subscribe(&near).unwrap(), far)
            })
            .collect();
        (stream, readers)
    }

    fn offer(stream: &TransportStream, n: usize) {
        stream.offer(&Chunk::from([n as u8]), n.is_multiple_of(10), || None);
    }

    #[test]
    fn the_place_of_the_one_furthest_behind_goes_to_a_new_one() {
        let (stream, readers) = full();
        let (near, _far) = pair();
        // What comes before the first key picture is nobody's loss.
        (1..10).for_each(|n| offer(&stream, n));
        assert!(stream.subscribe(&near).is_none(), "nobody is behind");
        for n in 0..WAITING + 25 {
            offer(&stream, n);
            for (at, (reader, _)) in readers.iter().enumerate() {
                // The seventh takes nothing, the ninth nothing for a while: it has lost less.
                if at != 7 && (at != 9 || n > WAITING + 3) {
                    while reader.chunks.try_recv().is_ok() {}
                }
            }
        }
        let place = stream.subscribe(&near).unwrap();
        assert_eq!(stream.viewers(), PLACES);
        let mut gone = readers[7].1.try_clone().unwrap();
        assert_eq!(gone.read(&mut [0]).unwrap(), 0, "it sees the end");
        // Two were behind: there is room for one more, and then for none.
        let (second, _far) = pair();
        let other = stream.subscribe(&second).unwrap();
        assert_eq!(readers[9].1.try_clone().unwrap().read(&mut [0]).unwrap(), 0);
        let (third, _far) = pair();
        assert!(stream.subscribe(&third).is_none());
        drop((place, other));
        assert_eq!(stream.viewers(), PLACES - 2);
        assert!(stream.subscribe(&third).is_some());
    }

    #[test]
    fn who_has_lost_nothing_lately_is_not_behind() {
        let (stream, readers) = full();
        for n in 0..WAITING + 5 {
            offer(&stream, n);
            readers.iter().skip(1).for_each(|(reader, _)| while reader.chunks.try_recv().is_ok() {});
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
        let stream = TransportStream::new(Arc::default());
        let (near, _far) = pair();
        let reader = stream.subscribe(&near).unwrap();
        (0..3).for_each(|n| offer(&stream, n));
        stream.end();
        assert_eq!((stream.viewers(), stream.has_ended()), (0, true));
        let got: Vec<u8> = reader.chunks.iter().map(|chunk| chunk[0]).collect();
        assert_eq!(got, [0, 1, 2]);
        assert!(stream.subscribe(&near).unwrap().chunks.recv().is_err(), "too late");
    }
}
