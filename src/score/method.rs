//! Distances or logits of a frame -> its score map.

use super::Method;
use crate::bank::BankError;
use crate::grid::{Distances, Logits, ScoreMap};

/// Why a frame cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// The method needs what the model does not give.
    #[error(
        "score.method \"{0}\" needs logits, which this model does not give; name them in model.logits or use \"knn\""
    )]
    NoLogits(&'static str),
    /// No threshold can be had from the bank.
    #[error(transparent)]
    Bank(#[from] BankError),
    /// The automatic threshold belongs to another number of neighbours.
    #[error(
        "the bank was calibrated for k = {measured}, the search uses k = {k}: set search.k = {measured}, rebuild the bank with k = {k}, or give score.threshold as a number"
    )]
    OtherK {
        /// k of the calibration.
        measured: usize,
        /// k of the search.
        k: usize,
    },
}

/// Scores frames by one method.
#[derive(Debug, Clone)]
pub struct Scorer {
    method: Method,
}

impl Scorer {
    /// A scorer by `method`.
    pub fn new(method: Method) -> Self {
        Scorer { method }
    }

    /// Fills `out` with the scores of one frame: on the features' grid for `knn`, on the logits' own
    /// for `lse`. A cell that cannot be judged (NaN or infinite input) is `f32::INFINITY`.
    ///
    /// # Errors
    /// [`ScoreError::NoLogits`].
    pub fn step(
        &mut self,
        distances: &Distances,
        logits: Option<&Logits>,
        out: &mut ScoreMap,
    ) -> Result<(), ScoreError> {
        match self.method {
            Method::Knn => {
                out.grid = distances.grid;
                out.data.clear();
                out.data
                    .extend(distances.data.iter().map(|d| if d.is_finite() { *d } else { f32::INFINITY }));
            }
            Method::Lse => {
                let logits = logits.ok_or(ScoreError::NoLogits(self.method.name()))?;
                out.grid = logits.grid;
                lse(logits, &mut out.data);
            }
        }
        Ok(())
    }
}

/// Minus the LogSumExp over the classes of each cell of `logits`, row by row; `f32::INFINITY` where a
/// logit is NaN or infinite.
pub fn lse(logits: &Logits, out: &mut Vec<f32>) {
    const BLOCK: usize = 256;
    let cells = logits.grid.len();
    out.clear();
    out.resize(cells, f32::INFINITY);
    let class = |c: usize, block: usize, n: usize| &logits.data[c * cells + block * BLOCK..][..n];
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        let n = out.len();
        let (mut top, mut sum) = ([f32::NEG_INFINITY; BLOCK], [0.0f32; BLOCK]);
        for c in 0..logits.classes {
            top.iter_mut().zip(class(c, block, n)).for_each(|(t, x)| *t = t.max(*x));
        }
        for c in 0..logits.classes {
            let terms = sum.iter_mut().zip(&top).zip(class(c, block, n));
            terms.for_each(|((s, t), x)| *s += (x - t).exp());
        }
        for ((out, t), s) in out.iter_mut().zip(&top).zip(&sum) {
            let score = -(t + s.ln());
            // NaN logits reach the sum, +inf and all -inf make inf - inf there.
            *out = if score.is_finite() { score } else { f32::INFINITY };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Grid;
    use crate::pool::Pooled;

    #[test]
    fn lse_is_the_formula_and_survives_large_and_broken_logits() {
        let cells: [(&[f32; 3], f32); 6] = [
            (&[0.0, 0.0, 0.0], -(3f32.ln())),
            (&[1000.0, 999.0, -5.0], -(1000.0 + (1.0 + (-1f32).exp()).ln())),
            (&[-1000.0, -1000.0, -1000.0], 1000.0 - 3f32.ln()),
            (&[f32::NAN, 1.0, 1.0], f32::INFINITY),
            (&[f32::INFINITY, 1.0, 1.0], f32::INFINITY),
            (&[f32::NEG_INFINITY, 0.0, 0.0], -(2f32.ln())),
        ];
        let data = (0..3).flat_map(|c| cells.iter().map(move |(logits, _)| logits[c])).collect();
        let logits = Logits { classes: 3, grid: Grid { rows: 2, cols: 3 }, data: Pooled::unpooled(data) };
        let mut map = ScoreMap::default();
        Scorer::new(Method::Lse).step(&Distances::default(), Some(&logits), &mut map).unwrap();
        for (got, (input, want)) in map.data.iter().zip(cells) {
            assert!(got == &want || (got - want).abs() < 1e-4, "{input:?}: {got} instead of {want}");
        }
        assert_eq!(map.grid, logits.grid);
        let none = Scorer::new(Method::Lse).step(&Distances::default(), None, &mut map);
        assert!(matches!(none, Err(ScoreError::NoLogits("lse"))));
    }
}
