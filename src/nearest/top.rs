//! The few smallest of many: a short sorted list with a total order.

/// Offers (key, row) to `list`, which is sorted ascending and as long as it has room. Of equal keys
/// the lower row comes first, so that the list depends on what was offered, not on the order.
/// NaN is never taken.
#[inline]
pub(super) fn offer<K: PartialOrd + Copy>(list: &mut [(K, u32)], key: K, row: u32) {
    let before = |a: &(K, u32)| a.0 < key || (a.0 == key && a.1 < row);
    match list.last() {
        Some(last) if key < last.0 || (key == last.0 && row < last.1) => {}
        _ => return,
    }
    let mut at = list.len() - 1;
    while at > 0 && !before(&list[at - 1]) {
        list[at] = list[at - 1];
        at -= 1;
    }
    list[at] = (key, row);
}

/// Numbers compared at once.
const STEP: usize = 32;

/// Offers `norms[i] + products[i]` as row `first + i` for all i.
#[inline]
pub(super) fn scan(list: &mut [(f32, u32)], norms: &[f32], products: &[f32], first: u32) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { scan_avx2(list, norms, products, first) };
    }
    scan_any(list, norms, products, first);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn scan_avx2(list: &mut [(f32, u32)], norms: &[f32], products: &[f32], first: u32) {
    scan_any(list, norms, products, first);
}

#[inline(always)]
fn scan_any(list: &mut [(f32, u32)], norms: &[f32], products: &[f32], first: u32) {
    let mut bar = list.last().map_or(f32::NEG_INFINITY, |last| last.0);
    for (step, (norms, products)) in norms.chunks(STEP).zip(products.chunks(STEP)).enumerate() {
        // Most steps have nothing to offer; finding that out is branch-free.
        let hits = norms.iter().zip(products).fold(0u32, |hits, (n, p)| hits | u32::from(n + p <= bar));
        if hits == 0 {
            continue;
        }
        for (i, (n, p)) in norms.iter().zip(products).enumerate() {
            offer(list, n + p, first + (step * STEP + i) as u32);
        }
        bar = list.last().map_or(f32::NEG_INFINITY, |last| last.0);
    }
}
