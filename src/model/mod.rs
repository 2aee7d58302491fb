//! What an ONNX file is: reading it, choosing tensors, rewriting it in memory. Knows nothing
//! of how it is run.

pub mod array;
pub mod assemble;
pub mod attention;
mod candidates;
pub mod cells;
pub mod config;
pub mod constant;
pub mod cost;
pub mod external;
pub mod finals;
pub mod graph;
pub mod head;
pub mod heads;
pub mod inline;
pub mod integers;
pub mod lift;
pub mod logits;
pub mod movement;
pub mod norms;
pub mod onnx;
pub mod opset;
pub mod order;
pub mod picture;
pub mod projection;
pub mod quantise;
pub mod read;
pub mod readout;
pub mod rewrite;
pub mod scope;
pub mod sparse;
pub mod stages;
pub mod stream;
pub mod sums;
pub mod survey;
pub mod trace;
pub mod unfuse;
pub mod unsigned;
pub mod web;
pub mod widen;

use std::path::PathBuf;

pub use config::{Channels, InputSize, Layout, ModelConfig, Normalisation, SizeRule, SkipTokens};

use onnx::ModelProto;
use prost::Message;

/// Metadata key under which a prepared file carries its own `[model]` section, as TOML without
/// `path`.
pub const METADATA_KEY: &str = "farout.model";

/// Metadata key under which a prepared file carries the CPU's features of the golden frame.
pub const GOLDEN_KEY: &str = "farout.golden";

/// Why a model file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No path was configured.
    #[error("no model is configured: set `path` in [model] or give --model FILE.onnx")]
    NoPath,
    /// It cannot be read.
    #[error("cannot read the model {path}: {source}", path = path.display())]
    Unreadable {
        /// What was asked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What was read is no (whole) ONNX model.
    #[error("{path} is not a usable ONNX model: {why}", path = path.display())]
    NotOnnx {
        /// What was asked for.
        path: PathBuf,
        /// What it is instead, and what to try.
        why: String,
    },
    /// It does not hold what the configuration asks for.
    #[error("model {path}: {why}", path = path.display())]
    Unfit {
        /// What was asked for.
        path: PathBuf,
        /// What is missing, what there is, and what to try.
        why: String,
    },
}

/// A model read and rewritten, ready for ONNX Runtime.
#[derive(Debug)]
pub struct Loaded {
    /// The rewritten file: one image input, the wanted tensors as outputs, no other nodes.
    pub bytes: Vec<u8>,
    /// SHA-256 of the file as it lies on the disk, and of the external data it names.
    pub sha256: String,
    /// The section, completed by what the file says of itself.
    pub config: ModelConfig,
    /// How the input's size follows from the frame's.
    pub size: SizeRule,
    /// The sides that the file itself declares for its input.
    pub declared: Option<InputSize>,
    /// Name of the image input.
    pub input: String,
    /// The feature tensor as the configuration names it.
    pub features: String,
    /// The graph output that holds it now.
    pub features_output: String,
    /// The graph output that holds the logits, if they were asked for.
    pub logits_output: Option<String>,
    /// Names of the classes of the logits, where a prepared file tells them.
    pub classes: Vec<String>,
    /// Side of the patches, if a convolution over the input tells it.
    pub patch_hint: Option<usize>,
    /// The golden frame's features on the CPU, as a prepared file carries them; only where its own features
    /// are what is run, at its own size.
    pub golden: Option<String>,
    /// Nodes kept, and nodes in the file.
    pub nodes: (usize, usize),
}

/// Reads and rewrites the model that `config` names.
///
/// # Errors
/// [`ModelError`], naming the file, what is wrong and what to try.
pub fn load(config: &ModelConfig) -> Result<Loaded, ModelError> {
    let path = config.path.clone();
    let (mut model, sha256) = read::read(&path)?;
    let unfit = |why: String| ModelError::Unfit { path: path.clone(), why };
    let before = model.graph.as_ref().map_or(0, |graph| graph.node.len());
    inline::functions(&mut model).map_err(unfit)?;
    widen::widen(&mut model);
    let mut golden = None;
    let config = match metadata(&model, METADATA_KEY) {
        Some(text) => {
            let own: ModelConfig = toml::from_str(&text)
                .map_err(|e| unfit(format!("its metadata {METADATA_KEY} cannot be read: {}", e.message())))?;
            let merged = config.clone().or(own.clone());
            if (&merged.features, merged.size) == (&own.features, own.size) {
                golden = metadata(&model, GOLDEN_KEY);
            }
            merged
        }
        None => config.clone(),
    };
    check(&config).map_err(unfit)?;

    let classes = class_names(&model);
    let graph = model.graph.get_or_insert_default();
    let input = graph::image_input(graph).map_err(unfit)?;
    let declared = graph::declared_size(graph, &input).map_err(unfit)?;
    let size = size_rule(&config, declared).map_err(unfit)?;
    let features = match &config.features {
        Some(name) => name.clone(),
        None => graph::only_output(graph, config.logits.as_deref()).map_err(unfit)?,
    };
    for name in [Some(&features), config.logits.as_ref()].into_iter().flatten() {
        graph::require(graph, name).map_err(unfit)?;
    }
    if let Some(name) = &config.logits {
        heads::require_scores(graph, name).map_err(unfit)?;
    }

    let changed =
        !matches!((size, declared), (SizeRule::Fixed(asked), graph::Declared::Fixed(own)) if asked == own);
    rewrite::set_input_size(graph, &input, size, changed);
    let features_output = rewrite::expose(graph, &features, "farout_features");
    let logits_output = config.logits.as_ref().map(|name| rewrite::expose(graph, name, "farout_logits"));
    let wanted: Vec<&str> =
        [Some(&features_output), logits_output.as_ref()].into_iter().flatten().map(String::as_str).collect();
    rewrite::keep_only(graph, &wanted);
    if !graph.input.iter().any(|value| value.name() == input) {
        return Err(unfit(format!(
            "the tensor {features} does not depend on the input {input}; name another in `features`"
        )));
    }
    if let Some(other) =
        graph.input.iter().find(|value| value.name() != input && !graph::is_initializer(graph, value.name()))
    {
        return Err(unfit(format!(
            "besides the image {input} it needs the input {0}; if that is the same for every picture, `farout model \
             prepare --constant {0}=VALUE` makes a file without it; only models of one image can run",
            other.name()
        )));
    }
    let (patch_hint, kept) = (graph::patch_hint(graph, &input), graph.node.len());
    Ok(Loaded {
        bytes: model.encode_to_vec(),
        sha256,
        size,
        declared: match declared {
            graph::Declared::Fixed(size) => Some(size),
            graph::Declared::Free | graph::Declared::Half => None,
        },
        input,
        features,
        features_output,
        logits_output,
        classes,
        patch_hint,
        golden,
        nodes: (kept, before),
        config,
    })
}

/// `config` with what it leaves open of a model of which only class scores are wanted: they are the only output if none is
/// named, and stand for the features of a file that was not prepared.
///
/// # Errors
/// [`ModelError`]: what [`load`] says of the file itself; no class scores, or several outputs that may be.
pub fn for_classes(config: &ModelConfig) -> Result<ModelConfig, ModelError> {
    let (model, _) = read::read(&config.path)?;
    let unfit = |why: String| ModelError::Unfit { path: config.path.clone(), why };
    let own: ModelConfig =
        metadata(&model, METADATA_KEY).and_then(|text| toml::from_str(&text).ok()).unwrap_or_default();
    let mut config = config.clone();
    if own.features.is_some() {
        return match config.logits.is_some() || own.logits.is_some() {
            true => Ok(config),
            false => Err(unfit("it gives no class scores: prepare it again, with --logits".to_owned())),
        };
    }
    if config.logits.is_none() {
        let outputs = model.graph.map(|graph| graph.output).unwrap_or_default();
        let [only] = &outputs[..] else {
            let listed = outputs.iter().map(graph::describe).collect::<Vec<_>>().join("; ");
            return Err(unfit(format!(
                "name the one of its outputs that holds the class scores; they are: {listed}"
            )));
        };
        config.logits = Some(only.name().to_owned());
    }
    config.features.clone_from(&config.logits);
    Ok(config)
}

fn metadata(model: &ModelProto, key: &str) -> Option<String> {
    model.metadata_props.iter().find(|entry| entry.key() == key)?.value.clone()
}

/// The classes in the origin that `prepare` notes; none if there is no such entry.
fn class_names(model: &ModelProto) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Origin {
        #[serde(default)]
        classes: Vec<String>,
    }
    let entry = model.metadata_props.iter().find(|entry| entry.key() == assemble::ORIGIN_KEY);
    let origin = entry.and_then(|entry| serde_json::from_str::<Origin>(entry.value()).ok());
    origin.map(|origin| origin.classes).unwrap_or_default()
}

fn check(config: &ModelConfig) -> Result<(), String> {
    let fault = if config.size.is_some() && config.height.is_some() {
        "`size` and `height` exclude each other: keep one"
    } else if [config.height, config.patch, config.multiple]
        .into_iter()
        .flatten()
        .any(|n| n == 0 || n > 1 << 15)
    {
        "`height`, `patch` and `multiple` are pixels from 1 to 32768"
    } else if config.std.is_some_and(|std| std.iter().any(|s| !(s.is_normal() && *s > 0.0))) {
        "`std` must be positive: every channel is divided by it"
    } else if config.mean.into_iter().flatten().chain(config.scale).any(|n| !n.is_finite())
        || config.scale == Some(0.0)
    {
        "`scale` and `mean` must be finite, `scale` not zero"
    } else {
        return Ok(());
    };
    Err(fault.to_owned())
}

fn size_rule(config: &ModelConfig, declared: graph::Declared) -> Result<SizeRule, String> {
    Ok(match (config.size, config.height, declared) {
        (Some(size), _, _) => SizeRule::Fixed(size),
        (None, Some(height), _) => SizeRule::Height(height),
        (None, None, graph::Declared::Fixed(size)) => SizeRule::Fixed(size),
        (None, None, graph::Declared::Free) => SizeRule::Frame,
        (None, None, graph::Declared::Half) => {
            return Err(
                "it declares one side of its input and leaves the other free: set `size` or `height`"
                    .to_owned(),
            );
        }
    })
}
