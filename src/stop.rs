//! The one token that ends everything: every source and stage looks at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Cloned into whatever has to stop; once asked, stays asked.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// A token that nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everything that holds this token to stop taking new frames and to drain.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it was asked.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
