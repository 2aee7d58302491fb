//! Numbers as int8 with one scale, and the proof of what that loses.

/// Unit roundoff of f32.
pub(super) const ROUNDOFF: f64 = 1.0 / (1u32 << 24) as f64;
/// Rounds a number below 2^22 to a whole one when added and subtracted again.
const TO_WHOLE: f32 = 12_582_912.0;
/// Numbers summed side by side.
const LANES: usize = 16;
/// Vectors with no larger number count as zero: their scale would overflow.
const NOTHING: f32 = 1e-30;

/// What [`encode`] takes.
pub(super) struct Encode<'a> {
    /// The numbers.
    pub(super) values: &'a [f32],
    /// The largest int8 to use.
    pub(super) limit: f32,
    /// Takes the int8 numbers; what is longer than `values` becomes 0.
    pub(super) out: &'a mut [i8],
}

/// What the int8 numbers mean: `scale` times them is within `slack` (L2) of the values.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Code {
    pub(super) scale: f32,
    /// Squared norm of `scale` times the int8 numbers.
    pub(super) square: f64,
    pub(super) slack: f64,
    /// Sum of the int8 numbers.
    pub(super) sum: i32,
}

/// Encodes finite numbers.
///
/// The slack is measured, not estimated: it is the norm of the residual `x - scale n`. Each residual is
/// computed with two roundings, of `scale n` (at most 1.5 |x| where n is not 0) and of the difference,
/// hence 4 u |x| in all; the f32 sum of its squares errs by less than (C / LANES + LANES + 2) u
/// relative to itself.
#[inline(always)]
pub(super) fn encode(Encode { values, limit, out }: Encode) -> Code {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut most = [0.0f32; LANES];
    for chunk in chunks {
        for (m, x) in most.iter_mut().zip(chunk) {
            *m = larger(*m, x.abs());
        }
    }
    let most = most.into_iter().chain(rest.iter().map(|x| x.abs())).fold(0.0, larger);
    if most < NOTHING {
        out.fill(0);
        let slack = f64::from(NOTHING) * (values.len() as f64).sqrt();
        return Code { slack, ..Code::default() };
    }
    let (scale, steps) = (most / limit, limit / most);
    let (mut errors, mut squares, mut sums) = ([0.0f32; LANES], [0i32; LANES], [0i32; LANES]);
    let (coded, padding) = out.split_at_mut(values.len());
    padding.fill(0);
    let (out_chunks, out_rest) = coded.as_chunks_mut::<LANES>();
    let mut lane = |i: usize, x: f32, out: &mut i8| {
        let shifted = x * steps + TO_WHOLE;
        let whole = shifted - TO_WHOLE;
        // The low bits of the shifted number are the whole one in two's complement.
        *out = shifted.to_bits() as i8;
        let error = x - whole * scale;
        errors[i] += error * error;
        squares[i] += i32::from(*out) * i32::from(*out);
        sums[i] += i32::from(*out);
    };
    for (chunk, out) in chunks.iter().zip(out_chunks) {
        for (i, (x, out)) in chunk.iter().zip(out).enumerate() {
            lane(i, *x, out);
        }
    }
    for (i, (x, out)) in rest.iter().zip(out_rest).enumerate() {
        lane(i, *x, out);
    }
    let square = f64::from(scale).powi(2) * squares.iter().map(|s| f64::from(*s)).sum::<f64>();
    let error = errors.iter().map(|e| f64::from(*e)).sum::<f64>().sqrt();
    let relative = 1.0 + ROUNDOFF * (values.len() / LANES + LANES + 2) as f64;
    let slack = error * relative + 4.0 * ROUNDOFF * (square.sqrt() + error);
    // Squares of residuals that underflow: less than 1e-19 each.
    let slack = slack + 1e-19 * (values.len() as f64).sqrt();
    Code { scale, square, slack, sum: sums.iter().sum() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_within_its_slack_and_near_the_best_one() {
        let mut wrong = Vec::new();
        for width in [1usize, 5, 16, 64, 100, 384] {
            for (name, size) in [("usual", 1.0f32), ("tiny", 1e-25), ("subnormal", 1e-42), ("large", 1e15)] {
                for limit in [63.0f32, 127.0] {
                    let values: Vec<f32> = (0..width)
                        .map(|i| ((i * 7919 + 3) % 1009) as f32 / 504.5 - 1.0)
                        .map(|x| x * size)
                        .collect();
                    let mut out = vec![1; width + 7];
                    let code = encode(Encode { values: &values, limit, out: &mut out });
                    let part = |(x, n): (&f32, &i8)| {
                        let y = f64::from(code.scale) * f64::from(*n);
                        ((f64::from(*x) - y).powi(2), y * y)
                    };
                    let (error, square) =
                        values.iter().zip(&out).map(part).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
                    let case =
                        format!("{name}, {width} wide, limit {limit}: {code:?}, error {}", error.sqrt());
                    if error.sqrt() > code.slack || (square - code.square).abs() > 1e-12 * square {
                        wrong.push(case.clone());
                    }
                    // Half a step per number, and what rounding adds.
                    let step = f64::from(code.scale) + f64::from(size) * 1e-5 + 1.1e-19;
                    if code.slack > step * (width as f64).sqrt() || out[width..] != [0; 7] {
                        wrong.push(format!("loose: {case}"));
                    }
                    if out.iter().any(|n| f32::from(*n).abs() > limit)
                        || code.sum != out.iter().map(|n| i32::from(*n)).sum::<i32>()
                    {
                        wrong.push(format!("beyond the limit: {case}"));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
