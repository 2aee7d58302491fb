//! The end of a live run that a supervisor should answer by starting it again.

/// A part failed again and again, stood still, or panicked; the error below says which and why.
#[derive(Debug)]
pub struct GaveUp;

impl std::fmt::Display for GaveUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a part failed for good, start farout again")
    }
}
