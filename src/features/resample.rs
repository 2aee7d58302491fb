//! Antialiased resampling of one row of samples: precomputed weights, a vertical pass over whole
//! rows, a horizontal pass with a fixed number of taps.
//!
//! The filter is the triangle that Pillow and PyTorch (`antialias=True`) call bilinear: its half
//! width is one output pixel when shrinking, one input pixel when enlarging; at the edges the
//! weights that fall outside are dropped and the rest scaled to sum to 1.

/// Which inputs make each output, along one axis.
#[derive(Debug, Clone, Default)]
pub struct Taps {
    /// Number of weights per output; outputs that need fewer have zeros at the end.
    count: usize,
    /// First input of each output; `first + count` never exceeds the number of inputs.
    first: Vec<usize>,
    /// `first.len() x count` weights.
    weights: Vec<f32>,
}

impl Taps {
    /// Output `i` of `outputs` is centred at input coordinate `(i + 0.5) * scale + offset`, where
    /// input `j` of `inputs` covers `j..j + 1`.
    pub fn new(inputs: usize, outputs: usize, scale: f64, offset: f64) -> Taps {
        let half_width = scale.max(1.0);
        let inputs = inputs.max(1);
        let mut rows: Vec<(usize, Vec<f64>)> = Vec::with_capacity(outputs);
        for i in 0..outputs {
            // Centres may lie up to half a sample outside, where chroma is sited beside luma.
            let centre = ((i as f64 + 0.5) * scale + offset).clamp(0.5, inputs as f64 - 0.5);
            let low = ((centre - half_width).floor().max(0.0) as usize).min(inputs - 1);
            let high = ((centre + half_width).ceil() as usize).clamp(low + 1, inputs);
            let weight = |j: usize| (1.0 - ((j as f64 + 0.5 - centre) / half_width).abs()).max(0.0);
            let mut weights: Vec<f64> = (low..high).map(weight).collect();
            let zeros = weights.iter().take_while(|w| **w == 0.0).count().min(weights.len() - 1);
            weights.drain(..zeros);
            while weights.len() > 1 && weights.last() == Some(&0.0) {
                weights.pop();
            }
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|w| *w /= sum);
            rows.push((low + zeros, weights));
        }
        let count = rows.iter().map(|(_, weights)| weights.len()).max().unwrap_or(1);
        let mut taps =
            Taps { count, first: Vec::with_capacity(outputs), weights: vec![0.0; outputs * count] };
        for ((low, weights), place) in rows.into_iter().zip(taps.weights.chunks_exact_mut(count)) {
            // Pushed left where the zeros at the end would reach beyond the last input.
            let first = low.min(inputs - count);
            for (slot, weight) in place.iter_mut().skip(low - first).zip(weights) {
                *slot = weight as f32;
            }
            taps.first.push(first);
        }
        taps
    }

    /// Vertical pass: the weighted sum of the rows that make output row `y`, sample by sample.
    /// `out.len()` samples are taken of each row of `stride` bytes.
    pub fn rows(&self, plane: &[u8], stride: usize, y: usize, out: &mut [f32]) {
        let weights = &self.weights[y * self.count..(y + 1) * self.count];
        let row = |tap: usize| {
            let start = (self.first[y] + tap) * stride;
            &plane[start..start + out.len()]
        };
        let rows: [&[u8]; 4] = std::array::from_fn(|tap| row(tap.min(self.count - 1)));
        let weight = |tap: usize| if tap < self.count { weights[tap] } else { 0.0 };
        let [w0, w1, w2, w3] = std::array::from_fn(weight);
        let [r0, r1, r2, r3] = rows;
        // Up to four rows at once: one pass over `out` covers every scale down to a half.
        if self.count <= 2 {
            for ((o, a), b) in out.iter_mut().zip(r0).zip(r1) {
                *o = w0 * f32::from(*a) + w1 * f32::from(*b);
            }
        } else {
            for ((((o, a), b), c), d) in out.iter_mut().zip(r0).zip(r1).zip(r2).zip(r3) {
                *o = (w0 * f32::from(*a) + w1 * f32::from(*b)) + (w2 * f32::from(*c) + w3 * f32::from(*d));
            }
        }
        for (tap, &w) in weights.iter().enumerate().skip(4) {
            let start = (self.first[y] + tap) * stride;
            for (o, a) in out.iter_mut().zip(&plane[start..]) {
                *o += w * f32::from(*a);
            }
        }
    }

    /// Horizontal pass: `out[i]` from a row of `STEP` interleaved channels of which `channel` is taken.
    pub fn across<const STEP: usize>(&self, row: &[f32], channel: usize, out: &mut [f32]) {
        match self.count {
            1 => self.across_n::<STEP, 1>(row, channel, out),
            2 => self.across_n::<STEP, 2>(row, channel, out),
            3 => self.across_n::<STEP, 3>(row, channel, out),
            4 => self.across_n::<STEP, 4>(row, channel, out),
            5 => self.across_n::<STEP, 5>(row, channel, out),
            6 => self.across_n::<STEP, 6>(row, channel, out),
            7 => self.across_n::<STEP, 7>(row, channel, out),
            8 => self.across_n::<STEP, 8>(row, channel, out),
            _ => {
                for ((o, &first), weights) in
                    out.iter_mut().zip(&self.first).zip(self.weights.chunks_exact(self.count))
                {
                    let samples = row[first * STEP..].iter().skip(channel).step_by(STEP);
                    *o = weights.iter().zip(samples).map(|(w, s)| w * s).sum();
                }
            }
        }
    }

    fn across_n<const STEP: usize, const N: usize>(&self, row: &[f32], channel: usize, out: &mut [f32]) {
        let (weights, _) = self.weights.as_chunks::<N>();
        for ((o, &first), weights) in out.iter_mut().zip(&self.first).zip(weights) {
            // One bounds check for all taps.
            let samples = &row[first * STEP + channel..][..(N - 1) * STEP + 1];
            let mut sum = 0.0;
            for tap in 0..N {
                sum += weights[tap] * samples[tap * STEP];
            }
            *o = sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every weight row sums to 1 and lies within the inputs, at all sizes.
    #[test]
    fn weights_are_averages_of_what_exists() {
        for (inputs, outputs) in
            [(1, 1), (1, 5), (2, 1), (3, 7), (7, 3), (640, 644), (1280, 644), (1920, 33), (5, 5)]
        {
            for offset in [0.0, 0.25] {
                let taps = Taps::new(inputs, outputs, inputs as f64 / outputs as f64, offset);
                for (first, weights) in taps.first.iter().zip(taps.weights.chunks_exact(taps.count)) {
                    assert!(first + taps.count <= inputs, "{inputs} -> {outputs}");
                    assert!(
                        (weights.iter().sum::<f32>() - 1.0).abs() < 1e-5,
                        "{inputs} -> {outputs}: {weights:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_same_size_changes_nothing() {
        let taps = Taps::new(5, 5, 1.0, 0.0);
        let plane: Vec<u8> = (0..15).map(|i| i * 16).collect();
        let (mut row, mut out) = ([0.0; 5], [0.0; 5]);
        Taps::new(3, 3, 1.0, 0.0).rows(&plane, 5, 1, &mut row);
        taps.across::<1>(&row, 0, &mut out);
        assert_eq!(out, [80.0, 96.0, 112.0, 128.0, 144.0]);
    }

    /// Weights of a halving triangle: 1/8, 3/8, 3/8, 1/8.
    #[test]
    fn halving_weighs_four_samples() {
        let taps = Taps::new(8, 4, 2.0, 0.0);
        assert_eq!(taps.count, 4);
        assert_eq!(&taps.weights[4..8], &[0.125, 0.375, 0.375, 0.125]);
        let row: Vec<f32> = (0..24).map(|i| i as f32).collect();
        let mut out = [0.0; 4];
        taps.across::<3>(&row, 2, &mut out);
        assert_eq!(out[1], 3.0 * 2.5 + 2.0);
    }

    /// All tap counts agree with the plain sum.
    #[test]
    fn every_number_of_taps_gives_the_same_as_the_formula() {
        for scale in [0.3, 1.0, 1.2, 1.9, 2.0, 2.6, 3.4, 4.1, 7.0] {
            let inputs = 97;
            let outputs = (inputs as f64 / scale) as usize;
            let taps = Taps::new(inputs, outputs, scale, 0.0);
            let plane: Vec<u8> = (0..inputs).map(|i| ((i * 37) % 256) as u8).collect();
            let row: Vec<f32> = plane.iter().map(|b| f32::from(*b)).collect();
            let mut out = vec![0.0; outputs];
            taps.across::<1>(&row, 0, &mut out);
            for (y, out) in out.iter().enumerate() {
                let mut column = [0.0];
                taps.rows(&plane, 1, y, &mut column);
                assert!((column[0] - out).abs() < 1e-3, "scale {scale} output {y}: {} {out}", column[0]);
            }
        }
    }
}
