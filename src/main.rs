//! The program `farout`: parse, log, dispatch, exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use farout::cli::{Cli, LogFormat};
use farout::cmd;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log(&cli);
    match cmd::dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not eprintln!, which panics where nobody reads standard error any more.
            let _ = writeln!(std::io::stderr(), "farout: {}", farout::causes::in_one_line(&error));
            ExitCode::from(cmd::exit_code(&error))
        }
    }
}

/// Log lines go to standard error; standard output is for results.
fn log(cli: &Cli) {
    let level = match (cli.quiet, cli.verbose) {
        (true, _) => "error",
        (false, 0) => "warn,farout=info",
        (false, 1) => "info,farout=debug",
        (false, _) => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // A line that standard error does not take is lost: told there with eprintln!, the daemon would panic.
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .log_internal_errors(false);
    match cli.log_format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().init(),
    }
}
