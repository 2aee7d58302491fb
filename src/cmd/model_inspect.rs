//! `farout model inspect`: what an ONNX file is, and what in it can serve as features.

use std::io::Write;

use anyhow::Result;

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
    let examined = prepare::examine(&args.model, args.size, &runtime)?;
    let survey = Survey::of(&examined.traced);
    let inspection = prepare::inspection(&examined.facts, &survey);
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &inspection)?;
        writeln!(out)?;
    } else {
        write!(out, "{inspection}")?;
    }
    Ok(())
}
