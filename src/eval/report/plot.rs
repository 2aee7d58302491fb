//! Plots as data: axes, lines and steps; [`super::svg`] draws them.

/// Width of a plot in its own units.
pub const WIDTH: f64 = 420.0;
/// Height of a plot in its own units.
pub const HEIGHT: f64 = 320.0;
/// Room around the axes: left, top, right, bottom.
const MARGIN: [f64; 4] = [54.0, 34.0, 14.0, 44.0];

/// Colours that people with any kind of colour vision tell apart (Okabe and Ito 2008), on white; dashes
/// tell the same lines apart without colour.
pub const COLOURS: [[u8; 3]; 7] =
    [[0, 114, 178], [213, 94, 0], [0, 140, 105], [184, 92, 148], [138, 97, 0], [70, 150, 200], [90, 90, 90]];
/// The same on a dark ground.
pub const COLOURS_ON_DARK: [[u8; 3]; 7] = [
    [86, 180, 233],
    [255, 150, 80],
    [60, 200, 160],
    [225, 150, 195],
    [240, 228, 66],
    [150, 200, 235],
    [180, 180, 180],
];
/// Dash and gap lengths of each colour's line, in plot units; the first is solid.
pub const DASHES: [&[f64]; 7] =
    [&[], &[7.0, 3.0], &[2.0, 2.5], &[9.0, 3.0, 2.0, 3.0], &[4.0, 2.0], &[1.0, 2.0], &[12.0, 4.0]];

/// A plot.
#[derive(Debug, Clone)]
pub struct Plot {
    /// Above it.
    pub title: String,
    /// Below and to the left.
    pub x: Axis,
    /// See `x`.
    pub y: Axis,
    /// Drawn in this order.
    pub series: Vec<Series>,
    /// A vertical line with its label.
    pub mark: Option<(f64, String)>,
}

/// An axis.
#[derive(Debug, Clone)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: String,
    /// The value at its start.
    pub low: f64,
    /// The value at its end.
    pub high: f64,
    /// Logarithmic; `low` is above 0 then.
    pub log: bool,
}

/// A line or a filled outline of steps.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// In data units, in order.
    pub points: Vec<(f64, f64)>,
    /// Number of its colour and dashes.
    pub style: usize,
    /// Filled down to the axis.
    pub filled: bool,
}

impl Axis {
    /// A linear axis.
    pub fn linear(label: &str, low: f64, high: f64) -> Axis {
        Axis { label: label.to_owned(), low, high, log: false }
    }

    /// A logarithmic axis.
    pub fn log(label: &str, low: f64, high: f64) -> Axis {
        Axis { label: label.to_owned(), low, high, log: true }
    }

    /// Where a value lies, 0 at the start and 1 at the end; values outside lie at the ends.
    pub fn place(&self, value: f64) -> f64 {
        let (low, high, value) = match self.log {
            true => (self.low.ln(), self.high.ln(), value.max(self.low).ln()),
            false => (self.low, self.high, value),
        };
        ((value - low) / (high - low).max(1e-300)).clamp(0.0, 1.0)
    }

    /// Values with their labels for ticks.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        if self.log {
            let (first, last) = (self.low.log10().ceil() as i32, self.high.log10().floor() as i32);
            return (first..=last)
                .map(|e| (10f64.powi(e), decimal(10f64.powi(e), (-e).max(0) as usize)))
                .collect();
        }
        let span = self.high - self.low;
        if !(span > 0.0 && span.is_finite()) {
            return Vec::new();
        }
        // The step of 1, 2 or 5 times a power of ten that gives about five ticks.
        let power = 10f64.powf((span / 5.0).log10().floor());
        let step =
            [1.0, 2.0, 5.0, 10.0].map(|f| f * power).into_iter().find(|s| span / s <= 6.0).unwrap_or(span);
        let digits = (-step.log10().floor()).max(0.0) as usize;
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|i| (i as f64 * step, decimal(i as f64 * step, digits))).collect()
    }
}

fn decimal(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    if text.trim_start_matches(['-', '0', '.']).is_empty() { "0".to_owned() } else { text }
}

impl Plot {
    /// The rectangle between the axes: left, top, right, bottom, in plot units.
    pub fn frame() -> [f64; 4] {
        let [left, top, right, bottom] = MARGIN;
        [left, top, WIDTH - right, HEIGHT - bottom]
    }

    /// A data point in plot units.
    pub fn at(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let [left, top, right, bottom] = Plot::frame();
        (left + self.x.place(x) * (right - left), bottom - self.y.place(y) * (bottom - top))
    }

    /// A series in plot units, closed along the axis if it is filled, points that would not be told apart left out.
    pub fn outline(&self, series: &Series) -> Vec<(f64, f64)> {
        let [_, _, _, bottom] = Plot::frame();
        let mut outline: Vec<(f64, f64)> = Vec::new();
        for point in series.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
            let (x, y) = self.at(*point);
            let near = |(px, py): &(f64, f64)| (px - x).abs() < 0.15 && (py - y).abs() < 0.15;
            if !outline.last().is_some_and(near) {
                outline.push((x, y));
            }
        }
        if let (true, Some(first), Some(last)) =
            (series.filled, outline.first().copied(), outline.last().copied())
        {
            outline.push((last.0, bottom));
            outline.push((first.0, bottom));
        }
        outline
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        for (low, high, labels) in [
            (0.0, 1.0, vec!["0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
            (-3.2, 1.1, vec!["-3", "-2", "-1", "0", "1"]),
            (0.0, 37.0, vec!["0", "10", "20", "30"]),
        ] {
            let found: Vec<String> = Axis::linear("x", low, high).ticks().into_iter().map(|t| t.1).collect();
            assert_eq!(found, labels, "{low} to {high}");
        }
        let log: Vec<String> = Axis::log("x", 1e-4, 1.0).ticks().into_iter().map(|t| t.1).collect();
        assert_eq!(log, ["0.0001", "0.001", "0.01", "0.1", "1"]);
        assert!(Axis::linear("x", 1.0, 1.0).ticks().is_empty());
        assert!(Axis::linear("x", f64::NAN, 1.0).ticks().is_empty());
    }

    #[test]
    fn points_lie_between_the_axes() {
        let plot = Plot {
            title: String::new(),
            x: Axis::log("x", 1e-3, 1.0),
            y: Axis::linear("y", 0.0, 1.0),
            series: Vec::new(),
            mark: None,
        };
        let [left, top, right, bottom] = Plot::frame();
        assert_eq!(plot.at((0.0, 0.0)), (left, bottom));
        assert_eq!(plot.at((2.0, 7.0)), (right, top));
        let series =
            Series { name: String::new(), points: vec![(0.1, f64::NAN), (0.1, 0.5)], style: 0, filled: true };
        assert_eq!(plot.outline(&series).len(), 3);
    }
}
