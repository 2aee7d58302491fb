//! The GPU's search and model, checked and timed through the library, one part per call: what `scripts/gpu-check` runs.
//!
//! Answers are lines of JSON on standard output; one with anything in `wrong` makes the program end with 1. The same code
//! runs on the CPU with `--device cpu`.

mod engine;
mod model;
mod nearest;
mod timing;

use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use clap::{Parser, Subcommand};
// By these paths the problems that the search's tests are made of find them.
use farout::gpu_stream::Gpus;
use farout::{bank, grid};

use engine::On;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    part: Part,
    /// Where the search runs: cuda or cpu
    #[arg(long, global = true, default_value = "cuda")]
    device: On,
    /// Folder of ready GPU code
    #[arg(long, global = true)]
    kernels: Option<PathBuf>,
    /// Falsify one distance of each search, to see that it is noticed
    #[arg(long, global = true)]
    falsify: bool,
    /// Leave 8-bit codes out: compare all rows in half precision, as GPUs without tensor cores do
    #[arg(long, global = true)]
    halves: bool,
    /// Milliseconds to spend on each figure
    #[arg(long, global = true, default_value_t = 2000.0)]
    patience: f64,
}

#[derive(Subcommand)]
enum Part {
    /// The GPU, as its driver names it
    Card,
    /// Hard problems, against double precision
    Answers {
        /// Only those that an emulator or a checker of memory accesses gets through in seconds
        #[arg(long)]
        small: bool,
    },
    /// One table: milliseconds per kernel and per frame
    Search {
        /// Patches, rows, width, k
        #[arg(long, value_delimiter = ',')]
        shape: Vec<usize>,
        /// Folder that gets the features for the peers
        #[arg(long)]
        features: PathBuf,
    },
    /// The tables of the default recipe: three of references, three of known outliers
    Recipe {
        /// Patches, rows, width, k
        #[arg(long, value_delimiter = ',')]
        shape: Vec<usize>,
    },
    /// A model and its search as a configuration opens them: milliseconds per step
    Model {
        /// The configuration
        #[arg(long)]
        config: PathBuf,
        /// Frames to judge
        #[arg(long)]
        source: String,
        /// Runs that are timed
        #[arg(long, default_value_t = 30)]
        runs: usize,
        /// File that gets the features and distances of the first frame, raw little-endian f32
        #[arg(long)]
        numbers: PathBuf,
    },
}

/// Prints one answer.
fn tell(answer: &serde_json::Value) {
    println!("{answer}");
}

fn main() -> Result<()> {
    let args = Args::parse();
    let on = engine::Opener {
        on: args.device,
        kernels: args.kernels,
        falsify: args.falsify,
        halves: args.halves,
        patience: args.patience,
    };
    let four = |shape: Vec<usize>| -> Result<[usize; 4]> {
        <[usize; 4]>::try_from(shape)
            .map_err(|given| anyhow!("--shape takes patches,rows,width,k, not {} numbers", given.len()))
    };
    let wrong = match args.part {
        Part::Card => {
            let card = farout::nearest::cuda::Driver.gpu(0).map_err(anyhow::Error::msg)?;
            tell(&serde_json::json!({
                "name": card.name, "architecture": card.architecture, "driver": card.driver,
            }));
            0
        }
        Part::Answers { small } => nearest::answers(&on, small),
        Part::Search { shape, features } => timing::search(&on, four(shape)?, &features)?,
        Part::Recipe { shape } => timing::recipe(&on, four(shape)?)?,
        Part::Model { config, source, runs, numbers } => {
            model::model(&on, &config, &source, runs.max(1), &numbers)?;
            0
        }
    };
    ensure!(wrong == 0, "{wrong} answers are wrong");
    Ok(())
}
