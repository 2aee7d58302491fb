//! Progress of long work on standard error; nothing where nobody looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::health::Health;

/// A bar with rate and time left (a counter if the length is unknown). Hidden unless standard
/// error is a terminal.
pub fn bar(length: Option<u64>, unit: &'static str) -> ProgressBar {
    let bar = length.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    let template = match length {
        Some(_) => "{msg} {wide_bar} {pos}/{len} {unit}, {per_sec}, {eta} left",
        None => "{msg} {spinner} {pos} {unit}, {per_sec}, {elapsed}",
    };
    let style = ProgressStyle::with_template(&template.replace("{unit}", unit))
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
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
