//! The plots of a result: precision and recall, ROC, histograms of scores.

use super::plot::{Axis, Plot, Series};
use crate::eval::result::{EvalResult, MethodResult, PooledResult};

/// A plot and the stem of its file.
pub struct Named {
    /// Stem of the files.
    pub stem: String,
    /// The plot.
    pub plot: Plot,
}

/// Lowest false positive rate of the logarithmic plot.
const LOWEST: f64 = 1e-4;

/// The curves of all methods that have pooled numbers, in three plots; none without.
pub fn curves(result: &EvalResult) -> Vec<Named> {
    let methods: Vec<(usize, &MethodResult, &PooledResult)> = result
        .methods
        .iter()
        .enumerate()
        .filter_map(|(i, method)| Some((i, method, method.pooled.as_ref()?)))
        .collect();
    if methods.is_empty() {
        return Vec::new();
    }
    let series = |point: &dyn Fn(&PooledResult) -> Vec<(f64, f64)>| -> Vec<Series> {
        methods
            .iter()
            .map(|(i, method, pooled)| Series {
                name: method.method.name().to_owned(),
                points: point(pooled),
                style: *i,
                filled: false,
            })
            .collect()
    };
    let precision = series(&|pooled| {
        let curve = &pooled.curve;
        // The first point's precision holds down to recall 0.
        let first = curve.points.first().map(|point| (0.0, point.precision()));
        first.into_iter().chain(curve.points.iter().map(|p| (p.recall(curve), p.precision()))).collect()
    });
    let roc = series(&|pooled| {
        let curve = &pooled.curve;
        std::iter::once((0.0, 0.0))
            .chain(curve.points.iter().map(|p| (p.fpr(curve), p.recall(curve))))
            .collect()
    });
    let plot = |title: &str, x: Axis, y: Axis, series: Vec<Series>| Plot {
        title: title.to_owned(),
        x,
        y,
        series,
        mark: None,
    };
    let rate = "false positive rate";
    let recall = || Axis::linear("recall", 0.0, 1.0);
    vec![
        Named {
            stem: "precision-recall".into(),
            plot: plot("Precision and recall", recall(), Axis::linear("precision", 0.0, 1.0), precision),
        },
        Named { stem: "roc".into(), plot: plot("ROC", Axis::linear(rate, 0.0, 1.0), recall(), roc.clone()) },
        Named {
            stem: "roc-log".into(),
            plot: plot("ROC, few false positives", Axis::log(rate, LOWEST, 1.0), recall(), roc),
        },
    ]
}

/// The histogram of each method's scores, as shares of their class.
pub fn histograms(result: &EvalResult) -> Vec<Named> {
    let mut plots = Vec::new();
    for (i, method) in result.methods.iter().enumerate() {
        let Some(histogram) = method.pooled.as_ref().map(|pooled| &pooled.histogram) else { continue };
        let (Some(low), Some(high)) = (histogram.edges.first(), histogram.edges.last()) else { continue };
        let outline = |counts: &[u64]| -> Vec<(f64, f64)> {
            let all = counts.iter().sum::<u64>().max(1) as f64;
            let bins = histogram.edges.windows(2).zip(counts);
            bins.flat_map(|(edges, count)| {
                let share = 100.0 * *count as f64 / all;
                [(edges[0], share), (edges[1], share)]
            })
            .collect()
        };
        let (normal, anomaly) = (outline(&histogram.normal), outline(&histogram.anomaly));
        let top = normal.iter().chain(&anomaly).map(|point| point.1).fold(0.0, f64::max);
        let threshold = result.thresholds.get(i).and_then(|known| known.value).map(f64::from);
        let name = method.method.name();
        plots.push(Named {
            stem: format!("histogram-{name}"),
            plot: Plot {
                title: format!("Scores: {name}"),
                x: Axis::linear("anomaly score", *low, *high),
                y: Axis::linear("% of the class per bin", 0.0, (top * 1.05).max(1e-9)),
                series: vec![
                    Series { name: "normal".into(), points: normal, style: 0, filled: true },
                    Series { name: "anomaly".into(), points: anomaly, style: 1, filled: true },
                ],
                mark: threshold
                    .filter(|value| (*low..=*high).contains(value))
                    .map(|value| (value, "daemon's threshold".to_owned())),
            },
        });
    }
    plots
}
