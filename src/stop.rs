//! The one token that ends everything: every source and stage looks at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Cloned into whatever has to stop; once asked, stays asked.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    own: Arc<AtomicBool>,
    parent: Option<Arc<Stop>>,
}

impl Stop {
    /// A token that nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token for a part: asked with this one, or alone.
    pub fn of_part(&self) -> Stop {
        Stop { own: Arc::default(), parent: Some(Arc::new(self.clone())) }
    }

    /// Asks everything that holds this token to stop taking new frames and to drain.
    pub fn ask(&self) {
        self.own.store(true, Ordering::Release);
    }

    /// Whether it was asked.
    pub fn asked(&self) -> bool {
        self.own.load(Ordering::Acquire) || self.parent.as_ref().is_some_and(|parent| parent.asked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stops_alone_or_with_the_whole() {
        let whole = Stop::new();
        let (one, other) = (whole.of_part(), whole.of_part());
        one.clone().ask();
        assert!(one.asked() && !other.asked() && !whole.asked());
        whole.ask();
        assert!(other.asked());
    }
}
