//! What model and search do not run on, told once: in one line, and louder where a GPU stands idle.

use crate::features::{Session, gpu, grouped};
use crate::nearest::NoCuda;

/// Characters of a reason in the one line; the rest is for those who debug.
const LONGEST_REASON: usize = 120;

/// Says what `which` model does not run on, and why.
pub(super) fn of_model(which: &str, session: &Session) {
    for one in session.fallbacks() {
        tracing::debug!(why = %one.why, "ONNX Runtime passes over {}", one.attempt);
    }
    let told = grouped(session.fallbacks());
    if !told.is_empty() {
        let reasons: Vec<String> = told.iter().map(|(who, why)| format!("{who}: {}", short(why))).collect();
        let (why, now) = (reasons.join("; "), session.attempt());
        // Where there is no GPU nobody misses one.
        match gpu::present() {
            true => tracing::warn!(why, "the {which} runs on {now}"),
            false => tracing::info!(why, "the {which} runs on {now}"),
        }
    }
    for one in session.withheld() {
        tracing::warn!(why = %one.why, "ONNX Runtime runs without {}", one.shortcut);
    }
}

/// Says why the search does not run on a GPU.
pub(super) fn of_search(why: &NoCuda) {
    match (why, gpu::present()) {
        (NoCuda::NoDriver, false) => tracing::info!(%why, "the search runs on the CPU"),
        _ => tracing::warn!(%why, "the search runs on the CPU"),
    }
}

fn short(why: &str) -> String {
    match why.char_indices().nth(LONGEST_REASON) {
        Some((end, _)) => format!("{}... (in full with -v)", &why[..end]),
        None => why.to_owned(),
    }
}
