//! Products of matrices in single precision, on the calling thread.

/// A matrix and how far apart its rows and columns lie.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) data: &'a [f32],
    pub(super) row: usize,
    pub(super) column: usize,
}

/// `out = a b`, a being m x n, b n x p; out lies column by column. On x86-64 nothing is allocated while `a`
/// lies column by column and m is a multiple of 16.
pub(super) fn multiply(a: Side, b: Side, [m, n, p]: [usize; 3], out: &mut [f32]) {
    assert!(a.data.len() == m * n && b.data.len() == n * p && out.len() == m * p);
    assert!(a.row.max(a.column) * a.row.min(a.column) == a.row.max(a.column));
    // SAFETY: the lengths were checked, and callers give strides of whole matrices.
    unsafe {
        gemm::gemm::<f32>(
            m,
            p,
            n,
            out.as_mut_ptr(),
            m as isize,
            1,
            false,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
