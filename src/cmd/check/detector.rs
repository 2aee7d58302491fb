//! What would be judged, and by what.

use std::path::Path;

use crate::bank::Bank;
use crate::config::{Config, StreamConfig};
use crate::detector;
use crate::finding::{Finding, Standing};
use crate::model::{self, Loaded};
use crate::score::{ScoreInputs, Scorer};

const TOPIC: &str = "detector";

/// Model, bank, whether they belong together, and each stream's threshold. No model is run: neither GPU nor ONNX Runtime is
/// needed.
pub(super) fn findings(config: &Config, streams: &[StreamConfig]) -> Vec<Finding> {
    let mut found = Vec::new();
    let loaded =
        note(&mut found, "model", model::load(&config.model).map_err(|why| why.to_string()), |model| {
            format!("{}, input {}, features {}", config.model.path.display(), model.size, model.features)
        });
    let mut bank = None;
    if !config.bank.path.as_os_str().is_empty() {
        let opened = opened(&config.bank.path, config.search.k, loaded.as_ref());
        bank = note(&mut found, "bank", opened, |bank| {
            format!("{}, {} x {}", config.bank.path.display(), bank.rows(), bank.width())
        });
    }
    for (at, rung) in config.flow.ladder.iter().enumerate() {
        if let Some(path) = &rung.bank {
            // Its input has another height: the model is the same file.
            let name = format!("flow.ladder {}", at + 1);
            note(&mut found, &name, opened(path, config.search.k, loaded.as_ref()), |_| rung.to_string());
        }
    }
    if config.roi.has_model() {
        let path = config.roi.model.display();
        let read = model::load(&config.roi.model_config()).map_err(|why| why.to_string());
        note(&mut found, "roi.model", read, |_| path.to_string());
    }
    if let Some(loaded) = &loaded
        && (bank.is_some() || config.bank.path.as_os_str().is_empty())
    {
        found.extend(streams.iter().map(|stream| threshold(stream, config, loaded, bank.as_ref())));
    }
    found
}

/// Adds what was tried: the words for it, or why it failed.
fn note<T>(
    found: &mut Vec<Finding>,
    name: &str,
    tried: Result<T, String>,
    words: impl Fn(&T) -> String,
) -> Option<T> {
    let (standing, detail) = match &tried {
        Ok(one) => (Standing::Good, words(one)),
        Err(why) => (Standing::Bad, why.clone()),
    };
    found.push(Finding::new(TOPIC, name, standing, detail));
    tried.ok()
}

/// A bank that can be searched, and was made with this model file and tensor.
fn opened(path: &Path, k: usize, loaded: Option<&Loaded>) -> Result<Bank, String> {
    let bank = Bank::open(path, k).map_err(|why| why.to_string())?;
    let made = &bank.metadata().model;
    match loaded {
        Some(model) if made.sha256 != model.sha256 => Err(format!(
            "{} was made with another model: {}, SHA-256 {}; this one has {}",
            path.display(),
            made.name,
            made.sha256,
            model.sha256
        )),
        Some(model) if made.features != model.features => Err(format!(
            "{} holds features of the tensor {}, and {} is taken of the model",
            path.display(),
            made.features,
            model.features
        )),
        _ => Ok(bank),
    }
}

/// What would alarm in a stream.
fn threshold(stream: &StreamConfig, config: &Config, model: &Loaded, bank: Option<&Bank>) -> Finding {
    let score = &stream.score;
    let views = config.views.describe();
    let at_hand = ScoreInputs {
        bank,
        k: config.search.k,
        has_logits: model.logits_output.is_some(),
        logits_kind: model.config.logits_kind,
        same_views: bank.map_or("", Bank::views) == views,
    };
    let method = score.method.name();
    let scorer = Scorer::open(score.method, score, &at_hand).map_err(|why| why.to_string());
    let told = scorer.and_then(|_| {
        detector::threshold(score, bank, config.search.k, &views).map_err(|why| why.to_string())
    });
    let name = match &stream.name {
        Some(name) => format!("threshold of {name}"),
        None => "threshold".to_owned(),
    };
    match told {
        Ok(threshold) => {
            let detail = format!("{method} above {:.4} alarms ({})", threshold.value, threshold.basis);
            Finding::new(TOPIC, name, Standing::Good, detail)
        }
        Err(why) => Finding::new(TOPIC, name, Standing::Bad, why),
    }
}
