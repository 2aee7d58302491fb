//! Buffers that go round: a [`Pooled`] value returns to its [`Pool`] when dropped, so that
//! the steady state of the pipeline allocates nothing of a frame's size.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// A shared stock of reusable values of one kind. Cloning shares the stock.
pub struct Pool<T> {
    free: Arc<Mutex<Vec<T>>>,
}

impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Pool { free: Arc::clone(&self.free) }
    }
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Pool { free: Arc::new(Mutex::new(Vec::new())) }
    }
}

impl<T: Default> Pool<T> {
    /// An empty stock; it grows to as many values as are ever in use at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// A used value if one is free (with whatever it held), a default one otherwise.
    pub fn take(&self) -> Pooled<T> {
        let value = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Pooled { value: value.unwrap_or_default(), home: Some(Arc::clone(&self.free)) }
    }
}

/// A value borrowed from a [`Pool`]; dropping it gives it back.
#[derive(Default)]
pub struct Pooled<T: Default> {
    value: T,
    home: Option<Arc<Mutex<Vec<T>>>>,
}

impl<T: Default> Pooled<T> {
    /// A value that belongs to no pool and is freed when dropped.
    pub fn unpooled(value: T) -> Self {
        Pooled { value, home: None }
    }
}

impl<T: Default> Deref for Pooled<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Default> DerefMut for Pooled<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Default> Drop for Pooled<T> {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            let value = std::mem::take(&mut self.value);
            home.lock().unwrap_or_else(PoisonError::into_inner).push(value);
        }
    }
}

impl<T: Default + Clone> Clone for Pooled<T> {
    /// The copy belongs to no pool.
    fn clone(&self) -> Self {
        Pooled::unpooled(self.value.clone())
    }
}

impl<T: Default + std::fmt::Debug> std::fmt::Debug for Pooled<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.value.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_value_is_taken_again() {
        let pool: Pool<Vec<u8>> = Pool::new();
        let mut first = pool.take();
        first.resize(1000, 7);
        let address = first.as_ptr();
        drop(first);
        assert_eq!(pool.take().as_ptr(), address);
    }
}
