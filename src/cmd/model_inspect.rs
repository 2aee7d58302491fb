//! `farout model inspect`: what an ONNX file is, and what in it can serve as features.

use anyhow::Result;

use super::answer::answer;
use crate::cli::ModelInspectArgs;
use crate::features::RuntimeConfig;
use crate::model::survey::Survey;
use crate::prepare;

/// Prints what a model holds.
///
/// # Errors
/// If the file is no model, or does not run.
pub fn inspect(args: &ModelInspectArgs) -> Result<()> {
    let runtime = RuntimeConfig { library: args.library.clone(), ..RuntimeConfig::default() };
    let layout = args.layout.map(Into::into);
    let look = prepare::Look { size: args.size, layout, constants: args.constant.clone() };
    let examined = prepare::examine(&args.model, &look, &runtime)?;
    let survey = Survey::of(&examined.traced);
    let inspection = prepare::inspection(&examined.facts, &survey);
    answer(args.json, &inspection)
}
