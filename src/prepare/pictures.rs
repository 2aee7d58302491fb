//! Pictures that a prepared model is held against its original on.

use anyhow::{Context, Result, bail};

use super::parity::Picture;
use crate::features::{InputSpec, ModelInput, Preprocessor};
use crate::model::InputSize;
use crate::source::{self, Purpose, SourceConfig};
use crate::stop::Stop;

/// Noise, a rendered road, and the pictures of the user.
pub fn pictures(spec: &InputSpec, size: InputSize, given: &[String]) -> Result<Vec<Picture>> {
    let mut pictures: Vec<Picture> = (1..=2).map(|seed| noise(spec, size, seed)).collect();
    let drive = format!(
        "synthetic:seed=7,width={},height={},frames=1",
        size.width.max(64) & !1,
        size.height.max(64) & !1
    );
    let mut preprocessor = Preprocessor::new(spec);
    for location in std::iter::once(&drive).chain(given) {
        let opened = source::open(location, &SourceConfig::default(), Purpose::Offline, Stop::new());
        let shown = source::Address::from(location.as_str());
        let mut opened = opened.with_context(|| format!("pictures to compare on: {shown}"))?;
        let mut any = false;
        while let Some(frame) = opened.next()? {
            let mut input = ModelInput::default();
            preprocessor.step(&frame, &mut input)?;
            let name = if *location == drive {
                "a rendered road".to_owned()
            } else {
                format!("{shown} #{}", frame.id)
            };
            pictures.push(Picture { name, data: std::mem::take(&mut input.data), is_noise: false });
            any = true;
        }
        if !any {
            bail!("pictures to compare on: {shown} holds none");
        }
    }
    Ok(pictures)
}

/// Uniform noise over all values of a pixel, from a linear congruential generator.
fn noise(spec: &InputSpec, size: InputSize, seed: u32) -> Picture {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as f32
    };
    let norm = &spec.normalisation;
    let plane = size.width * size.height;
    let data =
        (0..3 * plane).map(|n| (next() * norm.scale - norm.mean[n / plane]) / norm.std[n / plane]).collect();
    Picture { name: format!("noise {seed}"), data, is_noise: true }
}
