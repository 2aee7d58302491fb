//! Who is told how far a build is.

/// Told how far a build is; all methods may be ignored.
pub trait Progress {
    /// So many frames will be looked at, if files keep what they promise.
    fn begin(&mut self, _frames: u64) {}
    /// So many frames were passed.
    fn frames(&mut self, _done: u64) {}
    /// So many of all held-out frames were measured.
    fn calibrated(&mut self, _done: usize, _of: usize) {}
    /// So many of the reference features were compared with each other.
    fn compared(&mut self, _done: usize, _of: usize) {}
    /// Something that does not end the build.
    fn warn(&mut self, _message: &str) {}
}

impl Progress for () {}
