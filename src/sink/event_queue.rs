//! Events on their way to the log, behind a queue of their own: a slow or full disk holds up nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::StateHook;
use super::events::{EventLog, EventSink};
use super::folder::FileError;
use crate::region::Event;

/// Events that may wait for the disk.
const WAITING: usize = 256;
/// How long the last ones may take at the end.
const ENDS_WITHIN: Duration = Duration::from_secs(4);
/// What the log is called in states.
const PART: &str = "events";

/// What goes to the thread that writes.
enum Order {
    Write(Event),
    /// Make it safe, and say so.
    Finish(Sender<Result<(), FileError>>),
}

/// Hands events to a thread that writes them; cloning shares it. An event that cannot be written is lost; the state
/// tells why and how many, until one is written again.
#[derive(Clone)]
pub struct EventQueue {
    give: Sender<Order>,
    lost: Arc<AtomicU64>,
    /// Something was lost since the last event that was written.
    failed: Arc<AtomicBool>,
    /// The disk did not answer in time at an end: nobody waits for it once more.
    hangs: Arc<AtomicBool>,
    state: StateHook,
    users: Arc<()>,
}

impl EventQueue {
    /// Starts writing to `log`; `state` is told how it goes.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(log: EventLog, state: StateHook) -> std::io::Result<EventQueue> {
        let (give, orders) = bounded(WAITING);
        let lost = Arc::<AtomicU64>::default();
        let failed = Arc::<AtomicBool>::default();
        let (told, count, failing) = (Arc::clone(&state), Arc::clone(&lost), Arc::clone(&failed));
        // It ends by itself with the last queue: a disk that hangs must not hold up the end.
        std::thread::Builder::new()
            .name("events".into())
            .spawn(move || work(log, &orders, (&count, &failing), &told))?;
        Ok(EventQueue { give, lost, failed, hangs: Arc::default(), state, users: Arc::default() })
    }
}

impl EventQueue {
    /// How many share it.
    pub fn users(&self) -> usize {
        Arc::strong_count(&self.users)
    }
}

fn work(
    mut log: EventLog,
    orders: &Receiver<Order>,
    (lost, failed): (&AtomicU64, &AtomicBool),
    state: &StateHook,
) {
    for order in orders {
        match order {
            Order::Write(event) => match log.write(&event) {
                Ok(()) if failed.swap(false, Ordering::Relaxed) => {
                    tracing::warn!(
                        lost = lost.load(Ordering::Relaxed),
                        "events are written again, some are missing"
                    );
                    state(PART, None);
                }
                Ok(()) => {}
                Err(error) => {
                    let count = lost.fetch_add(1, Ordering::Relaxed) + 1;
                    if !failed.swap(true, Ordering::Relaxed) {
                        tracing::error!(%error, "events are not written");
                    }
                    state(PART, Some(format!("{error}; {count} are lost")));
                }
            },
            Order::Finish(done) => {
                // Nobody may wait for it any more.
                let _ = done.send(log.finish());
            }
        }
    }
}

impl EventSink for EventQueue {
    /// Never waits; what finds the queue full is lost, and counted.
    fn write(&mut self, event: &Event) -> Result<(), FileError> {
        if self.give.try_send(Order::Write(event.clone())).is_err() {
            let count = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            self.failed.store(true, Ordering::Relaxed);
            (self.state)(PART, Some(format!("the disk is too slow for them; {count} are lost")));
        }
        Ok(())
    }

    /// Waits until all is written, but not for ever.
    fn finish(&mut self) -> Result<(), FileError> {
        if self.hangs.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (done, ended) = bounded(1);
        let until = Instant::now() + ENDS_WITHIN;
        let sent = self.give.send_deadline(Order::Finish(done), until);
        let finished = sent.ok().and_then(|()| ended.recv_deadline(until).ok());
        finished.unwrap_or_else(|| {
            self.hangs.store(true, Ordering::Relaxed);
            tracing::error!("the disk did not take the last events in time");
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use super::*;
    use crate::sink::events::tests::event as made_up;

    fn event(number: u64) -> Event {
        Event { stream: Some("front".into()), ..made_up(number) }
    }

    fn states() -> (Arc<Mutex<Vec<Option<String>>>>, StateHook) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&seen);
        (
            seen,
            Arc::new(move |part, why| {
                assert_eq!(part, PART);
                told.lock().unwrap().push(why);
            }),
        )
    }

    #[test]
    fn what_is_handed_over_is_written_in_order_by_all_who_share_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let (seen, state) = states();
        let mut one = EventQueue::start(EventLog::append(&path).unwrap(), state).unwrap();
        let mut other = one.clone();
        for number in 0..50 {
            let queue = if number % 2 == 0 { &mut one } else { &mut other };
            queue.write(&event(number)).unwrap();
        }
        one.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let numbers: Vec<u64> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .inspect(|event| assert_eq!(event["stream"], "front"))
            .map(|event| event["event"].as_u64().unwrap())
            .collect();
        assert_eq!(numbers, (0..50).collect::<Vec<_>>());
        assert!(seen.lock().unwrap().is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_full_disk_is_a_state_and_no_error_of_the_frame() {
        let (seen, state) = states();
        let log = EventLog::append(Path::new("/dev/full")).unwrap();
        let mut queue = EventQueue::start(log, state).unwrap();
        for number in 1..=3 {
            queue.write(&event(number)).unwrap();
        }
        queue.finish().unwrap();
        let seen = seen.lock().unwrap();
        let last = seen.last().unwrap().as_ref().unwrap();
        assert!(last.contains("/dev/full") && last.contains("3 are lost"), "{seen:?}");
    }
}
