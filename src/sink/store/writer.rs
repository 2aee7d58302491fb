//! The thread that writes what is kept of events.

use std::io::Write as _;
use std::path::Path;
use std::sync::Weak;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::record::{MARKED, SNAPSHOT};
use super::{Inner, Order, PART, retention};
use crate::colour::rgb_from_i420;
use crate::file::{WriteError, write_whole};
use crate::frame::Frame;
use crate::jpeg;

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
        let done = order.map_or(Ok(()), |order| write(&store, order, &mut rgb));
        let done = done.and_then(|()| match tidied.is_none_or(|then| then.elapsed() > TIDY) {
            true => {
                tidied = Some(Instant::now());
                retention::tidy(&store)
            }
            false => Ok(()),
        });
        (store.state)(
            PART,
            done.err().map(|error| {
                tracing::error!(%error, "events are not kept");
                error.to_string()
            }),
        );
    }
}

fn write(store: &Inner, order: Order, rgb: &mut Vec<u8>) -> Result<(), WriteError> {
    let Some(folder) = &store.config.folder else { return Ok(()) };
    let (id, pictures) = match order {
        Order::Pictures(id, pictures) => (id, Some(pictures)),
        Order::Record(id) => (id, None),
    };
    let place = folder.join(&id);
    std::fs::create_dir_all(&place).map_err(|source| WriteError { path: place.clone(), source })?;
    if let Some(pictures) = pictures {
        picture(&place.join(SNAPSHOT), &pictures.plain, rgb)?;
        picture(&place.join(MARKED), &pictures.marked, rgb)?;
        store.change(&id, |record| record.snapshot = true);
    }
    match store.change(&id, |_| ()) {
        Some(record) => store.write(&record),
        // It was removed meanwhile.
        None => std::fs::remove_dir_all(&place).map_err(|source| WriteError { path: place, source }),
    }
}

fn picture(path: &Path, frame: &Frame, rgb: &mut Vec<u8>) -> Result<(), WriteError> {
    let rgb: &[u8] = match frame.i420() {
        Some(layout) => {
            rgb_from_i420(&frame.pixels, &layout, frame.colour, rgb);
            rgb
        }
        None => &frame.pixels,
    };
    write_whole(path, |out| out.write_all(&jpeg::encode(rgb, frame.width, frame.height, QUALITY)?))
}
