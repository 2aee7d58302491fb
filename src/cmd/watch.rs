//! Beside a live run: tells systemd how it goes, and ends the run when its time is over.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::health::Health;
use crate::stop::Stop;

/// How often it looks.
const TICK: Duration = Duration::from_millis(50);
/// How often systemd is told the figures.
const STATUS_INTERVAL: Duration = Duration::from_secs(5);

/// The watching thread; ends when dropped.
pub struct Watch {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts watching. Readiness is the first frame that left the encoder; `seconds` count from it.
    ///
    /// # Errors
    /// If the system refuses a thread.
    pub fn start(health: Arc<Health>, stop: Stop, seconds: Option<f64>) -> std::io::Result<Watch> {
        let done = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&done);
        let thread = std::thread::Builder::new().name("watch".into()).spawn(move || {
            let mut ready: Option<Instant> = None;
            let mut told = Instant::now();
            let mut stopping = false;
            while !over.load(Ordering::Acquire) {
                if ready.is_none() && health.frames_done() > 0 {
                    ready = Some(Instant::now());
                    tell(&[NotifyState::Ready]);
                    tracing::info!("ready: the first frame has left the encoder");
                }
                if let (Some(since), Some(seconds)) = (ready, seconds)
                    && since.elapsed().as_secs_f64() >= seconds
                {
                    stop.ask();
                }
                if stop.asked() && !stopping {
                    stopping = true;
                    tell(&[NotifyState::Stopping]);
                }
                if told.elapsed() > STATUS_INTERVAL {
                    told = Instant::now();
                    let recent = health.recent();
                    tell(&[NotifyState::Status(&format!(
                        "{:.1} fps, p50 {:.0} ms, p95 {:.0} ms, dropped {}",
                        recent.fps, recent.p50_ms, recent.p95_ms, recent.dropped
                    ))]);
                }
                std::thread::sleep(TICK);
            }
            // A run that drains within a tick, or ends by itself, stops too.
            if !stopping {
                tell(&[NotifyState::Stopping]);
            }
        })?;
        Ok(Watch { done, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say that anybody waits for.
            let _ = thread.join();
        }
    }
}

/// Tells systemd, if it listens.
fn tell(states: &[NotifyState]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd was not told");
    }
}
