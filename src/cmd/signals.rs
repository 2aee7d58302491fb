//! Signals: the first asks to drain and to finish files, the second leaves at once.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;

use crate::stop::Stop;

/// SIGINT, SIGTERM and SIGHUP ask `stop` the first time and end the process the second time.
///
/// # Errors
/// If the system refuses the handler.
pub fn listen(stop: &Stop) -> anyhow::Result<()> {
    let stop = stop.clone();
    let count = AtomicU32::new(0);
    ctrlc::set_handler(move || {
        if count.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::info!("stopping: finishing files; signal again to leave at once");
            stop.ask();
        } else {
            // What grows is valid at every moment and nothing else has its final name yet.
            std::process::exit(130);
        }
    })
    .context("cannot listen to signals")
}
