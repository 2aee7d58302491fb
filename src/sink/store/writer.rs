//! The thread that writes what is kept of events.

use std::io::Write as _;
use std::path::Path;
use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::record::{FEATURES, MARKED, SNAPSHOT, size};
use super::{Inner, Order, PART, retention};
use crate::file::{WriteError, write_whole};
use crate::frame::Frame;
use crate::sink::pictures::jpeg_of;

/// How often it is looked whether something may go.
const TIDY: Duration = Duration::from_secs(20);
/// Quality of the snapshots.
const QUALITY: u8 = 90;

/// Writes until the store is gone.
pub(super) fn work(store: &Weak<Inner>, orders: &Receiver<Order>) {
    let mut tidied = None::<Instant>;
    let mut rgb = Vec::new();
    loop {
        let order = match orders.recv_timeout(TIDY) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let Some(store) = store.upgrade() else { return };
        let written = match order {
            Some(Order::Flush(done)) => {
                // Nobody may wait for it any more.
                let _ = done.send(());
                continue;
            }
            order => order.map_or(Ok(()), |order| write(&store, order, &mut rgb)),
        };
        // Whatever became of it: a full disk is emptied just so.
        let cleared = match tidied.is_none_or(|then| then.elapsed() > TIDY) {
            true => {
                tidied = Some(Instant::now());
                retention::tidy(&store)
            }
            false => Ok(()),
        };
        let problem = written.and(cleared).err().map(|error| {
            tracing::error!(%error, "events are not kept");
            error.to_string()
        });
        (store.state)(PART, problem);
    }
}

fn write(store: &Inner, order: Order, rgb: &mut Vec<u8>) -> Result<(), WriteError> {
    let Some(folder) = &store.config.folder else { return Ok(()) };
    let (id, pictures, file) = match order {
        Order::Pictures(id, pictures) => {
            store.pictures.fetch_sub(1, Ordering::Relaxed);
            (id, Some(pictures), None)
        }
        Order::File(id, name, make) => {
            store.files.fetch_sub(1, Ordering::Relaxed);
            (id, None, make().map(|bytes| (name, bytes)))
        }
        Order::Record(id) => (id, None, None),
        Order::Flush(_) => return Ok(()),
    };
    let place = folder.join(&id);
    std::fs::create_dir_all(&place).map_err(|source| WriteError { path: place.clone(), source })?;
    // First what says what it is: a folder without it belongs to nobody.
    if let Some(record) = store.change(&id, |_| ()) {
        store.write(&record)?;
    }
    if let Some(pictures) = pictures {
        picture(&place.join(SNAPSHOT), &pictures.plain, rgb)?;
        picture(&place.join(MARKED), &pictures.marked, rgb)?;
        store.change(&id, |record| record.snapshot = true);
    }
    if let Some((name, bytes)) = file {
        write_whole(&place.join(name), |out| out.write_all(&bytes))?;
        store.change(&id, |record| record.features |= name == FEATURES);
    }
    let bytes = size(&place);
    match store.change(&id, |record| record.bytes = bytes) {
        Some(record) => store.write(&record),
        // It was removed meanwhile.
        None => std::fs::remove_dir_all(&place).map_err(|source| WriteError { path: place, source }),
    }
}

fn picture(path: &Path, frame: &Frame, rgb: &mut Vec<u8>) -> Result<(), WriteError> {
    write_whole(path, |out| out.write_all(&jpeg_of(frame, QUALITY, rgb)?))
}
