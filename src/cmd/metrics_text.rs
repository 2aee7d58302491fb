//! What `farout metrics` tells people of regions, instances, risks and streams.

use std::io::{Result, Write};

use crate::eval::metrics::instances::InstanceReport;
use crate::eval::metrics::{Interval, PimoReport, ProReport, RiskReport};
use crate::eval::streaming::{Latency, StreamingReport};

/// One line: name, percentage, interval.
pub(super) fn line(
    out: &mut impl Write,
    name: &str,
    value: Option<f64>,
    interval: Option<Interval>,
) -> Result<()> {
    let value = value.map_or("-".to_owned(), |value| format!("{:.4} %", value * 100.0));
    let interval =
        interval.map_or(String::new(), |i| format!("   95 %: {:.2} .. {:.2}", i.low * 100.0, i.high * 100.0));
    writeln!(out, "  {name:30} {value:>11}{interval}")
}

/// AUPRO.
pub(super) fn pro(out: &mut impl Write, report: &ProReport) -> Result<()> {
    writeln!(out, "  {} anomalous regions in {} images", report.regions, report.images)?;
    let limit = (report.limit * 1e10).round() / 1e8;
    line(out, &format!("AUPRO up to FPR {limit} %"), Some(report.aupro), None)?;
    line(out, &format!("PRO at FPR {limit} %"), Some(report.pro_at_limit), None)
}

/// AUPIMO.
pub(super) fn pimo(out: &mut impl Write, report: &PimoReport) -> Result<()> {
    let [low, high] = report.range;
    writeln!(
        out,
        "  {} images with anomaly, judged at the shared false positive rates {low:e} to {high:e} of {} without",
        report.rows.len(),
        report.normal_images
    )?;
    line(out, "AUPIMO, mean", Some(report.mean), report.interval)?;
    line(out, "  median", Some(report.median), None)?;
    line(out, "  first quartile", Some(report.quartiles[0]), None)?;
    line(out, "  third quartile", Some(report.quartiles[1]), None)?;
    let [low, high] =
        report.thresholds.map(|threshold| threshold.map_or_else(|| "none".to_owned(), |t| t.to_string()));
    writeln!(out, "  {:30} {low:>9} .. {high}", "  thresholds")
}

/// Risk against coverage.
pub(super) fn risk(out: &mut impl Write, report: &RiskReport) -> Result<()> {
    line(out, "area under risk and coverage", Some(report.aurc), None)?;
    line(out, "  at best", Some(report.best), None)?;
    writeln!(
        out,
        "  {:>12} {:>14} {:>14} {:>14} {:>14}",
        "let pass", "threshold", "risk", "missed", "false alarms"
    )?;
    for point in &report.points {
        writeln!(
            out,
            "  {:>10.3} % {:>14} {:>12.4} % {:>12.4} % {:>12.4} %",
            point.passed * 100.0,
            point.threshold.map_or_else(|| "none".to_owned(), |threshold| format!("{threshold:.6}")),
            point.risk * 100.0,
            point.missed * 100.0,
            point.false_alarms * 100.0
        )?;
    }
    Ok(())
}

/// Average precision of instances.
pub(super) fn instances(out: &mut impl Write, report: &InstanceReport) -> Result<()> {
    writeln!(
        out,
        "  {} true instances, {} too small to count, {} predicted, {} images",
        report.truths, report.small, report.predicted, report.images
    )?;
    line(out, "AP (IoU 0.5 to 0.95)", Some(report.ap), None)?;
    line(out, "AP50", Some(report.ap50), None)?;
    line(out, "found at IoU 0.5", report.ap_at.first().map(|at| at.recall), None)
}

/// What became of the frames.
pub(super) fn streaming(out: &mut impl Write, report: &StreamingReport) -> Result<()> {
    let latency = match &report.how.latency {
        Latency::Constant(ms) => format!("{ms} ms"),
        Latency::Measured(path) => format!("as in {}", path.display()),
    };
    writeln!(
        out,
        "as a live viewer has them at {} frames per second, latency {latency}: {} of {} frames are used, maps are {:.0} ms old, {} \
         frames come before the first map",
        report.how.fps, report.used, report.frames, report.mean_age_ms, report.before_first
    )
}
