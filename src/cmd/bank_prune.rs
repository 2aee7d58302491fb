//! `farout bank prune`: a smaller bank that still covers the large one.

use anyhow::Result;

use super::bank_build::{BankProgress, tell};
use super::{apart, signals};
use crate::bank::Bank;
use crate::cli::{PruneArgs, PruneBy};
use crate::collect::{self, PruneConfig, PruneMethod};
use crate::file;
use crate::stop::Stop;

/// Prunes a bank and writes the smaller one whole.
///
/// # Errors
/// If the bank cannot be opened, or is smaller than what it shall be pruned to.
pub fn prune(args: &PruneArgs) -> Result<()> {
    apart::from_inputs(&[&args.input], &args.output)?;
    let bank = Bank::open(&args.input, 1)?;
    file::try_place(&args.output)?;
    let stop = Stop::new();
    signals::listen(&stop)?;
    let method = match args.method {
        PruneBy::KCenter => PruneMethod::KCenter,
        PruneBy::Random => PruneMethod::Random,
    };
    let config =
        PruneConfig { to: args.to, method, seed: args.seed, keep_held_out: args.keep_held_out, threads: 0 };
    let mut shown = match method {
        PruneMethod::KCenter => BankProgress::new("centres", "features").then("covering radius"),
        PruneMethod::Random => BankProgress::new("covering radius", "features"),
    };
    let built = collect::prune(&bank, &config, &mut shown, &stop);
    shown.end();
    built?.write(&args.output)?;
    tell(&args.output, args.json)
}
