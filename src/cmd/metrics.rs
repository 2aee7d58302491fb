//! `farout metrics`: score maps of any program judged against truth masks.

use std::io::Write;
use std::path::Path;

use anyhow::{Result, bail};

use super::answer;
use super::metrics_text::{self, line};
use super::progress::bar;
use crate::cli::{MetricsArgs, TruthArgs};
use crate::config::ConfigError;
use crate::eval::explain::explain;
use crate::eval::folder::{FoldersReport, PooledReport, Request};
use crate::eval::folders;
use crate::eval::metrics::smiyc::SmiycReport;
use crate::eval::metrics::{BootstrapSettings, CalibrationReport, Limits, PerImageReport};
use crate::eval::protocol::Protocol;
use crate::eval::streaming::{Latency, Streaming};
use crate::eval::truth::ValueMap;

/// Judges and prints.
///
/// # Errors
/// If files lack partners, cannot be read, do not fit, or hold nothing to tell apart.
pub fn metrics(args: &MetricsArgs) -> Result<()> {
    let request = request(args)?;
    let bar = bar(None, "maps");
    bar.set_message("judging");
    let shown = |done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    if args.explain {
        let explained = explain(&request, shown);
        bar.finish_and_clear();
        return answer::answer(args.json, &explained?);
    }
    let judged = folders::judge(&request, shown);
    bar.finish_and_clear();
    let report = judged?;
    if args.json {
        return answer::print_json(&report);
    }
    let mut text = Vec::new();
    print(&mut text, &report)?;
    answer::print(text)
}

/// A request to judge `scores` by all pixels in one list.
///
/// # Errors
/// Values that are both normal and anomalous, or nothing of either.
pub(super) fn plain_request(scores: &Path, truth: &Path, args: &TruthArgs) -> Result<Request> {
    let all = |ranges: &[std::ops::RangeInclusive<u16>]| ranges.iter().cloned().flatten().collect();
    let values = ValueMap { normal: all(&args.normal), anomaly: all(&args.anomaly), void: all(&args.void) };
    values.check().map_err(|why| ConfigError::Invalid(format!("--normal, --anomaly, --void: {why}")))?;
    let limits = Limits {
        memory_bytes: (args.memory as usize) << 20,
        scratch: args.scratch.clone().unwrap_or_else(std::env::temp_dir),
        ..Limits::default()
    };
    let bootstrap = BootstrapSettings { replicates: args.replicates, seed: args.seed, level: 0.95 };
    Ok(Request::pooled(scores.to_owned(), truth.to_owned(), values, bootstrap, limits))
}

fn request(args: &MetricsArgs) -> Result<Request> {
    let plain = plain_request(&args.scores, &args.truth, &args.truth_is)?;
    let protocol = args.protocol.unwrap_or(Protocol::Pooled);
    if args.threshold.is_some_and(f64::is_nan) {
        bail!(ConfigError::Invalid("--threshold: NaN is no threshold".to_owned()));
    }
    let with_threshold = matches!(protocol, Protocol::Pooled | Protocol::PerImage | Protocol::Instances);
    if !with_threshold && args.threshold.is_some() {
        let why = format!(
            "--threshold: {} looks at all; use --protocol pooled, per-image or instances",
            protocol.name()
        );
        bail!(ConfigError::Invalid(why));
    }
    let latency = |text: &String| match text.parse::<f64>() {
        Ok(ms) if ms.is_finite() && ms >= 0.0 => Ok(Latency::Constant(ms)),
        Ok(ms) => Err(ConfigError::Invalid(format!("--latency: {ms} is no time in milliseconds"))),
        Err(_) => Ok(Latency::Measured(text.into())),
    };
    let streaming = match (args.streaming, &args.latency) {
        (Some(fps), Some(text)) => Some(Streaming { fps, latency: latency(text)? }),
        _ => None,
    };
    Ok(Request {
        protocol,
        threshold: args.threshold,
        fpr_limit: args.fpr_limit,
        fpr_range: args.fpr_range.0,
        instances: args.instances,
        streaming,
        ..plain
    })
}

fn print(out: &mut impl Write, report: &FoldersReport) -> std::io::Result<()> {
    let share = report.pixels;
    let all = (share.normal + share.anomaly + share.void).max(1) as f64;
    writeln!(
        out,
        "{} maps, {} pixels: {:.2} % anomaly, {:.2} % void",
        report.files,
        all,
        share.anomaly as f64 / all * 100.0,
        share.void as f64 / all * 100.0
    )?;
    if let Some(pooled) = &report.pooled {
        print_pooled(out, pooled)?;
    }
    if let Some(per_image) = &report.per_image {
        print_per_image(out, per_image)?;
    }
    if let Some(smiyc) = &report.smiyc {
        print_smiyc(out, smiyc)?;
    }
    if let Some(pro) = &report.pro {
        metrics_text::pro(out, pro)?;
    }
    if let Some(pimo) = &report.pimo {
        metrics_text::pimo(out, pimo)?;
    }
    if let Some(risk) = &report.risk {
        metrics_text::risk(out, risk)?;
    }
    if let Some(instances) = &report.instances {
        metrics_text::instances(out, instances)?;
    }
    if let Some(calibration) = &report.calibration {
        print_calibration(out, calibration)?;
    }
    if let Some(streaming) = &report.streaming {
        metrics_text::streaming(out, streaming)?;
    }
    Ok(())
}

fn print_pooled(out: &mut impl Write, report: &PooledReport) -> std::io::Result<()> {
    let (exact, range) = (&report.detection, report.intervals.as_ref());
    line(out, "AP", Some(exact.ap), range.map(|r| r.ap))?;
    line(out, "AUROC", Some(exact.auroc), range.map(|r| r.auroc))?;
    line(out, "FPR95 (first TPR >= 95 %)", Some(exact.fpr95_first), range.map(|r| r.fpr95_first))?;
    line(out, "FPR95 (TPR closest to 95 %)", Some(exact.fpr95_closest), range.map(|r| r.fpr95_closest))?;
    for at in exact.fpr_at.iter().filter(|at| at.tpr != 0.95) {
        line(out, &format!("FPR at TPR >= {} %", at.tpr * 100.0), Some(at.fpr), None)?;
    }
    line(out, "best F1", Some(exact.best_f1), range.map(|r| r.best_f1))?;
    writeln!(out, "  {:30} {:>9}", "  at threshold", exact.best_f1_threshold)?;
    if report.spilled_bytes > 0 {
        writeln!(out, "  {} MiB went through the scratch folder", report.spilled_bytes.div_ceil(1 << 20))?;
    }
    Ok(())
}

fn print_per_image(out: &mut impl Write, report: &PerImageReport) -> std::io::Result<()> {
    let skipped = report.skipped.len();
    writeln!(out, "  averages over {} images; {skipped} without anomaly left out", report.images)?;
    let (mean, range) = (report.mean.as_ref(), report.intervals.as_ref());
    line(out, "AP", mean.map(|m| m.ap), range.map(|r| r.ap))?;
    line(out, "AUROC", mean.map(|m| m.auroc), range.map(|r| r.auroc))?;
    line(out, "FPR95 (first TPR >= 95 %)", mean.map(|m| m.fpr95_first), range.map(|r| r.fpr95_first))?;
    line(out, "FPR95 (TPR closest to 95 %)", mean.map(|m| m.fpr95_closest), range.map(|r| r.fpr95_closest))?;
    line(out, "best F1", mean.map(|m| m.best_f1), range.map(|r| r.best_f1))
}

fn print_smiyc(out: &mut impl Write, report: &SmiycReport) -> std::io::Result<()> {
    let (pixel, component, range) = (&report.pixel, &report.component, report.intervals.as_ref());
    line(out, "AP", Some(pixel.ap), range.map(|r| r.ap))?;
    line(out, "FPR95 (first TPR >= 95 %)", Some(pixel.fpr95), range.map(|r| r.fpr95))?;
    line(out, "best F1 of pixels", Some(pixel.best_f1), None)?;
    writeln!(out, "  {:30} {:>9}", "  at threshold", pixel.threshold)?;
    let (real, predicted) = (component.true_components, component.predicted_components);
    writeln!(out, "  {real} true components, {predicted} predicted")?;
    line(out, "mean sIoU", component.mean_siou, range.and_then(|r| r.mean_siou))?;
    line(out, "mean PPV", component.mean_ppv, range.and_then(|r| r.mean_ppv))?;
    line(out, "mean F1", component.mean_f1, range.and_then(|r| r.mean_f1))
}

fn print_calibration(out: &mut impl Write, report: &CalibrationReport) -> std::io::Result<()> {
    let pixels = &report.pixels;
    writeln!(out, "at threshold {}:", pixels.threshold)?;
    line(out, "normal pixels above", pixels.fpr, report.fpr_interval)?;
    line(out, "anomalous pixels above", pixels.recall, report.recall_interval)?;
    line(out, "precision", pixels.precision, None)?;
    writeln!(
        out,
        "  {} of {} images have a normal pixel above; {} of {} with an anomaly have an anomalous one above",
        report.images_with_false_alarm,
        report.images,
        report.images_with_anomaly_found,
        report.images_with_anomaly
    )
}
