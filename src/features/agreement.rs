//! Whether two sessions of a model give the same features.

use anyhow::Context;

use super::golden;
use super::preprocess::ModelInput;
use super::session::Session;
use super::shortcut::close;
use crate::grid::Features;
use crate::model::{Loaded, SizeRule};

/// Size of the golden frame for a model of any size.
const SIDE: usize = 224;

/// How often the features of a step are compared before it is trusted: a CUDA graph is captured after a few runs, and
/// what it repeats has to be right for other inputs than the one it was captured with.
const ROUNDS: usize = 4;

/// Width and height of the golden frame for this model.
pub(super) fn golden_size(session: &Session, loaded: &Loaded) -> (usize, usize) {
    match loaded.size {
        SizeRule::Fixed(size) => (size.width, size.height),
        SizeRule::Height(_) | SizeRule::Frame => {
            let place = session.input_spec().place(SIDE, SIDE);
            (place.width, place.height)
        }
    }
}

/// The features of the golden frame.
pub(super) fn on_golden_frame(session: &mut Session, loaded: &Loaded) -> Result<Features, String> {
    let (width, height) = golden_size(session, loaded);
    let mut features = Features::default();
    session
        .run(&golden::input(width, height), &mut features, None)
        .context("on the golden frame")
        .map_err(|why| format!("{why:#}"))?;
    Ok(features)
}

/// Whether `other` gives the features that `right` gives, for all inputs in turn, again and again.
///
/// # Errors
/// By how much it does not, or why it fails.
pub(super) fn agree(
    right: &mut Session,
    other: &mut Session,
    inputs: &[ModelInput],
    tolerance: f32,
) -> Result<(), String> {
    let run = |session: &mut Session, input: &ModelInput| -> Result<Features, String> {
        let mut features = Features::default();
        session.run(input, &mut features, None).map_err(|why| format!("{why:#}"))?;
        Ok(features)
    };
    let wanted = inputs.iter().map(|input| run(right, input)).collect::<Result<Vec<_>, _>>()?;
    for _ in 0..ROUNDS {
        for (input, wanted) in inputs.iter().zip(&wanted) {
            close(wanted, &run(other, input)?, tolerance)?;
            if let Some(withheld) = other.withheld().first() {
                return Err(withheld.why.clone());
            }
        }
    }
    Ok(())
}
