//! One thing that waits to be taken: how a thread that must not wait learns of a change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A place for one `T`; cloning shares it. Looking into an empty one costs next to nothing.
pub struct Pending<T>(Arc<(AtomicBool, Mutex<Option<T>>)>);

impl<T> Pending<T> {
    fn place(&self) -> MutexGuard<'_, Option<T>> {
        self.0.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts `next` in the place of what nobody has taken, which is given back.
    pub fn put(&self, next: T) -> Option<T> {
        let mut place = self.place();
        // Under the lock: it and the flag always agree.
        self.0.0.store(true, Ordering::Release);
        place.replace(next)
    }

    /// Takes what waits, if anything does.
    pub fn take(&self) -> Option<T> {
        if !self.waits() {
            return None;
        }
        let mut place = self.place();
        self.0.0.store(false, Ordering::Release);
        place.take()
    }

    /// Whether something waits.
    pub fn waits(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }
}

impl<T> Clone for Pending<T> {
    fn clone(&self) -> Self {
        Pending(Arc::clone(&self.0))
    }
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Pending(Arc::new((AtomicBool::new(false), Mutex::new(None))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_is_taken_once() {
        let pending = Pending::default();
        let other = pending.clone();
        assert_eq!((pending.take(), pending.waits()), (None, false));
        assert_eq!(other.put(1), None);
        assert_eq!(other.put(2), Some(1));
        assert!(pending.waits());
        assert_eq!((pending.take(), pending.take(), other.waits()), (Some(2), None, false));
    }
}
