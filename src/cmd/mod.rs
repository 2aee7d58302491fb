//! The verbs: one file per subcommand, and what the end of each means to the shell.

mod answer;
mod apart;
mod bank_add;
mod bank_build;
mod bank_inspect;
mod bank_merge;
mod bank_plan;
mod bank_prune;
mod bench;
mod check;
mod compare;
mod dataset_check;
mod doctor;
mod eval;
mod eval_merge;
mod eval_output;
mod kernels;
mod learn;
mod limited;
mod metrics;
mod metrics_text;
mod model_fetch;
mod model_inspect;
mod model_prepare;
mod model_warm;
mod outputs;
mod parts;
mod progress;
mod replay;
mod reported;
mod run;
mod run_settings;
mod screen;
mod settings;
mod signals;
mod unread;
mod watch;

use crate::cli::{BankCommand, Command, DatasetCommand, EvalCommand, KernelsCommand, ModelCommand};
use crate::config::ConfigError;
use crate::flow::FlowError;
use crate::live::GaveUp;
use crate::source::SourceError;

/// Runs one subcommand to its end.
///
/// # Errors
/// Whatever ends it early; [`exit_code`] tells what that means to the shell.
pub fn dispatch(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Learn(args) => learn::learn(&args),
        Command::Replay(args) => replay::replay(&args),
        Command::Bank(BankCommand::Build(args)) => bank_build::build(&args),
        Command::Bank(BankCommand::Plan(args)) => bank_plan::plan(&args),
        Command::Bank(BankCommand::Add(args)) => bank_add::add(&args),
        Command::Bank(BankCommand::Merge(args)) => bank_merge::merge(&args),
        Command::Bank(BankCommand::Prune(args)) => bank_prune::prune(&args),
        Command::Bank(BankCommand::Inspect(args)) => bank_inspect::inspect(&args),
        Command::Kernels(KernelsCommand::Build(args)) => kernels::build(&args),
        Command::Model(ModelCommand::Fetch(args)) => model_fetch::fetch(&args),
        Command::Model(ModelCommand::Inspect(args)) => model_inspect::inspect(&args),
        Command::Model(ModelCommand::Prepare(args)) => model_prepare::prepare(&args),
        Command::Model(ModelCommand::Warm(args)) => model_warm::warm(&args),
        Command::Eval(args) => match &args.command {
            Some(EvalCommand::Merge(merge)) => eval_merge::merge(merge),
            None => eval::eval(&args.run),
        },
        Command::Compare(args) => compare::compare(&args),
        Command::Dataset(DatasetCommand::Check(args)) => dataset_check::check(&args),
        Command::Metrics(args) => metrics::metrics(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::Check(args) => check::check(&args),
        Command::Doctor(args) => doctor::doctor(&args),
    }
}

/// The exit code of an error, as `farout --help` lists them.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<GaveUp>().is_some() {
        return 4;
    }
    let cut_off = |error: &SourceError| matches!(error, SourceError::CutOff { .. });
    for cause in error.chain() {
        if cause.is::<ConfigError>() {
            return 2;
        }
        if cause.downcast_ref::<SourceError>().is_some_and(cut_off) {
            return 3;
        }
        if let Some(FlowError::Source(source)) = cause.downcast_ref::<FlowError>()
            && cut_off(source)
        {
            return 3;
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_their_exit_codes() {
        let cut =
            || SourceError::CutOff { location: "x".into(), last_frame: 1, last_secs: 0.1, why: "eof".into() };
        for (error, code) in [
            (anyhow::anyhow!("x"), 1),
            (anyhow::Error::from(ConfigError::Invalid("x".into())), 2),
            (anyhow::Error::from(ConfigError::Invalid("x".into())).context("reading"), 2),
            (anyhow::Error::from(cut()), 3),
            (anyhow::anyhow!("the encoder").context(GaveUp).context("stream \"front\""), 4),
            (anyhow::Error::from(FlowError::Source(cut())).context("replay"), 3),
            (FlowError::Source(SourceError::unreadable("x", "y")).into(), 1),
        ] {
            assert_eq!(exit_code(&error), code, "{error:#}");
        }
    }
}
