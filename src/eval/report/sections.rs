//! The sections of the report: numbers, curves, parts, images, time, settings.

use super::curves::Named;
use super::html::{escape, section, table};
use super::svg::{self, Place};
use crate::eval::breakdown::Part;
use crate::eval::metrics::Interval;
use crate::eval::metrics::video::ObjectRow;
use crate::eval::result::{EvalResult, MethodResult};

/// A share in percent with its interval below it.
fn cell(value: Option<f64>, interval: Option<Interval>) -> String {
    match (value, interval) {
        (None, _) => "–".to_owned(),
        (Some(value), None) => format!("{:.2}", 100.0 * value),
        (Some(value), Some(Interval { low, high })) => {
            format!("{:.2}<small>{:.2} to {:.2}</small>", 100.0 * value, 100.0 * low, 100.0 * high)
        }
    }
}

fn name(method: &MethodResult) -> String {
    escape(method.method.name())
}

/// Title and the headline of every method.
pub fn head(result: &EvalResult) -> String {
    let record = &result.dataset;
    let share = record.share;
    let counted = (share.normal + share.anomaly).max(1);
    let mut cards = String::new();
    for method in &result.methods {
        let (label, value) = match (&method.smiyc.first(), &method.pooled, &method.per_image.mean) {
            (Some(report), _, _) => ("AP, SegmentMeIfYouCan", Some(report.pixel.ap)),
            (None, Some(pooled), _) => ("AP, pooled", Some(pooled.detection.ap)),
            (None, None, mean) => ("AP, mean per image", mean.as_ref().map(|m| m.ap)),
        };
        let value = value.map_or("–".to_owned(), |value| format!("{:.1} %", 100.0 * value));
        cards.push_str(&format!(
            "<div class=\"card\"><span>{}</span><b>{value}</b><span>{label}</span></div>",
            name(method)
        ));
    }
    let bank =
        result.bank.as_ref().map_or("no bank".to_owned(), |b| format!("{} reference features", b.rows));
    format!(
        "<h1>{}</h1><p class=\"note\">{} images, {} with anomaly ({:.2} % of the pixels that count); {} ({}), {bank}; \
         farout {}, {}</p><p class=\"note\">{}</p><div class=\"cards\">{cards}</div>",
        escape(result.settings.dataset.kind.name()),
        record.images,
        record.with_anomaly,
        100.0 * share.anomaly as f64 / counted as f64,
        escape(&result.model.identity.name),
        escape(&result.model.identity.features),
        escape(&result.farout),
        escape(&result.made),
        escape(&crate::eval::table::region(result)),
    )
}

/// The tables of all protocols.
pub fn numbers(result: &EvalResult) -> String {
    let mut out = String::new();
    let settings = &result.settings.bootstrap;
    let drawn = format!(
        "Percent; below each number its {:.0} % interval, images drawn anew {} times.",
        100.0 * settings.level,
        settings.replicates
    );
    let columns = ["", "AP", "AUROC", "FPR95, first TPR ≥ 0.95", "FPR95, TPR closest to 0.95", "best F1"];
    let pooled: Vec<Vec<String>> = result
        .methods
        .iter()
        .filter_map(|method| {
            let pooled = method.pooled.as_ref()?;
            let (d, i) = (&pooled.detection, pooled.intervals.as_ref());
            Some(vec![
                name(method),
                cell(Some(d.ap), i.map(|i| i.ap)),
                cell(Some(d.auroc), i.map(|i| i.auroc)),
                cell(Some(d.fpr95_first), i.map(|i| i.fpr95_first)),
                cell(Some(d.fpr95_closest), i.map(|i| i.fpr95_closest)),
                cell(Some(d.best_f1), i.map(|i| i.best_f1)),
            ])
        })
        .collect();
    if !pooled.is_empty() {
        let what = format!("All pixels that are not void in one list. {drawn}");
        out.push_str(&section("Pooled", &what, &table(&columns, &pooled)));
    }
    let smiyc: Vec<Vec<String>> = result
        .methods
        .iter()
        .flat_map(|method| method.smiyc.iter().map(move |report| (method, report)))
        .map(|(method, report)| {
            let (c, i) = (&report.component, report.intervals.as_ref());
            vec![
                name(method),
                cell(Some(report.pixel.ap), i.map(|i| i.ap)),
                cell(Some(report.pixel.fpr95), i.map(|i| i.fpr95)),
                cell(c.mean_siou, i.and_then(|i| i.mean_siou)),
                cell(c.mean_ppv, i.and_then(|i| i.mean_ppv)),
                cell(c.mean_f1, i.and_then(|i| i.mean_f1)),
            ]
        })
        .collect();
    if !smiyc.is_empty() {
        let columns = ["", "AP", "FPR95", "mean sIoU", "mean PPV", "mean F1"];
        let what =
            format!("Pixels by quantile bins, components by sIoU and PPV at the best threshold. {drawn}");
        out.push_str(&section("SegmentMeIfYouCan", &what, &table(&columns, &smiyc)));
    }
    let means: Vec<Vec<String>> = result
        .methods
        .iter()
        .filter_map(|method| {
            let (m, i) = (method.per_image.mean.as_ref()?, method.per_image.intervals.as_ref());
            Some(vec![
                name(method),
                cell(Some(m.ap), i.map(|i| i.ap)),
                cell(Some(m.auroc), i.map(|i| i.auroc)),
                cell(Some(m.fpr95_first), i.map(|i| i.fpr95_first)),
                cell(Some(m.fpr95_closest), i.map(|i| i.fpr95_closest)),
                cell(Some(m.best_f1), i.map(|i| i.best_f1)),
            ])
        })
        .collect();
    if !means.is_empty() {
        let what = format!("Each image by itself, then the mean over images with anomaly. {drawn}");
        out.push_str(&section("Mean per image", &what, &table(&columns, &means)));
    }
    out.push_str(&video(result));
    out.push_str(&calibration(result));
    out
}

fn video(result: &EvalResult) -> String {
    let dash = || "–".to_owned();
    let rows: Vec<Vec<String>> = result
        .methods
        .iter()
        .flat_map(|method| method.video.iter().map(move |one| (method, one)))
        .map(|(method, one)| {
            let report = &one.report;
            let tracking = report.tracking.as_ref();
            let median = |of: fn(&ObjectRow) -> Option<f64>| {
                let mut seconds: Vec<f64> = report.objects.iter().filter_map(of).collect();
                seconds.sort_by(f64::total_cmp);
                seconds.get(seconds.len() / 2).map_or_else(dash, |s| format!("{s:.2}"))
            };
            let alarmed = report.objects.iter().filter(|object| object.alarmed_after_secs.is_some()).count();
            vec![
                format!("{}: {}", name(method), escape(&one.sequence)),
                report.frames.to_string(),
                report.flicker.as_ref().and_then(|f| f.relative).map_or_else(dash, |r| format!("{r:.3}")),
                tracking.map_or_else(dash, |t| format!("{} of {}", t.found, t.objects)),
                median(|object| object.found_after_secs),
                tracking.map_or_else(dash, |t| format!("{alarmed} of {}", t.objects)),
                median(|object| object.alarmed_after_secs),
                cell(tracking.and_then(|t| t.mota), None),
                report.false_alarms.false_alarms.to_string(),
                report.false_alarms.per_minute.map_or_else(dash, |rate| format!("{rate:.1}")),
            ]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let columns = [
        "",
        "frames",
        "flicker",
        "objects found",
        "median s to detection",
        "alarmed",
        "median s to alarm",
        "MOTA",
        "false alarms",
        "per minute",
    ];
    let what = "Each sequence at the daemon's threshold (at that of the best F1 without one). Flicker: temporal deviation \
                along the motion over the deviation of all scores.";
    section("Video", what, &table(&columns, &rows))
}

fn calibration(result: &EvalResult) -> String {
    let rows: Vec<Vec<String>> = result
        .methods
        .iter()
        .zip(&result.thresholds)
        .map(|(method, threshold)| match &method.calibration {
            Some(report) => vec![
                name(method),
                threshold.value.map_or("–".into(), |value| format!("{value:.3}")),
                cell(report.pixels.recall, report.recall_interval),
                cell(report.pixels.fpr, report.fpr_interval),
                cell(report.pixels.precision, None),
                format!("<small>{}</small>", escape(&threshold.basis)),
            ],
            None => {
                let dash = || "–".to_owned();
                let why = format!("<small>{}</small>", escape(&threshold.basis));
                vec![name(method), dash(), dash(), dash(), dash(), why]
            }
        })
        .collect();
    let columns =
        ["", "threshold", "recall", "false positive rate", "precision", "where the threshold comes from"];
    let what = "What the threshold is worth here that the daemon would take, from in-distribution data alone. Percent of pixels.";
    section(
        "At the daemon's threshold",
        what,
        &table(&columns, &rows).replace("class=\"scroll\"", "class=\"scroll left\""),
    )
}

/// Curves and histograms.
pub fn curves(curves: &[Named], histograms: &[Named]) -> String {
    if curves.is_empty() {
        return String::new();
    }
    let drawn = |plots: &[Named]| -> String {
        plots.iter().map(|named| format!("<div>{}</div>", svg::draw(&named.plot, Place::Page))).collect()
    };
    let body = format!("<div class=\"plots\">{}{}</div>", drawn(curves), drawn(histograms));
    section("Curves", "Exact operating points; the files beside this page hold the same as SVG.", &body)
}

/// By object size and image region.
pub fn parts(result: &EvalResult) -> String {
    let mut out = String::new();
    for (style, method) in result.methods.iter().enumerate() {
        let Some(breakdown) = &method.breakdown else { continue };
        let rows: Vec<Vec<String>> = breakdown
            .sizes
            .iter()
            .map(|part| {
                let found = part.found.zip(part.objects).filter(|(_, all)| *all > 0);
                vec![
                    escape(&part.name),
                    part.objects.map_or(String::new(), |objects| objects.to_string()),
                    part.anomaly.to_string(),
                    cell(part.ap, None),
                    cell(part.recall, None),
                    found.map_or("–".into(), |(found, all)| format!("{found} of {all}")),
                ]
            })
            .collect();
        let columns = ["objects", "count", "pixels", "AP", "recall", "found"];
        let grid: String = breakdown.regions.iter().map(|part| region(part, style)).collect();
        out.push_str(&format!(
            "<h3>{}</h3><div class=\"plots\"><div>{}</div><div><div class=\"regions\">{grid}</div></div></div>",
            name(method),
            table(&columns, &rows)
        ));
    }
    if out.is_empty() {
        return out;
    }
    let what = "Small objects have fewer than 400 pixels of a 640x360 picture, large ones 2500 or more; AP against all normal \
                pixels. Recall and found (more than half of the object) at 5 % false positives. Regions: AP, and the \
                share of normal pixels that are false positives at that threshold.";
    section("By object size and image region", what, &out)
}

fn region(part: &Part, style: usize) -> String {
    let ap = part.ap.map_or("–".to_owned(), |ap| format!("{:.1}", 100.0 * ap));
    let fpr = part.fpr.map_or("–".to_owned(), |fpr| format!("{:.1} %", 100.0 * fpr));
    let width = 100.0 * part.ap.unwrap_or(0.0);
    format!(
        "<div title=\"{}\"><b>{ap}</b><small>false {fpr}</small><i class=\"bar t{}\" style=\"width:{width:.1}%\"></i></div>",
        escape(&part.name),
        style % super::plot::COLOURS.len()
    )
}

/// One figure: an image's four panels.
pub fn figure(image: &str, caption: &str, panels: &[String; 4]) -> String {
    let alts = ["picture", "truth", "score map", "overlay"];
    let imgs: String = panels
        .iter()
        .zip(alts)
        .map(|(address, alt)| {
            format!("<img alt=\"{alt} of {}\" loading=\"lazy\" src=\"{address}\">", escape(image))
        })
        .collect();
    format!(
        "<figure><figcaption>{} <span>{}</span></figcaption><div class=\"panels\">{imgs}</div></figure>",
        escape(image),
        escape(caption)
    )
}

/// Every image's numbers, folded away.
pub fn every_image(result: &EvalResult) -> String {
    let Some(first) = result.methods.first() else { return String::new() };
    let mut columns = vec!["image".to_owned(), "anomaly".to_owned()];
    for method in &result.methods {
        columns.push(format!("{} AP", method.method.name()));
        columns.push(format!("{} FPR95", method.method.name()));
    }
    let rows: Vec<Vec<String>> = first
        .per_image
        .rows
        .iter()
        .enumerate()
        .map(|(i, row)| {
            let share = row.anomaly as f64 / (row.anomaly + row.normal).max(1) as f64;
            let mut cells = vec![escape(&row.name), format!("{:.2} %", 100.0 * share)];
            for method in &result.methods {
                let detection = method.per_image.rows.get(i).and_then(|row| row.detection.as_ref());
                cells.push(cell(detection.map(|d| d.ap), None));
                cells.push(cell(detection.map(|d| d.fpr95_first), None));
            }
            cells
        })
        .collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    format!("<details><summary>Every image</summary>{}</details>", table(&columns, &rows))
}

/// Time per stage.
pub fn time(result: &EvalResult) -> String {
    let time = &result.time;
    let longest = time.stages.iter().map(|stage| stage.seconds).fold(0.0, f64::max).max(1e-9);
    let rows: Vec<Vec<String>> = time
        .stages
        .iter()
        .map(|stage| {
            let bar =
                format!("<i class=\"bar t0\" style=\"width:{:.0}px\"></i>", 160.0 * stage.seconds / longest);
            vec![
                escape(&stage.name),
                stage.images.to_string(),
                format!("{:.1}", 1e3 * stage.seconds / stage.images.max(1) as f64),
                format!("{:.1}", stage.seconds),
                bar,
            ]
        })
        .collect();
    let what = format!(
        "{:.1} s from images to score maps, {:.1} s of judging; the stages work at the same time on different images. {}",
        time.measuring_seconds, time.judging_seconds, result.machine.session
    );
    section("Time", &what, &table(&["stage", "images", "ms per image", "seconds", ""], &rows))
}

/// What made the numbers.
pub fn settings(result: &EvalResult) -> String {
    let mut rows = vec![
        ("data set", format!("{} ({})", result.settings.dataset, result.dataset.sha256)),
        ("model", format!("{} ({})", result.model.identity.name, result.model.identity.sha256)),
        ("region", crate::eval::table::region(result)),
        ("features", result.model.identity.features.clone()),
        ("input", format!("{}, {}", result.model.identity.input_size, result.model.identity.normalisation)),
        ("session", result.machine.session.clone()),
        (
            "processor",
            format!(
                "{}, {} cores, {}",
                result.machine.processor, result.machine.cores, result.machine.system
            ),
        ),
    ];
    if let Some(bank) = &result.bank {
        rows.push((
            "bank",
            format!(
                "{}: {} features of {} frames ({})",
                bank.path.display(),
                bank.rows,
                bank.frames,
                bank.sha256
            ),
        ));
    }
    if let Some(search) = &result.machine.search {
        rows.push(("search", format!("{search}, k = {}", result.settings.config.search.k)));
    }
    rows.extend(result.dataset.notes.iter().map(|note| ("note", note.clone())));
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(what, value)| vec![escape(what), format!("<span class=\"hash\">{}</span>", escape(&value))])
        .collect();
    let json = serde_json::to_string_pretty(&result.settings).unwrap_or_default();
    let body = format!(
        "{}<details><summary>All settings</summary><pre>{}</pre></details>",
        table(&["", ""], &rows).replace("class=\"scroll\"", "class=\"scroll left\""),
        escape(&json)
    );
    section(
        "What made these numbers",
        "In brackets SHA-256. The JSON of the run holds all of it: farout eval --from repeats it.",
        &body,
    )
}
