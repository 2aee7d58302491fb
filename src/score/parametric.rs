//! Scores from the logits alone: the model's own uncertainty, cell by cell.

use serde::{Deserialize, Serialize};

use crate::grid::{Logits, LogitsKind};

/// Cells that are computed side by side.
const BLOCK: usize = 256;

/// How logits L_c of K classes become a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parametric {
    /// `-ln sum exp L_c`: minus the LogSumExp.
    #[default]
    Lse,
    /// `1 - max softmax(L)_c`.
    Msp,
    /// `-max L_c`.
    MaxLogit,
    /// `-sum p_c ln p_c` with `p = softmax(L)`, natural logarithm.
    Entropy,
    /// `-sum tanh L_c`: rejected by all (RbA), for mask classifiers.
    Rba,
}

impl Parametric {
    /// All of them, in the order in which reports list them.
    pub const ALL: [Parametric; 5] =
        [Parametric::Lse, Parametric::Msp, Parametric::MaxLogit, Parametric::Entropy, Parametric::Rba];

    /// Its name in configuration, banks and reports.
    pub fn name(self) -> &'static str {
        match self {
            Parametric::Lse => "lse",
            Parametric::Msp => "msp",
            Parametric::MaxLogit => "max-logit",
            Parametric::Entropy => "entropy",
            Parametric::Rba => "rba",
        }
    }

    /// Those that make sense of logits of this kind. Of logits whose kind nobody told, those that fit any.
    pub fn of_kind(kind: Option<LogitsKind>) -> Vec<Parametric> {
        let fits = |one: &Parametric| *one != Parametric::Rba || kind == Some(LogitsKind::Masks);
        Parametric::ALL.into_iter().filter(fits).collect()
    }

    /// Fills `out` with the scores of each cell of `logits`, row by row; `f32::INFINITY` where a logit is NaN
    /// or plus infinity, or all are minus infinity.
    pub fn scores(self, logits: &Logits, out: &mut Vec<f32>) {
        let cells = logits.grid.len();
        out.clear();
        out.resize(cells, f32::INFINITY);
        for (block, out) in out.chunks_mut(BLOCK).enumerate() {
            let n = out.len();
            let classes = (0..logits.classes).map(|c| &logits.data[c * cells + block * BLOCK..][..n]);
            let (top, judged) = top(classes.clone());
            let scores = match self {
                Parametric::Lse => lse(&top, classes),
                Parametric::Msp => msp(&top, classes),
                Parametric::MaxLogit => top.map(|t| -t),
                Parametric::Entropy => entropy(&top, classes),
                Parametric::Rba => rba(classes),
            };
            for ((out, score), judged) in out.iter_mut().zip(scores).zip(judged) {
                *out = if judged && score.is_finite() { score } else { f32::INFINITY };
            }
        }
    }
}

/// One block's numbers, one per cell.
type Cells = [f32; BLOCK];

/// The largest logit of each cell, and whether it is finite and no other is NaN.
fn top<'a>(classes: impl Iterator<Item = &'a [f32]>) -> (Cells, [bool; BLOCK]) {
    let (mut top, mut numbers) = ([f32::NEG_INFINITY; BLOCK], [true; BLOCK]);
    for class in classes {
        top.iter_mut().zip(class).for_each(|(t, x)| *t = t.max(*x));
        numbers.iter_mut().zip(class).for_each(|(all, x)| *all &= !x.is_nan());
    }
    (top, std::array::from_fn(|i| numbers[i] && top[i].is_finite()))
}

fn lse<'a>(top: &Cells, classes: impl Iterator<Item = &'a [f32]>) -> Cells {
    let mut sum = [0.0f32; BLOCK];
    for class in classes {
        sum.iter_mut().zip(top).zip(class).for_each(|((s, t), x)| *s += (x - t).exp());
    }
    std::array::from_fn(|i| -(top[i] + sum[i].ln()))
}

/// The sum of `exp(L_c - max L)` over all classes but one of the largest: not 1 less than the sum over all, so
/// that nothing is lost where one class is all but certain.
fn rest<'a>(top: &Cells, classes: impl Iterator<Item = &'a [f32]>) -> Cells {
    // The first of the largest makes this 0.
    let mut rest = [-1.0f32; BLOCK];
    let mut small = [0.0f32; BLOCK];
    for class in classes {
        for (((rest, small), t), x) in rest.iter_mut().zip(&mut small).zip(top).zip(class) {
            let term = (x - t).exp();
            *rest += if x == t { 1.0 } else { 0.0 };
            *small += if x == t { 0.0 } else { term };
        }
    }
    std::array::from_fn(|i| rest[i] + small[i])
}

fn msp<'a>(top: &Cells, classes: impl Iterator<Item = &'a [f32]>) -> Cells {
    rest(top, classes).map(|r| r / (1.0 + r))
}

fn entropy<'a>(top: &Cells, classes: impl Iterator<Item = &'a [f32]> + Clone) -> Cells {
    let rest = rest(top, classes.clone());
    // With S = sum exp(L_c - t): H = ln S + sum exp(L_c - t) (t - L_c) / S.
    let mut off = [0.0f32; BLOCK];
    for class in classes {
        for ((off, t), x) in off.iter_mut().zip(top).zip(class) {
            let term = (x - t).exp();
            *off += if term > 0.0 { term * (t - x) } else { 0.0 };
        }
    }
    std::array::from_fn(|i| rest[i].ln_1p() + off[i] / (1.0 + rest[i]))
}

fn rba<'a>(classes: impl Iterator<Item = &'a [f32]>) -> Cells {
    let mut sum = [0.0f32; BLOCK];
    for class in classes {
        sum.iter_mut().zip(class).for_each(|(s, x)| *s += x.tanh());
    }
    sum.map(|s| -s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Grid;
    use crate::pool::Pooled;

    /// Logits of cells given one after another.
    fn logits(cells: &[[f32; 3]]) -> Logits {
        let data = (0..3).flat_map(|c| cells.iter().map(move |cell| cell[c])).collect();
        Logits { classes: 3, grid: Grid { rows: 1, cols: cells.len() }, data: Pooled::unpooled(data) }
    }

    fn scores(method: Parametric, cells: &[[f32; 3]]) -> Vec<f32> {
        let mut out = Vec::new();
        method.scores(&logits(cells), &mut out);
        out
    }

    /// The formulas as they are written in the papers, in double precision, without any care for large numbers.
    fn formula(method: Parametric, cell: &[f32; 3]) -> f64 {
        let x = cell.map(f64::from);
        let sum: f64 = x.iter().map(|x| x.exp()).sum();
        let p = x.map(|x| x.exp() / sum);
        match method {
            Parametric::Lse => -sum.ln(),
            Parametric::Msp => 1.0 - p.iter().copied().fold(0.0, f64::max),
            Parametric::MaxLogit => -x.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Parametric::Entropy => -p.iter().map(|p| p * p.ln()).sum::<f64>(),
            Parametric::Rba => -x.iter().map(|x| x.tanh()).sum::<f64>(),
        }
    }

    #[test]
    fn all_are_their_formulas() {
        // More than one block.
        let mut seed = 7u32;
        let mut number = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 24) as f32 * 16.0 - 8.0
        };
        let mut cells: Vec<[f32; 3]> = (0..700).map(|_| [number(), number(), number()]).collect();
        cells.extend([[0.0; 3], [2.0, 2.0, -3.0], [-1.0, 0.5, 0.5]]);
        for method in Parametric::ALL {
            for (cell, got) in cells.iter().zip(scores(method, &cells)) {
                let want = formula(method, cell);
                let off = (f64::from(got) - want).abs();
                assert!(off < 2e-6 * want.abs().max(1.0), "{} of {cell:?}: {got}, not {want}", method.name());
            }
        }
    }

    #[test]
    fn large_and_broken_logits_are_survived() {
        const INF: f32 = f32::INFINITY;
        let (e, sure) = (std::f64::consts::E, (-60f64).exp());
        let near = (1.0 + 1.0 / e).ln();
        // Lse, msp, max-logit, entropy, rba.
        let cases: [([f32; 3], [f64; 5]); 8] = [
            (
                [1000.0, 999.0, -5.0],
                [-1000.0 - near, 1.0 / (1.0 + e), -1000.0, near + (1.0 / e) / (1.0 + 1.0 / e), -1.000_090_8],
            ),
            ([-1000.0; 3], [1000.0 - 3f64.ln(), 2.0 / 3.0, 1000.0, 3f64.ln(), 3.0]),
            // All but certain: what 1 - p would round to 0.
            ([60.0, 0.0, -40.0], [-60.0, sure, -60.0, sure * 61.0, 0.0]),
            ([f32::NEG_INFINITY, 0.0, 0.0], [-(2f64.ln()), 0.5, 0.0, 2f64.ln(), 1.0]),
            ([f32::NAN, 1.0, 1.0], [f64::INFINITY; 5]),
            ([1.0, 1.0, f32::NAN], [f64::INFINITY; 5]),
            ([INF, 1.0, 1.0], [f64::INFINITY; 5]),
            ([INF, f32::NEG_INFINITY, f32::NAN], [f64::INFINITY; 5]),
        ];
        for (cell, wants) in cases {
            for (method, want) in Parametric::ALL.into_iter().zip(wants) {
                let got = f64::from(scores(method, &[cell])[0]);
                let close = (got - want).abs() <= 1e-6 * want.abs().max(1e-30);
                assert!(got == want || close, "{} of {cell:?}: {got}, not {want}", method.name());
            }
        }
        for method in Parametric::ALL {
            assert_eq!(scores(method, &[[f32::NEG_INFINITY; 3]]), [INF], "{}", method.name());
        }
    }

    #[test]
    fn what_is_made_of_the_softmax_does_not_see_a_shift() {
        let cells = [[1.25, -2.5, 0.5], [3.0, 3.0, 3.0], [-8.0, 4.0, 4.0], [0.125, 9.0, -7.5]];
        for shift in [-512.0, -3.0, 0.5, 64.0, 1000.0] {
            let shifted = cells.map(|cell| cell.map(|x| x + shift));
            for method in Parametric::ALL {
                let invariant = [Parametric::Msp, Parametric::Entropy].contains(&method);
                for (a, b) in scores(method, &cells).iter().zip(scores(method, &shifted)) {
                    let same = (a - b).abs() <= 1e-5 * a.abs();
                    assert_eq!(same, invariant, "{} shifted by {shift}: {a} and {b}", method.name());
                }
            }
        }
    }

    #[test]
    fn names_are_those_of_the_configuration_and_rba_wants_masks() {
        for method in Parametric::ALL {
            assert_eq!(serde_json::to_value(method).unwrap(), method.name());
        }
        assert_eq!(Parametric::of_kind(Some(LogitsKind::Masks)), Parametric::ALL);
        for kind in [None, Some(LogitsKind::Classes)] {
            assert_eq!(Parametric::of_kind(kind), Parametric::ALL[..4]);
        }
    }
}
