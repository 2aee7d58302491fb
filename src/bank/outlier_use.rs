//! What distances to known outliers do to those to the references.

use std::fmt;
use std::str::FromStr;

use crate::written::stored_as_written;

/// What is made of a part's distance d to the references and its distance o to known outliers: `off`, `ratio`,
/// `difference` or `difference:0.5`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum OutlierUse {
    /// d: outliers are not looked at.
    #[default]
    Off,
    /// d / o, at most 1000, without a unit: 1 is as near to an outlier as to a reference.
    Ratio,
    /// d - w o with a weight w, in units of the distance; 0 is the border for w = 1, and it may be negative.
    Difference(f64),
}

impl OutlierUse {
    /// Whether outliers are not looked at.
    pub fn is_off(&self) -> bool {
        *self == OutlierUse::Off
    }

    /// The score of a patch at `distance` from the references and `outlier` from the outliers; infinity if either is.
    pub fn of(self, distance: f32, outlier: f32) -> f32 {
        /// The largest ratio.
        const MOST: f32 = 1000.0;
        if !(distance.is_finite() && outlier.is_finite()) {
            return f32::INFINITY;
        }
        match self {
            OutlierUse::Off => distance,
            OutlierUse::Ratio if distance == 0.0 => 0.0,
            OutlierUse::Ratio => (distance / outlier).min(MOST),
            OutlierUse::Difference(weight) => (f64::from(distance) - weight * f64::from(outlier)) as f32,
        }
    }
}

impl fmt::Display for OutlierUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OutlierUse::Off => f.write_str("off"),
            OutlierUse::Ratio => f.write_str("ratio"),
            OutlierUse::Difference(weight) if *weight == 1.0 => f.write_str("difference"),
            OutlierUse::Difference(weight) => write!(f, "difference:{weight}"),
        }
    }
}

impl FromStr for OutlierUse {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let weight = |text: &str| text.parse().ok().filter(|w: &f64| w.is_finite() && *w >= 0.0);
        let found = match text.split_once(':') {
            None if text == "off" => Some(OutlierUse::Off),
            None if text == "ratio" => Some(OutlierUse::Ratio),
            None if text == "difference" => Some(OutlierUse::Difference(1.0)),
            Some(("difference", w)) => weight(w).map(OutlierUse::Difference),
            _ => None,
        };
        found.ok_or_else(|| {
            format!("unknown use of outliers {text:?}: choose off, ratio, difference or difference:WEIGHT")
        })
    }
}

stored_as_written!(OutlierUse);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outliers_are_used_as_it_is_written() {
        for text in ["off", "ratio", "difference", "difference:0.5"] {
            assert_eq!(text.parse::<OutlierUse>().unwrap().to_string(), text);
        }
        for wrong in ["", "on", "ratio:2", "difference:-1", "difference:x"] {
            assert!(wrong.parse::<OutlierUse>().unwrap_err().contains("WEIGHT"), "{wrong}");
        }
        for (how, d, o, want) in [
            ("off", 2.0, 1.0, 2.0),
            ("ratio", 3.0, 2.0, 1.5),
            ("ratio", 3.0, 0.0, 1000.0),
            ("ratio", 0.0, 0.0, 0.0),
            ("difference:0.5", 2.0, 6.0, -1.0),
            ("ratio", f32::INFINITY, f32::INFINITY, f32::INFINITY),
            ("difference", f32::INFINITY, f32::INFINITY, f32::INFINITY),
        ] {
            assert_eq!(how.parse::<OutlierUse>().unwrap().of(d, o), want, "{how} of {d} and {o}");
        }
    }
}
