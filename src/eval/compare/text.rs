//! What a comparison tells people.

use std::fmt;

use super::{Change, Comparison, Entry};
use crate::eval::metrics::Interval;

impl fmt::Display for Comparison {
    /// One block per method.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, region {}", self.dataset, self.region)?;
        head(f, &self.base)?;
        for number in &self.base.numbers {
            writeln!(f, "  {:<16} {:7.2}", number.name, 100.0 * number.value)?;
        }
        for other in &self.others {
            writeln!(f)?;
            head(f, &other.entry)?;
            for (number, change) in other.entry.numbers.iter().zip(&other.differences) {
                let value = 100.0 * number.value;
                writeln!(f, "  {:<16} {value:7.2}  {}", number.name, points(change))?;
            }
            if let Some(change) = &other.mean_ap_per_image {
                writeln!(f, "  {:<16} {:>7}  {}", "AP per image", "", points(change))?;
            }
            writeln!(f, "  {} images gain, {} lose", other.better, other.worse)?;
            for (sign, list) in [("+", &other.gains), ("-", &other.losses)] {
                for change in list {
                    let (from, to) = (100.0 * change.from, 100.0 * change.to);
                    writeln!(f, "    {sign} {:<32} {from:6.2} -> {to:6.2}", change.image)?;
                }
            }
            if let Some(why) = &other.no_intervals {
                writeln!(f, "  no intervals of the pooled numbers: {why}")?;
            }
            if let Some(ratio) = other.time_ratio {
                writeln!(f, "  time per image: {ratio:.2} times that of the base")?;
            }
        }
        Ok(())
    }
}

fn head(f: &mut fmt::Formatter<'_>, entry: &Entry) -> fmt::Result {
    let how = if entry.pooled { "pooled" } else { "mean per image" };
    let time = entry.seconds_per_image.map(|s| format!(", {:.0} ms per image", 1e3 * s)).unwrap_or_default();
    let device = entry.device.as_ref().map(|device| format!("; {device}")).unwrap_or_default();
    let file = entry.file.display();
    match &entry.model {
        Some(model) => writeln!(f, "{file}: {} of {model} ({how}{device}{time})", entry.method),
        None => writeln!(f, "{file} ({how}{device}{time})"),
    }
}

/// A change in percentage points.
fn points(change: &Change) -> String {
    let value = 100.0 * change.value;
    match change.interval {
        Some(Interval { low, high }) => format!("{value:+7.2} [{:+.2}, {:+.2}]", 100.0 * low, 100.0 * high),
        None => format!("{value:+7.2}"),
    }
}
