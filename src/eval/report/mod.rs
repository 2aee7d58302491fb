//! The report: one HTML file that needs nothing else, and the curves as files for a paper.

mod curves;
pub(crate) mod html;
pub(crate) mod pictures;
mod plot;
mod sections;
mod svg;

use std::io::Write;
use std::path::Path;

use anyhow::Result;

use super::finished::Finished;
use super::region::Restriction;
use super::result::MethodResult;
use crate::file::write_whole;
use pictures::Scale;
use svg::Place;

/// So many of the best and of the worst images are shown per method.
const SHOWN: usize = 3;

/// Writes `index.html` and the curves as SVG into `folder`, which is made if absent.
///
/// # Errors
/// What cannot be read or written; the page comes last.
pub fn write(folder: &Path, finished: &Finished) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let result = &finished.result;
    let curves = curves::curves(result);
    let histograms = curves::histograms(result);
    for named in curves.iter().chain(&histograms) {
        let drawing = svg::draw(&named.plot, Place::File);
        write_whole(&folder.join(format!("{}.svg", named.stem)), |out| out.write_all(drawing.as_bytes()))?;
    }
    let body = [
        sections::head(result),
        sections::numbers(result),
        sections::curves(&curves, &histograms),
        sections::parts(result),
        images(finished)?,
        sections::time(result),
        sections::settings(result),
    ]
    .concat();
    let title = format!("{} ({}) - farout eval", result.settings.dataset.kind.name(), result.settings.region);
    let page = html::page(&title, &body);
    Ok(write_whole(&folder.join("index.html"), |out| out.write_all(page.as_bytes()))?)
}

/// The best and the worst images of every method, and the table of all.
fn images(finished: &Finished) -> Result<String> {
    let result = &finished.result;
    let restriction = Restriction::open(&result.settings.region, &finished.dataset)?;
    let mut body = String::new();
    for (number, method) in result.methods.iter().enumerate() {
        let mut ranked: Vec<(usize, f64)> = method
            .per_image
            .rows
            .iter()
            .enumerate()
            .filter_map(|(i, row)| Some((i, row.detection.as_ref()?.ap)))
            .collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let scale = scale_of(method);
        let best = ranked.len().min(SHOWN);
        let worst = ranked.len().saturating_sub(SHOWN).max(best);
        let name = method.method.name();
        for (heading, list) in [("best", &ranked[..best]), ("worst", &ranked[worst..])] {
            if list.is_empty() {
                continue;
            }
            body.push_str(&format!("<h3>{}: {heading}</h3>", html::escape(name)));
            let list: Vec<_> =
                if heading == "worst" { list.iter().rev().collect() } else { list.iter().collect() };
            for (row, ap) in list {
                let index = finished.indices[*row];
                let sample = &finished.dataset.samples[index];
                let maps = finished.maps.load(index, &sample.name)?;
                let Some(map) = maps.get(number) else { continue };
                let maps = (map, maps.get(result.settings.methods.len()));
                let panels = pictures::panels(&finished.dataset, index, maps, scale, &restriction)?;
                body.push_str(&sections::figure(&sample.name, &format!("AP {:.1} %", 100.0 * ap), &panels));
            }
        }
    }
    body.push_str(&sections::every_image(result));
    let what = "By the AP of the image alone: picture, truth (anomaly orange, void and what is not judged dark), score map, and the overlay \
                as the daemon draws it, at the threshold of the best F1.";
    Ok(html::section("Best and worst images", what, &body))
}

/// What scores mean in a method's pictures: the span of the histogram, and the threshold of the best F1 (the
/// daemon's own may be so high that nothing is drawn).
fn scale_of(method: &MethodResult) -> Scale {
    let (low, high, threshold) = match &method.pooled {
        Some(pooled) => {
            let edges = &pooled.histogram.edges;
            let ends = (edges.first().copied().unwrap_or(0.0), edges.last().copied().unwrap_or(1.0));
            (ends.0, ends.1, pooled.detection.best_f1_threshold)
        }
        None => {
            // Without a histogram: the thresholds at which single images are best, and as much below.
            let rows = method.per_image.rows.iter().filter_map(|row| row.detection.as_ref());
            let levels: Vec<f64> = rows.map(|d| d.best_f1_threshold).collect();
            let top = levels.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let bottom = levels.iter().copied().fold(f64::INFINITY, f64::min);
            let mean = levels.iter().sum::<f64>() / levels.len().max(1) as f64;
            let span = (top - bottom).max(mean.abs() * 0.5).max(1e-6);
            (mean - span, mean + span, mean)
        }
    };
    Scale { low, high, threshold }
}
