//! A result as text for people.

use std::fmt::Write;

use super::metrics::Interval;
use super::result::{EvalResult, MethodResult};

/// The numbers of every method, protocol by protocol.
pub fn of(result: &EvalResult) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_all(&mut text, result);
    text
}

fn write_all(out: &mut String, result: &EvalResult) -> std::fmt::Result {
    let record = &result.dataset;
    let share = record.share;
    let counted = (share.normal + share.anomaly).max(1);
    writeln!(
        out,
        "{}: {} images, {} with anomaly, {:.2} % of the pixels that count",
        result.settings.dataset,
        record.images,
        record.with_anomaly,
        100.0 * share.anomaly as f64 / counted as f64
    )?;
    writeln!(out, "{}", region(result))?;
    if let Some(part) = &result.shard {
        let of = part.shard;
        writeln!(out, "part {of}: its score maps are in {}; next: farout eval merge", part.maps.display())?;
    }
    let methods = &result.methods;
    if methods.iter().any(|m| m.pooled.is_some()) {
        heading(out, "pooled", &["AP", "AUROC", "FPR95 first", "FPR95 closest", "best F1"])?;
        for method in methods {
            let Some(pooled) = &method.pooled else { continue };
            let d = &pooled.detection;
            let intervals = pooled.intervals.as_ref();
            row(
                out,
                method,
                &[
                    (Some(d.ap), intervals.map(|i| i.ap)),
                    (Some(d.auroc), intervals.map(|i| i.auroc)),
                    (Some(d.fpr95_first), intervals.map(|i| i.fpr95_first)),
                    (Some(d.fpr95_closest), intervals.map(|i| i.fpr95_closest)),
                    (Some(d.best_f1), intervals.map(|i| i.best_f1)),
                ],
            )?;
        }
    }
    if methods.iter().any(|m| m.per_image.mean.is_some()) {
        heading(out, "mean per image", &["AP", "AUROC", "FPR95 first", "FPR95 closest", "best F1"])?;
        for method in methods {
            let Some(mean) = &method.per_image.mean else { continue };
            let intervals = method.per_image.intervals.as_ref();
            row(
                out,
                method,
                &[
                    (Some(mean.ap), intervals.map(|i| i.ap)),
                    (Some(mean.auroc), intervals.map(|i| i.auroc)),
                    (Some(mean.fpr95_first), intervals.map(|i| i.fpr95_first)),
                    (Some(mean.fpr95_closest), intervals.map(|i| i.fpr95_closest)),
                    (Some(mean.best_f1), intervals.map(|i| i.best_f1)),
                ],
            )?;
        }
    }
    if methods.iter().any(|m| !m.smiyc.is_empty()) {
        heading(out, "SegmentMeIfYouCan", &["AP", "FPR95", "mean sIoU", "mean PPV", "mean F1"])?;
        for method in methods {
            for report in &method.smiyc {
                let intervals = report.intervals.as_ref();
                row(
                    out,
                    method,
                    &[
                        (Some(report.pixel.ap), intervals.map(|i| i.ap)),
                        (Some(report.pixel.fpr95), intervals.map(|i| i.fpr95)),
                        (report.component.mean_siou, intervals.and_then(|i| i.mean_siou)),
                        (report.component.mean_ppv, intervals.and_then(|i| i.mean_ppv)),
                        (report.component.mean_f1, intervals.and_then(|i| i.mean_f1)),
                    ],
                )?;
            }
        }
    }
    for method in methods {
        for one in &method.video {
            let (report, alarms) = (&one.report, &one.report.false_alarms);
            let found = report.tracking.as_ref().map_or((0, 0), |t| (t.found, t.objects));
            writeln!(
                out,
                "\n{} {}: {} frames, {} of {} objects found, {} alarmed, MOTA {}, {} false alarms ({} per minute)",
                method.method.name(),
                one.sequence,
                report.frames,
                found.0,
                found.1,
                report.objects.iter().filter(|object| object.alarmed_after_secs.is_some()).count(),
                percent(report.tracking.as_ref().and_then(|t| t.mota), None),
                alarms.false_alarms,
                alarms.per_minute.map_or("-".to_owned(), |rate| format!("{rate:.1}"))
            )?;
        }
    }
    if methods.iter().any(|m| m.calibration.is_some()) {
        heading(out, "at the daemon's threshold", &["recall", "FPR", "precision"])?;
        for method in methods {
            let Some(report) = &method.calibration else { continue };
            let at = &report.pixels;
            row(
                out,
                method,
                &[(at.recall, report.recall_interval), (at.fpr, report.fpr_interval), (at.precision, None)],
            )?;
        }
    }
    if !methods.is_empty() {
        let time = &result.time;
        writeln!(
            out,
            "\n{:.1} s measuring, {:.1} s judging, on {}; intervals: {:.0} %, images drawn {} times",
            time.measuring_seconds,
            time.judging_seconds,
            result.machine.session,
            100.0 * result.settings.bootstrap.level,
            result.settings.bootstrap.replicates
        )?;
    }
    Ok(())
}

/// The region of judging and what lies in it, in one line.
pub fn region(result: &EvalResult) -> String {
    let mut text = format!("region {}", result.settings.region);
    if let Some(known) = &result.region {
        if let Some((model, _)) = &known.road_model {
            text += &format!(", the road as {model} sees it");
        }
        let inside = known.share.normal + known.share.anomaly;
        if inside > 0 {
            let of = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
            text += &format!(
                ": {:.2} % of the pixels are judged, {:.2} % of them anomalous, in {} images",
                of(inside, inside + known.share.void),
                of(known.share.anomaly, inside),
                known.with_anomaly
            );
        }
    }
    text
}

fn heading(out: &mut String, what: &str, columns: &[&str]) -> std::fmt::Result {
    write!(out, "\n{what:<26}")?;
    columns.iter().try_for_each(|column| write!(out, " {column:>22}"))?;
    writeln!(out)
}

fn row(
    out: &mut String,
    method: &MethodResult,
    cells: &[(Option<f64>, Option<Interval>)],
) -> std::fmt::Result {
    write!(out, "{:<26}", method.method.name())?;
    for (value, interval) in cells {
        write!(out, " {:>22}", percent(*value, *interval))?;
    }
    writeln!(out)
}

/// `12.34 [11.02, 13.50]`, in percent; a dash for what there is not.
pub fn percent(value: Option<f64>, interval: Option<Interval>) -> String {
    match (value, interval) {
        (None, _) => "-".to_owned(),
        (Some(value), None) => format!("{:.2}", 100.0 * value),
        (Some(value), Some(Interval { low, high })) => {
            format!("{:.2} [{:.2}, {:.2}]", 100.0 * value, 100.0 * low, 100.0 * high)
        }
    }
}
