//! Products of matrices in single precision, on the calling thread.

/// A matrix whose numbers lie in memory without gaps, row by row or column by column.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    /// Numbers per column and per row.
    rows: usize,
    columns: usize,
    /// How far apart rows and columns lie: always 1 and the length of what lies together.
    row: usize,
    column: usize,
}

impl<'a> Matrix<'a> {
    /// The numbers of `data` as columns of `rows` numbers, one after the other.
    ///
    /// # Panics
    /// If the last column is not whole.
    pub(super) fn by_columns(data: &'a [f32], rows: usize) -> Matrix<'a> {
        Matrix { data, rows, columns: pieces(data, rows), row: 1, column: rows }
    }

    /// The numbers of `data` as rows of `columns` numbers, one after the other.
    ///
    /// # Panics
    /// If the last row is not whole.
    pub(super) fn by_rows(data: &'a [f32], columns: usize) -> Matrix<'a> {
        Matrix { data, rows: pieces(data, columns), columns, row: columns, column: 1 }
    }
}

/// How many whole pieces of `length` numbers `data` is.
fn pieces(data: &[f32], length: usize) -> usize {
    assert!(length > 0 && data.len().is_multiple_of(length), "{} numbers in pieces of {length}", data.len());
    data.len() / length
}

/// `out = a b`; out lies column by column. On x86-64 nothing is allocated while `a` lies column by column
/// and has a multiple of 16 rows.
///
/// # Panics
/// If the sizes do not fit.
pub(super) fn multiply(a: Matrix, b: Matrix, out: &mut [f32]) {
    assert!(a.columns == b.rows && out.len() == a.rows * b.columns, "matrices that do not fit");
    // SAFETY: a matrix's rows and columns lie within its data, as its constructors see to; `out` is as long as the
    // product, and borrowed alone. A slice's length fits into isize, and so do strides that are parts of it.
    unsafe {
        gemm::gemm::<f32>(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            a.rows as isize,
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

/// Sums that a scalar product is made of.
const LANES: usize = 16;

/// The scalar product of two vectors, the same on every machine.
pub(super) fn product(a: &[f32], b: &[f32]) -> f32 {
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_right_however_the_matrices_lie() {
        // a = [1 2 3; 4 5 6], b = [1 4; 2 5; 3 6].
        let (one, other) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        let mut out = [0.0; 4];
        for a in [Matrix::by_rows(&one, 3), Matrix::by_columns(&other, 2)] {
            for b in [Matrix::by_columns(&one, 3), Matrix::by_rows(&other, 2)] {
                multiply(a, b, &mut out);
                assert_eq!(out, [14.0, 32.0, 32.0, 77.0]);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_never_read() {
        let numbers = [0.0; 6];
        let refused =
            |wrong: &(dyn Fn() + std::panic::RefUnwindSafe)| std::panic::catch_unwind(wrong).is_err();
        assert!(refused(&|| _ = Matrix::by_columns(&numbers, 4)));
        assert!(refused(&|| _ = Matrix::by_rows(&numbers, 0)));
        assert!(refused(&|| multiply(
            Matrix::by_rows(&numbers, 3),
            Matrix::by_rows(&numbers, 3),
            &mut [0.0; 4]
        )));
        assert!(refused(&|| multiply(
            Matrix::by_rows(&numbers, 3),
            Matrix::by_rows(&numbers, 2),
            &mut [0.0; 3]
        )));
    }
}
