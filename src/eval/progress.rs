//! Who is told how far a run is.

/// Told how far a run is.
pub trait Progress: Send + Sync {
    /// A phase of so many steps begins.
    fn begin(&self, phase: &'static str, steps: u64);
    /// One step is done.
    fn step(&self);
}
