//! From the cells of a score map to the pixels of its picture, as configured.

use super::config::Upsampling;
use super::{GuidedUpsampler, ScoreConfig, Upsampler};
use crate::grid::{Grid, PixelScores, ScoreMap};
use crate::luma::Luma;

/// Enlarges score maps; keeps its buffers from frame to frame.
#[derive(Debug, Clone)]
pub struct Enlarger {
    bilinear: Upsampler,
    guided: Option<Box<GuidedUpsampler>>,
    at_luma: PixelScores,
}

impl Enlarger {
    /// As `config` says.
    pub fn new(config: &ScoreConfig) -> Enlarger {
        let guided = || Box::new(GuidedUpsampler::new(config.guided_radius, config.guided_epsilon));
        Enlarger {
            bilinear: Upsampler::new(),
            guided: (config.upsample == Upsampling::Guided).then(guided),
            at_luma: PixelScores::default(),
        }
    }

    /// Whether it looks at the picture.
    pub fn needs_luma(&self) -> bool {
        self.guided.is_some()
    }

    /// Fills `out` with the scores of `width` x `height` pixels. `luma` is the picture's brightness; of another size,
    /// what was found in it is interpolated. Unused if it is not needed.
    pub fn step(
        &mut self,
        map: &ScoreMap,
        luma: &Luma,
        (width, height): (usize, usize),
        out: &mut PixelScores,
    ) {
        match &mut self.guided {
            None => self.bilinear.step(map, width, height, out),
            Some(guided) if (luma.width, luma.height) == (width, height) => guided.step(map, luma, out),
            Some(guided) => {
                guided.step(map, luma, &mut self.at_luma);
                let pixels = Grid { rows: luma.height, cols: luma.width };
                (out.width, out.height) = (width, height);
                self.bilinear.resample(pixels, &self.at_luma.data, width, height, &mut out.data);
            }
        }
    }
}
