//! The views beside the whole picture: opened, measured and merged into its map.

use anyhow::{Result, anyhow};

use crate::bank::{Bank, ViewBaseline};
use crate::config::{Config, ConfigError};
use crate::features::{InputSpec, Preprocessor};
use crate::grid::{Distances, Features, Logits};
use crate::nearest::{Gauge, ViewSearch};
use crate::views::{Layout, Merger, ViewsConfig};

/// Measures views and merges their maps.
pub struct Views {
    layout: Layout,
    search: ViewSearch,
    merger: Merger,
    /// Of each window, where the search asks for them.
    classes: Vec<Vec<u16>>,
}

impl Views {
    /// The views of `config`, if there are any. Distances are brought to the whole picture's scale if the bank knows what
    /// is normal for these very views; if not, the log says so and they are taken as they are.
    pub(super) fn open(config: &Config, bank: Option<&Bank>) -> Option<Views> {
        let layout = Layout::of(&config.views)?;
        let wanted = config.views.describe();
        let known = bank.and_then(|bank| bank.calibration()?.views.as_ref()).filter(|v| v.views == wanted);
        let scales = match known {
            Some(known) => known.baselines.iter().map(ViewBaseline::scale).collect(),
            None => {
                tracing::warn!(
                    "the bank was built without these [views]: their distances are combined as they are, though every scale \
                     has its own; build it with this configuration: farout bank build -c"
                );
                Vec::new()
            }
        };
        tracing::info!(views = wanted, runs = layout.len() + 1, "views");
        Some(Views {
            search: ViewSearch::new(&layout),
            merger: Merger::new(&layout, scales),
            classes: vec![Vec::new(); layout.len()],
            layout,
        })
    }

    /// Merges the distances of a picture (its width and height, its features and logits) and of its views into `out`.
    pub(super) fn step(
        &mut self,
        gauge: &mut Gauge,
        (size, features, logits): ((usize, usize), &Features, Option<&Logits>),
        (whole, views): (&Distances, &[Features]),
        out: &mut Distances,
    ) -> Result<()> {
        if let Some(logits) = logits.filter(|_| gauge.wants_classes()) {
            for (((_, window), view), classes) in self.layout.windows().zip(views).zip(&mut self.classes) {
                logits.patch_classes_in(window, view.grid, classes);
            }
        }
        let parts = self.search.step(gauge, features, views, &self.classes)?;
        self.merger.step(size, whole, parts, out).map_err(|why| anyhow!(why))
    }
}

/// What makes inputs of each view and tile of `config`, for a model that takes what `spec` says.
///
/// # Errors
/// A height that the model does not take.
pub(super) fn preprocessors(config: &ViewsConfig, spec: &InputSpec) -> Result<Vec<Preprocessor>> {
    let layout = Layout::of(config);
    let windows = layout.iter().flat_map(Layout::windows);
    let open = |(view, window): (&crate::views::Placed, crate::views::Window)| {
        let of_view = spec.at_height(view.height);
        let spec = of_view.map_err(|why| ConfigError::Invalid(format!("views.more: {why}")))?;
        Ok(Preprocessor::of_window(&spec, window))
    };
    windows.map(open).collect()
}
