//! Where a frame lies in the model's input: the rounding rule, and the grid that comes of it.
//!
//! All sides are counted in *units*: the smallest number of pixels that is a whole number of
//! feature patches, of logit cells and of the configured `multiple`.
//!
//! - Size by the frame or by height: the input's height is the wanted one rounded to the nearest
//!   unit, its width `frame width x height / frame height` rounded to the nearest unit; both at
//!   least one unit. The picture covers the whole input, stretched by less than half a unit.
//! - Fixed size: the picture is scaled by `min(W / frame width, H / frame height)`, each side
//!   rounded to the nearest unit, at least one, at most what fits in the input. It lies at the
//!   top left; the rest holds the mean colour (0 after normalisation). Features and logits of the
//!   rest are cut off before anybody sees them.

use crate::grid::{Grid, Patch};
use crate::model::{InputSize, Normalisation, SizeRule};

/// All that preprocessing has to know of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InputSpec {
    /// The input's size as it follows from the frame's.
    pub size: SizeRule,
    /// Sides of the content are multiples of this many pixels.
    pub unit: usize,
    /// How pixels become numbers.
    pub normalisation: Normalisation,
}

/// Sizes in pixels of the model's input and of the picture in its top left corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Placement {
    /// Input width.
    pub width: usize,
    /// Input height.
    pub height: usize,
    /// Width of the picture within.
    pub content_width: usize,
    /// Height of the picture within.
    pub content_height: usize,
}

/// `n / d` rounded to the nearest whole number, halves up.
fn round_div(n: usize, d: usize) -> usize {
    (2 * n + d) / (2 * d).max(1)
}

impl InputSpec {
    /// The same for inputs of this height, or with the same size rule without one.
    ///
    /// # Errors
    /// In words, if the model takes inputs of one size only.
    pub fn at_height(&self, height: Option<usize>) -> Result<InputSpec, String> {
        match (height, self.size) {
            (None, _) => Ok(*self),
            (Some(height), SizeRule::Frame | SizeRule::Height(_)) => {
                Ok(InputSpec { size: SizeRule::Height(height), ..*self })
            }
            (Some(height), SizeRule::Fixed(size)) => Err(format!(
                "height {height} cannot be, the model's input is always {size}; leave height out: crops and tiles are fitted into {size}"
            )),
        }
    }

    /// Where a `frame_width x frame_height` frame lies (both at least 1).
    pub fn place(&self, frame_width: usize, frame_height: usize) -> Placement {
        let (fw, fh, unit) = (frame_width.max(1), frame_height.max(1), self.unit.max(1));
        let whole = |width: usize, height: usize| Placement {
            width,
            height,
            content_width: width,
            content_height: height,
        };
        match self.size {
            SizeRule::Frame => whole(round_div(fw, unit).max(1) * unit, round_div(fh, unit).max(1) * unit),
            SizeRule::Height(height) => {
                let rows = round_div(height, unit).max(1);
                whole(round_div(fw * height, fh * unit).max(1) * unit, rows * unit)
            }
            SizeRule::Fixed(InputSize { width, height }) => {
                // Compared without division: W / fw <= H / fh.
                let (num, den) = if width * fh <= height * fw { (width, fw) } else { (height, fh) };
                let side = |frame: usize, input: usize| {
                    round_div(frame * num, den * unit).clamp(1, (input / unit).max(1)) * unit
                };
                Placement {
                    width,
                    height,
                    content_width: side(fw, width).min(width),
                    content_height: side(fh, height).min(height),
                }
            }
        }
    }
}

impl Placement {
    /// The share of the input that the picture fills.
    pub fn filled(&self) -> f64 {
        let area = |width: usize, height: usize| (width * height) as f64;
        area(self.content_width, self.content_height) / area(self.width, self.height).max(1.0)
    }

    /// The cells of `patch` pixels that the picture covers.
    pub fn grid(&self, patch: usize) -> Grid {
        Grid { rows: self.content_height / patch.max(1), cols: self.content_width / patch.max(1) }
    }

    /// The cells that the whole input has.
    pub fn input_grid(&self, patch: Patch) -> Grid {
        patch.grid(self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_placed_by_the_rule() {
        let fixed = |w, h| SizeRule::Fixed(InputSize { width: w, height: h });
        // rule, unit, frame, expected input and content
        let cases = [
            (SizeRule::Height(364), 14, (1280, 720), (644, 364), (644, 364)),
            (SizeRule::Height(364), 14, (960, 540), (644, 364), (644, 364)),
            (SizeRule::Height(364), 14, (480, 360), (490, 364), (490, 364)),
            (SizeRule::Height(370), 14, (480, 360), (490, 364), (490, 364)),
            (SizeRule::Frame, 16, (639, 361), (640, 368), (640, 368)),
            (SizeRule::Frame, 16, (3, 3), (16, 16), (16, 16)),
            (fixed(768, 384), 16, (1280, 720), (768, 384), (688, 384)),
            (fixed(768, 384), 16, (2048, 1024), (768, 384), (768, 384)),
            (fixed(768, 384), 16, (720, 1280), (768, 384), (224, 384)),
            (fixed(768, 384), 16, (10_000, 1), (768, 384), (768, 16)),
            (fixed(1024, 512), 32, (480, 360), (1024, 512), (672, 512)),
            (fixed(225, 225), 16, (100, 100), (225, 225), (224, 224)),
        ];
        for (size, unit, (fw, fh), (width, height), (content_width, content_height)) in cases {
            let spec =
                InputSpec { size, unit, normalisation: crate::model::ModelConfig::default().normalisation() };
            let expected = Placement { width, height, content_width, content_height };
            assert_eq!(spec.place(fw, fh), expected, "{size} unit {unit} frame {fw}x{fh}");
        }
        let narrow = Placement { width: 100, height: 50, content_width: 50, content_height: 50 };
        assert_eq!(narrow.filled(), 0.5);
        let place = Placement { width: 768, height: 384, content_width: 688, content_height: 384 };
        assert_eq!(place.grid(16), Grid { rows: 24, cols: 43 });
        assert_eq!(place.input_grid(Patch { side: 16, padded: false }), Grid { rows: 24, cols: 48 });
    }
}
