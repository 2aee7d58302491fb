//! Signals: the first asks to drain and to finish files, the second leaves at once; SIGHUP takes the configuration anew
//! where that can be.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::iterator::Signals;

use crate::pending::Pending;
use crate::stop::Stop;

/// What SIGHUP does, once there is something that it can do.
pub type Reload = Pending<Arc<dyn Fn() + Send + Sync>>;

/// SIGINT, SIGTERM and SIGHUP ask `stop` the first time and end the process the second time.
///
/// # Errors
/// If the system refuses the handlers.
pub fn listen(stop: &Stop) -> anyhow::Result<()> {
    handle(stop, None)
}

/// As [`listen`], but SIGHUP does what is put into `reload`, and nothing before. Started from a terminal, it ends the run
/// like the others: the terminal has gone.
///
/// # Errors
/// As [`listen`].
pub fn listen_and_reload(stop: &Stop, reload: &Reload) -> anyhow::Result<()> {
    let reload = reload.clone();
    handle(stop, (!std::io::stdin().is_terminal()).then_some(reload))
}

fn handle(stop: &Stop, reload: Option<Reload>) -> anyhow::Result<()> {
    let count = Arc::<AtomicU32>::default();
    let (asked, token) = (Arc::clone(&count), stop.clone());
    ctrlc::set_handler(move || end(&token, &asked)).context("cannot listen to signals")?;
    let mut signals = Signals::new([SIGTERM, SIGHUP]).context("cannot listen to signals")?;
    let stop = stop.clone();
    let body = move || {
        let mut reloads = None;
        for signal in signals.forever() {
            match (signal, &reload) {
                (SIGHUP, Some(reload)) => {
                    reloads = reload.take().or(reloads);
                    match &reloads {
                        Some(reload) => aside(reload),
                        None => tracing::warn!("SIGHUP: this run takes no changes, or not yet"),
                    }
                }
                _ => end(&stop, &count),
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(body).context("cannot start a thread")?;
    Ok(())
}

/// Reloads on a thread of its own, which may take seconds: signals are heard meanwhile.
fn aside(reload: &Arc<dyn Fn() + Send + Sync>) {
    let reload = Arc::clone(reload);
    if let Err(error) = std::thread::Builder::new().name("reload".into()).spawn(move || reload()) {
        tracing::error!(%error, "SIGHUP: the configuration could not be read again");
    }
}

fn end(stop: &Stop, count: &AtomicU32) {
    if count.fetch_add(1, Ordering::Relaxed) == 0 {
        tracing::info!("stopping: finishing files; signal again to leave at once");
        stop.ask();
    } else {
        // What grows is valid at every moment and nothing else has its final name yet.
        std::process::exit(130);
    }
}
