//! `farout eval merge`: the parts of a run that was spread over machines, judged as one.

use std::sync::Arc;

use anyhow::Result;

use super::eval_output::{self, EvalProgress};
use crate::cli::EvalMergeArgs;
use crate::eval::progress::Progress;
use crate::eval::shards;

/// Judges the parts together.
///
/// # Errors
/// Parts that are missing or do not belong together.
pub fn merge(args: &EvalMergeArgs) -> Result<()> {
    eval_output::try_places(&args.out)?;
    let shown = Arc::new(EvalProgress::new());
    let progress: Arc<dyn Progress> = Arc::clone(&shown) as Arc<dyn Progress>;
    let ended = shards::merge(&args.parts, args.dataset.clone(), args.out.scores.as_deref(), &progress);
    shown.finish();
    eval_output::write(&args.out, &ended?)
}
