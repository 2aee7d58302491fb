//! Who is told how far learning is.

use crate::collect;

/// Told how far learning is; banks tell the rest themselves.
pub trait Progress: collect::Progress {
    /// A step begins: what is done, how many units it has, and what they are.
    fn step(&mut self, name: &'static str, units: Option<u64>, unit: &'static str);
    /// So many units of the step are done.
    fn done(&mut self, units: u64);
}

/// For who does not care.
impl Progress for () {
    fn step(&mut self, _name: &'static str, _units: Option<u64>, _unit: &'static str) {}
    fn done(&mut self, _units: u64) {}
}
