//! Which events go, so that the disk is never full: those too old, then the oldest until size and free space are right.
//! What is protected stays.

use std::path::Path;

use jiff::Timestamp;

use super::Inner;
use crate::file::WriteError;

const MIB: u64 = 1 << 20;

/// Whether a clip may be begun.
#[cfg(feature = "media")]
pub(super) fn room(store: &Inner) -> bool {
    let Some(folder) = &store.config.folder else { return false };
    free(folder).is_none_or(|free| free > store.config.free_mib * MIB)
}

/// Removes what may go and should.
pub(super) fn tidy(store: &Inner) -> Result<(), WriteError> {
    let Some(folder) = &store.config.folder else { return Ok(()) };
    let config = &store.config;
    let candidates: Vec<(String, String)> = {
        let records = store.records();
        let free = records.iter().filter(|one| !one.protected && !one.open);
        free.map(|one| (one.id.clone(), one.utc.clone())).collect()
    };
    let sizes: Vec<u64> = store.records().iter().map(|one| size(&folder.join(&one.id))).collect();
    let mut taken: u64 = sizes.iter().sum();
    let now = Timestamp::now();
    for (id, utc) in candidates {
        let age =
            utc.parse::<Timestamp>().map_or(0.0, |began| now.duration_since(began).as_secs_f64() / 86_400.0);
        let old = config.most_days > 0.0 && age > config.most_days;
        let full = free(folder).is_some_and(|free| free < config.free_mib * MIB);
        if !(old || full || taken > config.most_mib * MIB) {
            // They are in the order of their age.
            break;
        }
        let size = size(&folder.join(&id));
        store.remove(&id)?;
        taken = taken.saturating_sub(size);
        tracing::info!(
            event = id,
            "removed: {}",
            if old { "too old" } else { "the events take too much room" }
        );
    }
    Ok(())
}

/// Bytes of the files in a folder.
fn size(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

/// Bytes that are free on the disk of a folder.
fn free(folder: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(folder).ok()?;
    Some(told.f_bavail * told.f_frsize)
}
