//! The few smallest of many: a short sorted list with a total order.

/// Offers (key, row) to `list`, which is sorted ascending and as long as it has room; whether it was
/// taken. Of equal keys the lower row comes first, so that the list depends on what was offered, not on the
/// order; what it holds already is not taken twice. NaN is never taken.
#[inline]
pub(super) fn offer<K: PartialOrd + Copy>(list: &mut [(K, u32)], key: K, row: u32) -> bool {
    let before = |a: &(K, u32)| a.0 < key || (a.0 == key && a.1 < row);
    match list.last() {
        Some(last) if key < last.0 || (key == last.0 && row < last.1) => {}
        _ => return false,
    }
    let at = list.iter().position(|a| !before(a)).unwrap_or(list.len());
    if list[at].0 == key && list[at].1 == row {
        return false;
    }
    list[at..].rotate_right(1);
    list[at] = (key, row);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_depends_on_what_was_offered_only() {
        let offers = [(3.0, 7), (1.0, 9), (3.0, 2), (f64::NAN, 0), (1.0, 4), (1.0, 9), (8.0, 1), (3.0, 2)];
        for turn in 0..offers.len() {
            let mut list = [(f64::INFINITY, u32::MAX); 4];
            for (key, row) in offers[turn..].iter().chain(&offers[..turn]) {
                offer(&mut list, *key, *row);
            }
            assert_eq!(list, [(1.0, 4), (1.0, 9), (3.0, 2), (3.0, 7)], "from {turn}");
        }
    }
}
