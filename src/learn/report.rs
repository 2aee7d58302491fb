//! `REPORT.html`: what was learnt from what, how it judges the frames that were held out, and what to beware of.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;

use super::kept::Set;
use super::progress::Progress;
use super::{Stopped, picture};
use crate::bank::{Summary, ThresholdLine};
use crate::collect::{BuildConfig, Input, Place, Side, Split};
use crate::config::{Config, Horizon};
use crate::detector::{Detector, Judged};
use crate::eval::report::html::{escape, page as whole, section, table};
use crate::eval::report::pictures::address;
use crate::flow::{Flow, Pace, Stage};
use crate::frame::{Frame, PixelFormat};
use crate::health::Health;
use crate::identity::ModelIdentity;
use crate::overlay::{Overlay, OverlayConfig};
use crate::pool::Pool;
use crate::source::images::Images;
use crate::stop::Stop;
use crate::views::{Crop, ViewsConfig};

/// Held-out frames that are judged for the report.
const JUDGED: usize = 60;
/// Of these, the ones with the largest scores are shown.
const SHOWN: usize = 12;
/// Width of a picture in the report.
const WIDTH: usize = 480;
/// Pictures whose brightness is looked at.
const LOOKED_AT: usize = 40;
/// Mean brightness (0 to 255) below which a picture is one of the night.
const NIGHT: f64 = 60.0;

/// A held-out frame as the detector sees it.
struct Seen {
    name: String,
    largest: f32,
    regions: usize,
    /// The picture with what the daemon would draw, as a `data:` address.
    address: String,
}

/// What the page tells of.
pub(super) struct Told<'a> {
    pub(super) recipe: &'a str,
    pub(super) footage: &'a [String],
    pub(super) bank: &'a Summary,
    pub(super) horizon: Option<&'a Horizon>,
    /// All that was learnt from, the last set being that of this call.
    pub(super) sets: &'a [&'a Set],
    /// The pictures of this call.
    pub(super) inputs: &'a [Input],
    pub(super) seed: u64,
    pub(super) warnings: &'a [String],
}

/// What the footage lacks.
pub(super) fn warnings(found: &Summary, sets: &[&Set]) -> Vec<String> {
    let mut warnings = Vec::new();
    let series = sets.iter().map(|set| set.series.len()).sum::<usize>();
    if series < 3 {
        warnings.push(format!(
            "{series} sequence{} of pictures: what is normal elsewhere, in other light and weather, may alarm; add other drives",
            if series == 1 { "" } else { "s" }
        ));
    }
    if found.held_out_frames < 100 {
        let held = found.held_out_frames;
        let told = match found.thresholds.iter().any(ThresholdLine::is_guess) {
            true => "its thresholds are a guess".to_owned(),
            false => format!("thresholds for fewer than 1 in {held} false frames are extrapolated"),
        };
        let (s, were) = if held == 1 { ("", "was") } else { ("s", "were") };
        warnings.push(format!("{held} frame{s} {were} held out: {told}; add footage"));
    }
    if !sets.iter().any(|set| set.has_night) {
        warnings.push("no picture of the night: at night, expect false alarms, or add footage of it".into());
    }
    warnings
}

/// Whether one of some pictures is dark.
pub(super) fn has_night(inputs: &[Input]) -> bool {
    let step = inputs.len().div_ceil(LOOKED_AT).max(1);
    let looked = inputs.iter().step_by(step).filter_map(|input| picture::read(&input.path).ok());
    looked.into_iter().any(|picture| brightness(&picture) < NIGHT)
}

/// How many pictures each series of the footage has.
pub(super) fn series(inputs: &[Input]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for input in inputs {
        *counts.entry(Place::of_still(&input.name).series).or_default() += 1;
    }
    counts
}

/// Mean brightness of every 16th pixel, 0 to 255.
fn brightness(picture: &image::RgbImage) -> f64 {
    let (sum, count) = picture.pixels().step_by(16).fold((0.0, 0.0), |(sum, count), pixel| {
        let [r, g, b] = pixel.0.map(f64::from);
        (sum + 0.299 * r + 0.587 * g + 0.114 * b, count + 1.0)
    });
    sum / f64::max(count, 1.0)
}

/// The page.
///
/// # Errors
/// A detector that does not open, a frame that cannot be judged; [`Stopped`].
pub(super) fn page(
    config: &Config,
    told: &Told<'_>,
    progress: &mut dyn Progress,
    stop: &Stop,
) -> Result<String> {
    let Told { recipe, footage, bank: found, horizon, sets, inputs, seed, warnings } = *told;
    let held = held_out(inputs, seed);
    let step = held.len().div_ceil(JUDGED).max(1);
    let judged: Vec<&Input> = held.iter().copied().step_by(step).collect();
    progress.step("report", Some(judged.len() as u64), "frames");
    let (mut seen, threshold, basis) = judge(config, &judged, stop)?;
    progress.done(seen.len() as u64);
    seen.sort_by(|a, b| b.largest.total_cmp(&a.largest));
    let alarming = seen.iter().filter(|one| one.regions > 0).count();
    let mut body = format!(
        "<h1>Detector</h1><p class=\"note\">Recipe {}, farout {}; features {}; learnt from {}</p>",
        escape(recipe),
        escape(&found.farout),
        escape(&features(&found.model)),
        escape(&footage.join(", "))
    );
    if !warnings.is_empty() {
        let lines: String = warnings.iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
        body.push_str(&section("Warnings", "What the footage lacks.", &format!("<ul>{lines}</ul>")));
    }
    let series = sets.iter().flat_map(|set| &set.series);
    let series: Vec<Vec<String>> =
        series.map(|(name, count)| vec![escape(name), count.to_string()]).collect();
    let explained = format!(
        "{} pictures, {} of them held out for calibration; {} reference features of {} numbers from {} patches.",
        sets.iter().flat_map(|set| set.series.values()).sum::<usize>(),
        found.held_out_frames,
        found.rows,
        found.stored_width,
        found.build.patches
    );
    body.push_str(&section("Learnt from", &explained, &table(&["sequence", "pictures"], &series)));
    if let Some(horizon) = horizon {
        body.push_str(&closer_look(horizon, &config.views, inputs)?);
    }
    body.push_str(&thresholds(config, found));
    let explained = format!(
        "The {} of {} judged held-out frames{} with the largest scores, as the daemon would show them at the threshold \
         {threshold:.3} ({basis}). {alarming} of {} frames have a region: on normal driving, each is a false one.",
        seen.len().min(SHOWN),
        seen.len(),
        if sets.len() > 1 { " of the footage that was added last" } else { "" },
        seen.len()
    );
    let pictures: String = seen
        .iter()
        .take(SHOWN)
        .map(|one| {
            format!(
                "<figure><img src=\"{}\" alt=\"\"><figcaption>{}: largest score {:.2}, {} region{}</figcaption></figure>",
                one.address,
                escape(&one.name),
                one.largest,
                one.regions,
                if one.regions == 1 { "" } else { "s" }
            )
        })
        .collect();
    body.push_str(&section(
        "Held-out frames",
        &explained,
        &format!("<div class=\"panels\">{pictures}</div>"),
    ));
    Ok(whole("farout detector", &body))
}

/// A picture as wide as those of the report, or as it is if it is smaller.
fn shrunk(picture: &image::RgbImage) -> image::RgbImage {
    let width = (WIDTH as u32).min(picture.width().max(1));
    let height = (picture.height() * width / picture.width().max(1)).max(1);
    image::imageops::thumbnail(picture, width, height)
}

/// A picture as a `data:` address.
fn shown_as(picture: &image::RgbImage) -> Result<String> {
    address(picture.as_raw(), picture.width() as usize, picture.height() as usize)
}

/// The horizon and the crops of `views`, drawn into a picture of the footage.
fn closer_look(horizon: &Horizon, views: &ViewsConfig, inputs: &[Input]) -> Result<String> {
    let Some(input) = inputs.get(inputs.len() / 2) else { return Ok(String::new()) };
    let mut small = shrunk(&picture::read(&input.path)?);
    for view in &views.more {
        let Crop([left, top, right, bottom]) = view.crop;
        frame(&mut small, [left, top, right, bottom], image::Rgb([255, 208, 0]));
    }
    frame(&mut small, [0.0, horizon.row, 1.0, horizon.row], image::Rgb([230, 0, 60]));
    let explained = format!(
        "It is laid for a horizon at {horizon}. The red line should lie where the road meets the sky; if it does not, learn with --horizon."
    );
    let shown = format!(
        "<div class=\"panels\"><figure><img src=\"{}\" alt=\"\"><figcaption>{}: the horizon (red), and what is looked at more closely \
         (yellow)</figcaption></figure></div>",
        shown_as(&small)?,
        escape(&input.name)
    );
    Ok(section("Closer look", &explained, &shown))
}

/// Draws the edges of a rectangle (left, top, right, bottom in shares of the picture), two pixels wide.
fn frame(picture: &mut image::RgbImage, [left, top, right, bottom]: [f64; 4], colour: image::Rgb<u8>) {
    let (width, height) = picture.dimensions();
    let at = |share: f64, length: u32| ((share * f64::from(length)) as u32).min(length.saturating_sub(2));
    let (left, right) = (at(left, width), at(right, width));
    let (top, bottom) = (at(top, height), at(bottom, height));
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let on = |at: u32, edge: u32| at == edge || at == edge + 1;
        let inside = (left..=right + 1).contains(&x) && (top..=bottom + 1).contains(&y);
        if inside && (on(x, left) || on(x, right) || on(y, top) || on(y, bottom)) {
            *pixel = colour;
        }
    }
}

/// The names of the features' parts, or of the tensor.
fn features(model: &ModelIdentity) -> String {
    match model.parts.is_empty() {
        true => model.features.clone(),
        false => model.parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join(", "),
    }
}

/// The thresholds of the detector's score.
fn thresholds(config: &Config, found: &Summary) -> String {
    let method = config.score.method.name();
    let row = |line: &ThresholdLine| {
        let rate = format!("{} %", 100.0 * line.false_frame_rate);
        let from = line.trust();
        vec![rate, format!("{:.3}", line.threshold), from.to_owned()]
    };
    let rows: Vec<_> = found.thresholds.iter().filter(|line| line.method == method).map(row).collect();
    let explained = "The threshold for a share of normal frames that may show a false region (score.false_frame_rate), counted among \
                     the held-out frames, or extrapolated or guessed where those are too few.";
    section("Thresholds", explained, &table(&["false frames", "threshold", "from"], &rows))
}

/// The pictures that the bank's calibration was made of.
fn held_out(inputs: &[Input], seed: u64) -> Vec<&Input> {
    let rules = BuildConfig { seed, ..BuildConfig::default() };
    let places: Vec<Place> = inputs.iter().map(|input| Place::of_still(&input.name)).collect();
    let split = Split::new(rules.split_keys(), &places);
    inputs
        .iter()
        .zip(&places)
        .filter(|(_, place)| split.side(place) == Side::HeldOut)
        .map(|(input, _)| input)
        .collect()
}

/// Judges `inputs` by the detector of `config`; what it saw, and its threshold with where that comes from.
fn judge(config: &Config, inputs: &[&Input], stop: &Stop) -> Result<(Vec<Seen>, f32, String)> {
    let detector = Detector::open(config)?;
    let level = detector.alarms.add(0, &config.score)?;
    let files = inputs.iter().map(|input| (input.path.clone(), Arc::from(input.name.as_str()))).collect();
    let source = Images::of_files("held-out frames".into(), files, 10.0, stop.clone());
    let health = Arc::new(Health::new());
    let frames = Flow::from_source(Box::new(source), Pace::Offline, Arc::clone(&health), stop.clone())?;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let look = Look {
        overlay: Overlay::new(&OverlayConfig { status: false, ..config.overlay.clone() }),
        seen: Arc::clone(&seen),
        health,
    };
    detector.chain(frames)?.run("report", look, Duration::from_secs(10))?;
    if stop.asked() {
        return Err(Stopped.into());
    }
    let seen = std::mem::take(&mut *seen.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((seen, level.scale.threshold, level.basis))
}

/// Keeps what was judged as small pictures.
struct Look {
    overlay: Overlay,
    seen: Arc<Mutex<Vec<Seen>>>,
    health: Arc<Health>,
}

impl Stage for Look {
    type In = Judged;
    type Out = ();

    fn step(&mut self, judged: Judged) -> Result<()> {
        let Judged { frame, verdict, .. } = judged;
        self.health.frame_done(frame.captured);
        let Some(verdict) = verdict else { return Ok(()) };
        let mut drawn = Frame::take(&Pool::new(), PixelFormat::Rgb, frame.width, frame.height);
        drawn.pixels.copy_from_slice(&frame.pixels);
        self.overlay.draw(&mut drawn, &verdict.scores, &verdict.regions, verdict.scale, "")?;
        let seen = Seen {
            name: frame.name.to_string(),
            largest: verdict.scores.data.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            regions: verdict.regions.len(),
            address: shown_as(&shrunk(&picture::of_frame(&drawn)?))?,
        };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_drawn_inside_the_picture() {
        let drawn = |shares: [f64; 4]| {
            let mut picture = image::RgbImage::new(20, 10);
            frame(&mut picture, shares, image::Rgb([9; 3]));
            picture.pixels().filter(|pixel| pixel.0[0] == 9).count()
        };
        // All around, two pixels wide; a line; the last one is inside.
        assert_eq!(drawn([0.0, 0.0, 1.0, 1.0]), 20 * 10 - 16 * 6);
        assert_eq!(drawn([0.0, 0.5, 1.0, 0.5]), 40);
        assert_eq!(drawn([0.0, 1.0, 1.0, 1.0]), 40);
        let mut nothing = image::RgbImage::new(0, 0);
        frame(&mut nothing, [0.0, 0.0, 1.0, 1.0], image::Rgb([9; 3]));
    }

    #[test]
    fn brightness_is_that_of_the_picture() {
        assert_eq!(brightness(&image::RgbImage::new(0, 0)), 0.0);
        let grey = image::RgbImage::from_pixel(32, 18, image::Rgb([50; 3]));
        assert!((brightness(&grey) - 50.0).abs() < 1e-9);
    }
}
