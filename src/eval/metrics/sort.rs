//! Sorting keys by their digits, least significant first; the cost does not depend on the values.

use super::key::Key;

/// Widest digit: its counters stay in the first-level cache.
const WIDEST: u32 = 11;

/// Sorts `keys` upwards; `scratch` is another buffer of any length, whose content is lost.
pub fn sort<K: Key>(keys: &mut Vec<K>, scratch: &mut Vec<K>) {
    // Below this a general sort is as good.
    if keys.len() < 1 << 10 {
        keys.sort_unstable();
        return;
    }
    let (mut low, mut high) = (keys[0], keys[0]);
    for key in keys.iter() {
        low = low.min(*key);
        high = high.max(*key);
    }
    // Only the bits in which keys can differ are sorted by.
    let low = low.wide();
    let bits = 64 - (high.wide() - low).leading_zeros();
    if bits == 0 {
        return;
    }
    let digits = bits.div_ceil(WIDEST);
    let width = bits.div_ceil(digits);
    let mask = (1_u64 << width) - 1;
    let mut counts = vec![0_u32; (digits as usize) << width];
    for key in keys.iter() {
        let mut rest = key.wide() - low;
        for digit in counts.chunks_exact_mut(1 << width) {
            digit[(rest & mask) as usize] += 1;
            rest >>= width;
        }
    }
    scratch.clear();
    scratch.resize(keys.len(), K::default());
    for (pass, counts) in counts.chunks_exact_mut(1 << width).enumerate() {
        if counts.iter().any(|count| *count as usize == keys.len()) {
            continue;
        }
        let mut place = 0;
        for count in counts.iter_mut() {
            (*count, place) = (place, place + *count);
        }
        let shift = pass as u32 * width;
        for key in keys.iter() {
            let place = &mut counts[((key.wide() - low) >> shift & mask) as usize];
            scratch[*place as usize] = *key;
            *place += 1;
        }
        std::mem::swap(keys, scratch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn any_keys_come_out_sorted() {
        Random::for_many(64, |random| {
            let (count, drop, base) = (random.below(5000), random.below(64), random.below(1 << 32) as u64);
            let mut keys: Vec<u64> =
                (0..count).map(|_| (random.bits() >> drop).saturating_add(base)).collect();
            let mut short: Vec<u32> = keys.iter().map(|key| *key as u32).collect();
            let (mut want, mut want_short) = (keys.clone(), short.clone());
            want.sort_unstable();
            want_short.sort_unstable();
            sort(&mut keys, &mut Vec::new());
            sort(&mut short, &mut Vec::new());
            assert_eq!(keys, want);
            assert_eq!(short, want_short);
        });
    }
}
