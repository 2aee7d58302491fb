//! The proof that a row is too far away, from int8 codes alone.
//!
//! Let y be a row or patch as [`super::space`] brings it there, and w(y) what is known of it: its code,
//! and where the code covers only the first numbers (the head), the norm t of the others (the tail) as one
//! number more. Taking the norm of the tail brings no two vectors further apart (the triangle
//! inequality), rounding to a code moves each by at most its slack s. So
//!
//! |w(q) - w(r)| <= |y(q) - y(r)| + s(q) + s(r) <= D + s(q) + s(r)
//!
//! for every row r within D of the patch q. A row for which this fails is proven to be further
//! away than D. Squared and written out with the product p of the int8 numbers:
//!
//! |w(r)|^2 - 2 a(q) a(r) p - 2 t(q) t(r) - 2 (D + s(q)) s(r) - s(r)^2 <= (D + s(q))^2 - |w(q)|^2
//!
//! All products of int8 numbers are exact in 32 bits. The sum is computed in f32: eight roundings of terms
//! that are together less than (|w(q)| + |w(r)|)^2 + (D + s(q) + s(r))^2, which is at most 16 u times
//! |w(q)|^2 + |w(r)|^2 + (D + s(q))^2 + s(r)^2; [`MARGIN`] is twice that.

use super::kernel::Terms;

/// What rounding in the f32 test may add, relative to the sum of the squares.
const MARGIN: f64 = 2e-6;

/// What is known of one patch.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// Scale of the head's code.
    pub(super) scale: f32,
    /// Norm of the tail.
    pub(super) tail: f32,
    /// Squared norm of head code and tail.
    pub(super) square: f64,
    /// Slack of head code and tail.
    pub(super) slack: f64,
    /// Minus the product of the patch's numbers with the rows' bias.
    pub(super) start: i32,
    /// The whole code, where the head is not all.
    pub(super) whole: Whole,
    /// An upper bound of its distance to any row of the bank.
    pub(super) farthest: f64,
    /// Whether codes say anything about it: false for NaN, infinity and numbers far beyond the bank's.
    pub(super) sound: bool,
}

/// What is known of a row or patch when its tail has a code too.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Whole {
    /// Scale of the tail's code.
    pub(super) scale: f32,
    /// Minus the product of the patch's tail with the rows' bias; unused for rows.
    pub(super) start: i32,
    /// Squared norm of both codes.
    pub(super) square: f64,
    /// Slack of both.
    pub(super) slack: f64,
}

impl Known {
    /// The test against rows within `distance` of the patch.
    pub(super) fn terms(&self, distance: f64) -> Terms {
        if !self.sound {
            return Terms { bar: f32::NEG_INFINITY, ..Terms::default() };
        }
        let reach = distance.min(self.farthest) + self.slack;
        let bar = reach * reach - self.square + MARGIN * (reach * reach + self.square);
        Terms {
            scale: -2.0 * self.scale,
            tail: -2.0 * self.tail,
            slack: -2.0 * reach as f32,
            bar: bar as f32,
            start: self.start,
        }
    }
}

/// The constant part of the test of a row: `square` is the squared norm of its head code and tail.
pub(super) fn row_square(square: f64, slack: f64) -> f32 {
    (square - slack * slack - MARGIN * (square + slack * slack)) as f32
}
