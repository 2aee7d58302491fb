//! Distance and uncertainty in one score: each on a scale of its own, then added.

use super::{Method, Parametric, ScoreError, Upsampler};
use crate::bank::{MethodCalibration, ReferenceRecord};
use crate::grid::{Grid, ScoreMap};

/// `(score - origin) / unit`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// What becomes 0.
    pub origin: f32,
    /// What becomes 1 more.
    pub unit: f32,
}

/// The scales of a fused score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fusion {
    /// The score made of the logits.
    pub partner: Parametric,
    /// Its scale.
    pub uncertainty: Scale,
    /// The scale of the distances.
    pub distance: Scale,
}

impl Fusion {
    /// cDNP: `(s - min) / (max - min) + d / d_max`, without clipping. `min` and `max` are those of s over all cells
    /// of the reference images, `d_max` is the largest mean distance to the k nearest others among reference
    /// features drawn at random.
    ///
    /// # Errors
    /// [`ScoreError::NoStatistics`], [`ScoreError::OtherK`].
    pub fn cdnp(
        partner: Parametric,
        reference: Option<&ReferenceRecord>,
        k: usize,
    ) -> Result<Fusion, ScoreError> {
        let missing = |what: String| ScoreError::NoStatistics { method: Method::Cdnp.name(), what };
        let name = partner.name();
        let range = reference.and_then(|known| known.range(name));
        let range = range.ok_or_else(|| missing(format!("the range of {name} over its reference images")))?;
        let far = reference.and_then(|known| known.distance.as_ref());
        let far = far.ok_or_else(|| {
            missing(
                "how far its features lie from each other (told where all parts are searched as one)"
                    .to_owned(),
            )
        })?;
        if far.k != k {
            return Err(ScoreError::OtherK { measured: far.k, k });
        }
        Fusion {
            partner,
            uncertainty: Scale { origin: range.min, unit: range.max - range.min },
            distance: Scale { origin: 0.0, unit: far.largest },
        }
        .checked(Method::Cdnp)
    }

    /// The sum of z-scores: `(s - mean_s) / deviation_s + (d - mean_d) / deviation_d`, over the cells of the
    /// held-out frames.
    ///
    /// # Errors
    /// [`ScoreError::NoStatistics`], [`ScoreError::OtherK`].
    pub fn zsum(partner: Parametric, methods: &[MethodCalibration], k: usize) -> Result<Fusion, ScoreError> {
        let of = |name: &str| {
            methods.iter().find(|known| known.method == name).ok_or_else(|| ScoreError::NoStatistics {
                method: Method::Zsum.name(),
                what: format!("mean and deviation of {name} over held-out frames"),
            })
        };
        let (uncertainty, distance) = (of(partner.name())?, of(Method::Knn.name())?);
        if let Some(measured) = distance.k.filter(|measured| *measured != k) {
            return Err(ScoreError::OtherK { measured, k });
        }
        let scale = |of: &MethodCalibration| Scale { origin: of.mean as f32, unit: of.deviation as f32 };
        Fusion { partner, uncertainty: scale(uncertainty), distance: scale(distance) }.checked(Method::Zsum)
    }

    fn checked(self, method: Method) -> Result<Fusion, ScoreError> {
        let usable = |scale: Scale| scale.origin.is_finite() && scale.unit.is_normal() && scale.unit > 0.0;
        if usable(self.uncertainty) && usable(self.distance) {
            return Ok(self);
        }
        let what = "scores that differ from each other: all that were measured are alike".to_owned();
        Err(ScoreError::NoStatistics { method: method.name(), what })
    }
}

/// Fuses maps; keeps its buffers from frame to frame.
#[derive(Debug, Clone)]
pub struct Fuser {
    fusion: Fusion,
    upsampler: Upsampler,
    widened: Vec<f32>,
}

impl Fuser {
    /// Fuses by these scales.
    pub fn new(fusion: Fusion) -> Fuser {
        Fuser { fusion, upsampler: Upsampler::new(), widened: Vec::new() }
    }

    /// The scales.
    pub fn fusion(&self) -> &Fusion {
        &self.fusion
    }

    /// Fills `out` with the fused scores on the finer of both grids; the coarser map is interpolated bilinearly.
    /// A cell that cannot be judged by one of both is `f32::INFINITY`.
    pub fn step(
        &mut self,
        (distance_grid, distances): (Grid, &[f32]),
        (uncertainty_grid, uncertainties): (Grid, &[f32]),
        out: &mut ScoreMap,
    ) {
        let Fuser { fusion, upsampler, widened } = self;
        out.grid =
            if distance_grid.len() > uncertainty_grid.len() { distance_grid } else { uncertainty_grid };
        let mut at_it = |grid: Grid, cells: &[f32], out: &mut Vec<f32>, to: Grid| {
            if grid == to {
                out.clear();
                out.extend_from_slice(cells);
            } else {
                upsampler.resample(grid, cells, to.cols, to.rows, out);
            }
        };
        at_it(uncertainty_grid, uncertainties, &mut out.data, out.grid);
        at_it(distance_grid, distances, widened, out.grid);
        let Scale { origin: zero_s, unit: unit_s } = fusion.uncertainty;
        let Scale { origin: zero_d, unit: unit_d } = fusion.distance;
        for (score, distance) in out.data.iter_mut().zip(widened) {
            let fused = (*score - zero_s) / unit_s + (*distance - zero_d) / unit_d;
            *score = if fused.is_finite() { fused } else { f32::INFINITY };
        }
    }
}
