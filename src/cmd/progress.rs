//! Progress of long work on standard error: a bar on a terminal, lines in a log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

use crate::health::Health;

/// How often a log is told.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// A bar with rate and time left (a counter if the length is unknown). Where standard error is no terminal, a line in the log
/// every half minute instead.
pub fn bar(length: Option<u64>, unit: &'static str) -> ProgressBar {
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = match length {
        Some(_) => "{msg} {wide_bar} {pos}/{len} {unit}, {per_sec}, {eta} left",
        None => "{msg} {spinner} {pos} {unit}, {per_sec}, {elapsed}",
    };
    let style = ProgressStyle::with_template(&template.replace("{unit}", unit))
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    if bar.is_hidden() {
        log_while_it_lasts(&bar, unit, LOG_INTERVAL, |line| tracing::info!("{line}"));
    } else {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar
}

/// Says every `interval` how far `bar` is, until it is finished or gone.
fn log_while_it_lasts(
    bar: &ProgressBar,
    unit: &'static str,
    interval: Duration,
    say: impl Fn(String) + Send + 'static,
) {
    let followed = bar.downgrade();
    let follow = move || {
        let mut told = Instant::now();
        while let Some(bar) = followed.upgrade().filter(|bar| !bar.is_finished()) {
            if told.elapsed() >= interval {
                told = Instant::now();
                say(line(&bar.message(), (bar.position(), bar.length()), unit, bar.elapsed()));
            }
            drop(bar);
            std::thread::sleep(interval.min(Duration::from_millis(500)));
        }
    };
    // Without a thread nobody is told, and nothing else is lost.
    let _ = std::thread::Builder::new().name("progress".into()).spawn(follow);
}

/// How far work is after `elapsed`: of `length` if that is known.
fn line(message: &str, (position, length): (u64, Option<u64>), unit: &str, elapsed: Duration) -> String {
    let what = if message.is_empty() { "progress" } else { message };
    let unit = if unit.is_empty() { "steps" } else { unit };
    let running = elapsed.as_secs();
    match (position, length.filter(|length| *length > 0)) {
        (0, None) => format!("{what}: running for {running} s"),
        (_, None) => format!("{what}: {position} {unit} in {running} s"),
        (0, Some(length)) => format!("{what}: 0 of {length} {unit} in {running} s"),
        (_, Some(length)) => {
            let percent = 100.0 * position as f64 / length as f64;
            let rate = position as f64 / elapsed.as_secs_f64().max(1e-3);
            let left = length.saturating_sub(position) as f64 / rate;
            format!(
                "{what}: {position} of {length} {unit} ({percent:.0} %), {rate:.1} per second, {} left",
                HumanDuration(Duration::from_secs_f64(left.clamp(0.0, 1e9)))
            )
        }
    }
}

/// A bar that follows the frames of a flow.
pub struct Progress {
    bar: ProgressBar,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    /// Follows `health` towards `frames`.
    pub fn of_frames(frames: Option<u64>, health: &Arc<Health>) -> Progress {
        let bar = bar(frames, "frames");
        let done = Arc::new(AtomicBool::new(false));
        let (over, shown, health) = (Arc::clone(&done), bar.clone(), Arc::clone(health));
        let follow = move || {
            while !over.load(Ordering::Acquire) {
                shown.set_position(health.frames_done());
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        // Without a thread there is no progress to see, and nothing else is lost.
        let thread = std::thread::Builder::new().name("progress".into()).spawn(follow).ok();
        Progress { bar, done, thread }
    }

    /// Removes the bar.
    pub fn finish(mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_told_how_far_it_is_and_no_more_once_it_is_done() {
        let (send, lines) = std::sync::mpsc::channel();
        let bar = ProgressBar::hidden();
        bar.set_length(8);
        bar.set_message("features");
        bar.set_position(2);
        log_while_it_lasts(&bar, "frames", Duration::from_millis(20), move |line| {
            // The test may be over.
            let _ = send.send(line);
        });
        let told = lines.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(told.starts_with("features: 2 of 8 frames (25 %), "), "{told}");
        bar.finish_and_clear();
        // The sender goes with the thread.
        while lines.recv_timeout(Duration::from_secs(20)).is_ok() {}
        assert_eq!(lines.recv(), Err(std::sync::mpsc::RecvError));
    }

    #[test]
    fn lines_say_what_is_known() {
        let ten = Duration::from_secs(10);
        let cases = [
            (("", (0, None)), "", "progress: running for 10 s"),
            (("shards", (3, None)), "shards", "shards: 3 shards in 10 s"),
            (("images", (0, Some(9))), "images", "images: 0 of 9 images in 10 s"),
            (
                ("images", (5, Some(10))),
                "images",
                "images: 5 of 10 images (50 %), 0.5 per second, 10 seconds left",
            ),
        ];
        for ((message, at), unit, want) in cases {
            assert_eq!(line(message, at, unit, ten), want);
        }
    }
}
