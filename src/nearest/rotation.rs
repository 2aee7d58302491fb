//! An orthogonal rotation (placeholder during work).

/// A rotation.
pub(super) struct Rotation {
    pub(super) error: f64,
    pub(super) stretch: f64,
}

impl Rotation {
    pub(super) fn apply(&self, _centred: &[f32], _turned: &mut [f32]) {}
}
