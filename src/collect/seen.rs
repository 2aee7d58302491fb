//! What a view of a held-out frame shows: kept as 16-bit features, like the frame itself.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::labels::LabelMask;
use crate::grid::{Features, Grid, Logits};
use crate::views::Window;

/// The patches of one picture or of one view of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) grid: Grid,
    pub(super) features: Vec<f16>,
    /// Patches that are neither void nor faulty.
    pub(super) valid: Vec<bool>,
    /// The class that the model sees in each patch; empty if it says nothing.
    pub(super) classes: Vec<u16>,
}

impl Seen {
    /// The features of the whole picture, or of a view. `void` marks patches whose label is void.
    pub(super) fn new(features: &Features, void: &[bool], classes: Vec<u16>) -> Seen {
        let mut halves = vec![f16::ZERO; features.data.len()];
        halves.convert_from_f32_slice(&features.data);
        let rows = halves.chunks_exact(features.width.max(1)).enumerate();
        let valid = rows
            .map(|(i, row)| !void.get(i).is_some_and(|void| *void) && row.iter().all(|x| x.is_finite()))
            .collect();
        Seen { grid: features.grid, features: halves, valid, classes }
    }

    /// The features of what `window` shows of a picture with this label and these logits.
    pub(super) fn through(
        window: Window,
        features: &Features,
        label: Option<(&LabelMask, &[u16])>,
        logits: Option<&Logits>,
    ) -> Seen {
        let (mut void, mut classes) = (Vec::new(), Vec::new());
        if let Some((mask, values)) = label {
            mask.within(window).void_patches(features.grid, values, &mut void);
        }
        if let Some(logits) = logits {
            logits.patch_classes_in(window, features.grid, &mut classes);
        }
        Seen::new(features, &void, classes)
    }

    /// Its features, as wide as the model gives them.
    pub(super) fn load(&self, width: usize, out: &mut Features) {
        (out.grid, out.width) = (self.grid, width);
        out.data.resize(self.features.len(), 0.0);
        self.features.convert_to_f32_slice(&mut out.data);
    }
}
