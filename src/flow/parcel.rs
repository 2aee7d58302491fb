//! What goes through the queues: an item and what the flow itself needs to know of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::frame::FrameId;
use crate::health::Health;

/// Raised once a stage has ended: nobody waits for further frames then, though a frame that was lost with it may hold the last
/// permit.
#[derive(Clone, Default)]
pub(super) struct Over(Arc<AtomicBool>);

impl Over {
    /// Whether a stage has ended.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Raises it when what is given back is dropped: at the end of a stage's thread, by a panic, too.
    pub fn at_end(&self) -> impl Drop + use<> {
        struct Raise(Over);
        impl Drop for Raise {
            fn drop(&mut self) {
                self.0.0.store(true, Ordering::Release);
            }
        }
        Raise(self.clone())
    }
}

/// An item on its way, with what the flow itself needs to know of it.
pub(super) struct Parcel<T> {
    pub item: T,
    pub frame: FrameId,
    pub sent: Instant,
    /// Given back when the parcel reaches the end of the flow or is lost on the way.
    pub permit: Option<Permit>,
}

/// The right to be under way; returns by being dropped.
pub(super) struct Permit(Sender<()>);

impl Drop for Permit {
    fn drop(&mut self) {
        // The channel holds as many as were ever given out, so this never fails while anyone
        // listens, and nobody needs it afterwards.
        let _ = self.0.try_send(());
    }
}

/// Gives out as many permits as are useful, and no more than there are.
pub(super) struct Permits {
    give_back: Sender<()>,
    back: Receiver<()>,
    in_flight: usize,
    /// Permits that would not be useful now.
    withheld: usize,
}

impl Permits {
    /// At most `in_flight` at once, at least 1.
    pub fn new(in_flight: usize) -> Permits {
        let in_flight = in_flight.max(1);
        let (give_back, back) = bounded(in_flight);
        for _ in 0..in_flight {
            let _ = give_back.try_send(());
        }
        Permits { give_back, back, in_flight, withheld: 0 }
    }

    /// Waits for one, but not for long; no more are given out than `health` finds useful.
    pub fn take(&mut self, health: &Health) -> Option<Permit> {
        loop {
            let surplus = self.in_flight.saturating_sub(health.useful_in_flight().unwrap_or(1).max(1));
            if self.withheld > surplus {
                self.withheld -= 1;
            } else {
                match self.back.recv_timeout(std::time::Duration::from_millis(100)) {
                    Ok(()) if self.withheld < surplus => {
                        self.withheld += 1;
                        continue;
                    }
                    Ok(()) => {}
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
                }
            }
            return Some(Permit(self.give_back.clone()));
        }
    }
}
