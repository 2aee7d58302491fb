//! What the numbers of a configuration may be.

/// A key, its value, and the least and the most that it may be.
pub type Range<'a> = (&'a str, f64, f64, f64);

/// Checks the numbers of a section. NaN is in no range.
///
/// # Errors
/// The first key whose value is out of its range, with what it may be.
pub fn within(section: &str, numbers: &[Range<'_>]) -> Result<(), String> {
    match numbers.iter().find(|(_, value, least, most)| !(*least..=*most).contains(value)) {
        Some((key, value, least, most)) => Err(format!("{section}.{key} is {value}, give {least} to {most}")),
        None => Ok(()),
    }
}
