//! Tells, while something takes minutes, that it is still going on: in the log and to systemd.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// From one word to the next.
const EVERY: Duration = Duration::from_secs(10);

/// Tells until it is dropped.
#[derive(Debug)]
pub struct Building {
    over: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Building {
    /// Begins to tell of `what`.
    pub fn start(what: String) -> Building {
        Building::telling(what, EVERY, |line| {
            tracing::info!("{line}");
            // The start may take longer than the unit's time-out says.
            let more = NotifyState::ExtendTimeoutUsec(3 * EVERY.as_micros() as u32);
            if let Err(error) = sd_notify::notify(&[NotifyState::Status(line), more]) {
                tracing::debug!(%error, "systemd was not told");
            }
        })
    }

    fn telling(what: String, every: Duration, tell: impl Fn(&str) + Send + 'static) -> Building {
        let (over, end) = channel();
        let thread = std::thread::Builder::new()
            .name("building".to_owned())
            .spawn(move || until_over(&what, every, &end, tell));
        // Without a thread nothing is told, and nothing else is lost.
        Building { over: Some(over), thread: thread.ok() }
    }
}

fn until_over(what: &str, every: Duration, end: &Receiver<()>, tell: impl Fn(&str)) {
    let start = Instant::now();
    tell(what);
    while end.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        tell(&format!("{what}: {} s so far", start.elapsed().as_secs()));
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        drop(self.over.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say that anybody waits for.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn it_tells_again_and_again_until_it_is_over() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&told);
        let building = Building::telling("building".to_owned(), Duration::from_millis(5), move |line| {
            list.lock().unwrap().push(line.to_owned());
        });
        let start = Instant::now();
        while told.lock().unwrap().len() < 3 && start.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(building);
        let lines = told.lock().unwrap().clone();
        assert!(lines.len() >= 3 && lines[0] == "building" && lines[1].contains("s so far"), "{lines:?}");
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(told.lock().unwrap().len(), lines.len(), "it goes on after the end");
    }
}
