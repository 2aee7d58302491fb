//! What 8-bit integers do to a prepared model: it is quantised and run beside itself.

use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use prost::Message;
use serde::Serialize;

use super::distances::{DistanceEffect, Pair, effect};
use super::parity::Picture;
use crate::features::{BareSession, Runtime, RuntimeConfig, byte_products};
use crate::model::InputSize;
use crate::model::assemble::FEATURES;
use crate::model::onnx::ModelProto;
use crate::model::quantise::quantise;

/// Runs of each graph that are timed; the fastest counts.
const RUNS: usize = 3;

/// What is told of a quantisation.
#[derive(Debug, Clone, Serialize)]
pub struct QuantisedTold {
    /// Products that are in integers now.
    pub products: usize,
    /// Smaller products, which stay in floats.
    pub left: usize,
    /// Bytes of the file in floats.
    pub bytes_before: usize,
    /// How far the outputs are from those of the floats.
    pub effects: Vec<Effect>,
    /// How far distances are off, by patches of the pictures that are no noise; absent if these are too few.
    pub distances: Option<DistanceEffect>,
    /// Whether signed 8-bit products saturate on this processor, so that farout takes these weights as unsigned.
    pub saturates: bool,
    /// Milliseconds of a run in floats and in integers, the fastest of three on this machine.
    pub run_ms: (f64, f64),
}

/// The effect on one output for one picture.
#[derive(Debug, Clone, Serialize)]
pub struct Effect {
    /// The picture.
    pub picture: String,
    /// The output.
    pub output: String,
    /// Length of the difference as part of the length of the output in floats.
    pub relative_l2: f64,
}

/// Quantises `model`, whose bytes are `before`; how far it is from what it was on `pictures`.
///
/// # Errors
/// If there is nothing to quantise, or one of both does not run.
pub fn quantised(
    model: &mut ModelProto,
    before: &[u8],
    pictures: &[Picture],
    (input, size): (&str, InputSize),
    runtime: &RuntimeConfig,
) -> Result<QuantisedTold> {
    let done = quantise(model).map_err(|why| anyhow!("--quantize: {why}"))?;
    let after = model.encode_to_vec();
    let mut floats = BareSession::open(before, runtime, true)?;
    let mut integers = BareSession::open(&after, runtime, true).context("the quantised graph")?;
    let dims = [1, 3, size.height, size.width];
    let (mut effects, mut pairs, mut width) = (Vec::new(), Vec::new(), 1);
    let mut fastest = [f64::INFINITY; 2];
    for picture in pictures {
        let image = Some((input, dims, &picture.data[..]));
        for (right, got) in floats.run(image)?.iter().zip(integers.run(image)?) {
            let (Some(right), Some(numbers)) = (right.floats(), got.floats()) else { continue };
            if got.name() == FEATURES && !picture.is_noise {
                let sides = got.dims.get(1..3).map(|sides| (sides[0] as usize, sides[1] as usize));
                width = got.dims.last().map_or(0, |side| *side as usize);
                pairs.push(Pair {
                    grid: sides.unwrap_or_default(),
                    before: right.clone(),
                    after: numbers.clone(),
                });
            }
            effects.push(Effect {
                picture: picture.name.clone(),
                output: got.name().to_owned(),
                relative_l2: relative_l2(&right, &numbers),
            });
        }
        for _ in 0..RUNS {
            for (session, fastest) in [&mut floats, &mut integers].into_iter().zip(&mut fastest) {
                let start = Instant::now();
                session.run(image)?;
                *fastest = fastest.min(start.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    let distances = effect(&pairs, width).context("distances of the quantised model")?;
    let (products, left) = (done.products, done.left);
    let bytes_before = before.len();
    let saturates = byte_products::saturate(&Runtime::load(runtime.library.as_deref())?).unwrap_or(false);
    Ok(QuantisedTold { products, left, bytes_before, effects, distances, saturates, run_ms: fastest.into() })
}

fn relative_l2(right: &[f32], got: &[f32]) -> f64 {
    let off: f64 = right.iter().zip(got).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    let all: f64 = right.iter().map(|a| f64::from(*a).powi(2)).sum();
    (off / all.max(f64::MIN_POSITIVE)).sqrt()
}
