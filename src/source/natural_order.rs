//! The order of file names in which 2 comes before 10.

use std::cmp::Ordering;

/// Compares two names: runs of digits by their value, all else byte by byte. Equal values with
/// different numbers of leading zeros are put in order by the whole text, so that the order is total.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    loop {
        let (x, y) = match (left.first(), right.first()) {
            (Some(x), Some(y)) => (x, y),
            (None, None) => return a.cmp(b),
            (None, _) => return Ordering::Less,
            (_, None) => return Ordering::Greater,
        };
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (m, n) = (digits(&mut left), digits(&mut right));
            // Without leading zeros, more digits are a larger number.
            let order = m.len().cmp(&n.len()).then_with(|| m.cmp(n));
            if order.is_ne() {
                return order;
            }
        } else if x == y {
            (left, right) = (&left[1..], &right[1..]);
        } else {
            return x.cmp(y);
        }
    }
}

/// Takes the digits at the start of `text`, leading zeros left out.
fn digits<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (run, rest) = text.split_at(end);
    *text = rest;
    let zeros = run.iter().take_while(|b| **b == b'0').count();
    &run[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_by_value() {
        let mut names = ["f10.png", "f2.png", "f02.png", "f1.png", "a", "f100b2", "f100b10", "f", "f0"];
        names.sort_by(|a, b| compare(a, b));
        assert_eq!(names, ["a", "f", "f0", "f1.png", "f02.png", "f2.png", "f10.png", "f100b2", "f100b10"]);
    }
}
