//! Which events go, so that the disk is never full: those too old, then the oldest until size and free space are right.
//! What is protected stays.

use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::Inner;
use super::record::Record;
use crate::file::WriteError;
use crate::file::free_space;

const MIB: u64 = 1 << 20;

/// Removes what may go and should, and sees whether there is room for clips.
pub(super) fn tidy(store: &Inner) -> Result<(), WriteError> {
    let Some(folder) = &store.config.folder else { return Ok(()) };
    let config = &store.config;
    let (candidates, mut taken): (Vec<(String, String, u64)>, u64) = {
        let records = store.records();
        let free = records.iter().filter(|one| may_go(one));
        let free = free.map(|one| (one.id.clone(), one.utc.clone(), one.bytes)).collect();
        (free, records.iter().map(|one| one.bytes).sum())
    };
    let now = Timestamp::now();
    let mut result = Ok(());
    let full = || free_space(folder).is_some_and(|free| free < config.free_mib * MIB);
    for (id, utc, bytes) in candidates {
        let age =
            utc.parse::<Timestamp>().map_or(0.0, |began| now.duration_since(began).as_secs_f64() / 86_400.0);
        let old = config.most_days > 0.0 && age > config.most_days;
        if !(old || taken > config.most_mib * MIB || full()) {
            // They are in the order of their age.
            break;
        }
        match store.remove_if(&id, may_go) {
            Ok(true) => {
                taken = taken.saturating_sub(bytes);
                let why = if old { "too old" } else { "the events take too much room" };
                tracing::info!(event = id, "removed: {why}");
            }
            Ok(false) => {}
            // Others may go all the same.
            Err(error) => result = Err(error),
        }
    }
    store.room.store(!full(), Ordering::Relaxed);
    result
}

/// Whether an event may be removed.
fn may_go(record: &Record) -> bool {
    !record.protected && !record.open
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::sink::EventsConfig;
    use crate::sink::store::EventStore;

    /// A store with events of a day each, of 400 KiB, the first the oldest.
    fn store(folder: &Path, config: EventsConfig) -> EventStore {
        let event = crate::sink::events::tests::event(1);
        for day in 1..=6_i64 {
            let utc = Timestamp::now() - jiff::SignedDuration::from_hours(24 * (7 - day));
            let id = format!("{day}-front-1");
            let mut record = Record::new(id.clone(), &event, format!("{utc:.3}"));
            record.protected = day == 2;
            let place = folder.join(&id);
            std::fs::create_dir_all(&place).unwrap();
            std::fs::write(place.join("clip.mp4"), vec![0; 400 << 10]).unwrap();
            std::fs::write(place.join("event.json"), serde_json::to_vec(&record).unwrap()).unwrap();
        }
        // What is none of ours stays.
        std::fs::create_dir_all(folder.join("holiday")).unwrap();
        EventStore::open(&EventsConfig { folder: Some(folder.into()), ..config }, Arc::new(|_, _| ()))
            .unwrap()
    }

    fn left(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|one| one.unwrap().file_name().to_string_lossy().split('-').next().unwrap().to_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_oldest_that_is_not_protected_goes_first() {
        let unbounded = || EventsConfig { most_mib: 1000, free_mib: 0, ..EventsConfig::default() };
        for (config, want) in [
            (unbounded(), &["1", "2", "3", "4", "5", "6", "holiday"][..]),
            (EventsConfig { most_days: 3.5, ..unbounded() }, &["2", "4", "5", "6", "holiday"]),
            (EventsConfig { most_mib: 1, ..unbounded() }, &["2", "6", "holiday"]),
            // More than there is.
            (EventsConfig { free_mib: 1_000_000_000, ..unbounded() }, &["2", "holiday"]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let store = store(dir.path(), config.clone());
            tidy(&store.0).unwrap();
            assert_eq!(left(dir.path()), want, "{config:?}");
            let listed = store.list(None, 100);
            assert_eq!(listed.len(), want.len() - 1);
            assert!(listed.windows(2).all(|pair| pair[0].id > pair[1].id));
            assert_eq!(store.0.room.load(Ordering::Relaxed), config.free_mib == 0);
        }
    }

    #[test]
    fn what_is_no_event_of_this_folder_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        drop(store(dir.path(), EventsConfig::default()));
        std::fs::write(dir.path().join("1-front-1/event.json"), b"{").unwrap();
        std::fs::rename(dir.path().join("3-front-1"), dir.path().join("other")).unwrap();
        let config = EventsConfig { folder: Some(dir.path().into()), ..EventsConfig::default() };
        let store = EventStore::open(&config, Arc::new(|_, _| ())).unwrap();
        let ids: Vec<_> = store.list(None, 9).into_iter().map(|one| one.id).collect();
        assert_eq!(ids, ["6-front-1", "5-front-1", "4-front-1", "2-front-1"]);
        assert!(store.remove("2-front-1").unwrap() && !store.remove("other").unwrap());
        assert_eq!(store.file("../x", "clip.mp4"), None);
        assert!(
            store.file("4-front-1", "clip.mp4").is_some() && store.file("4-front-1", "event.json").is_none()
        );
    }
}
