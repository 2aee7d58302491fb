//! Making a prepared file: what was asked for is chosen, assembled, checked against the original, written.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use prost::Message;
use serde::Serialize;

use super::chosen::{Chosen, chosen};
use super::head::{self, FormerOrigin, HeadTold};
use super::look::{Examined, Facts, Look, examine};
use super::parity::{Compared, Comparison, compare};
use super::pictures::pictures;
use super::quantised::{QuantisedTold, quantised};
use super::request::{LogitsChoice, Request};
use crate::features::{BareSession, Golden, InputSpec, RuntimeConfig, golden};
use crate::file;
use crate::grid::{Features, Grid};
use crate::model::assemble::{Assembly, FEATURES, assemble};
use crate::model::head::{Attached, Head};
use crate::model::logits::Logits;
use crate::model::onnx::StringStringEntryProto;
use crate::model::read::encode;
use crate::model::survey::{Candidate, Survey};
use crate::model::{GOLDEN_KEY, InputSize, Layout, ModelConfig, SizeRule};
use crate::pool::Pooled;

/// Allowed difference from the original as part of the largest number: rounding of 32-bit floats.
const TOLERANCE: f32 = 1e-4;
/// The same where 16-bit floats are used inside.
const TOLERANCE_HALF: f32 = 5e-3;

/// What was made.
#[derive(Debug, Clone, Serialize)]
pub struct Prepared {
    /// The file written.
    pub file: String,
    /// Its bytes.
    pub bytes: usize,
    /// Input size.
    pub size: InputSize,
    /// True if nobody chose the size: not the user, not the file.
    pub size_assumed: bool,
    /// True if mean and deviation were not given and ImageNet's were taken.
    pub normalisation_assumed: bool,
    /// How pixels become numbers.
    pub normalisation: String,
    /// Selectors of the features.
    pub features: Vec<String>,
    /// Rows and columns of their grid.
    pub grid: (usize, usize),
    /// Numbers per cell.
    pub width: usize,
    /// What each of the features was found by.
    pub found_by: Vec<String>,
    /// The logits.
    pub logits: Option<Logits>,
    /// The operator that makes probabilities or a decision of them in the original, if one was asked past.
    pub logits_before: Option<String>,
    /// Heads that were found and not taken: their names, and the outputs that they end in.
    pub other_heads: Vec<(String, Vec<String>)>,
    /// The head that makes the logits instead.
    pub head: Option<HeadTold>,
    /// What 8-bit integers do to it.
    pub quantized: Option<QuantisedTold>,
    /// Nodes before and after.
    pub nodes: (usize, usize),
    /// Multiply-accumulates per frame before and after.
    pub macs: (u64, u64),
    /// The comparison with the original.
    pub compared: Vec<Compared>,
}

/// Where a prepared file comes from; stored in it.
#[derive(Debug, Serialize)]
struct Origin<'a> {
    file: String,
    sha256: &'a str,
    producer: &'a str,
    features: Vec<(String, String)>,
    logits: Option<&'a Logits>,
    head: Option<&'a HeadTold>,
    classes: &'a [String],
    normalisation_assumed: bool,
    farout: &'static str,
}

/// Prepares a model and writes it to `output`.
///
/// # Errors
/// [`crate::model::ModelError`] by downcast for what is no model; else what was asked for and is not there, what
/// cannot be done, or how the result differs from the original. Nothing is written then.
pub fn prepare(request: &Request, output: &Path, runtime: &RuntimeConfig) -> Result<Prepared> {
    let same =
        |a: &Path, b: &Path| a.canonicalize().ok().is_some_and(|real| b.canonicalize().ok() == Some(real));
    if same(&request.path, output) {
        bail!(
            "{} would be overwritten by its own preparation; choose another name for --output",
            output.display()
        );
    }
    file::try_place(output)?;
    let look = Look { size: request.size, layout: request.layout, constants: request.constants.clone() };
    let Examined { facts, whole, traced } = examine(&request.path, &look, runtime)?;
    if let Some(layout) = request.layout.filter(|layout| *layout != facts.layout) {
        bail!(
            "{}: --layout says {}, but its input is {}",
            request.path.display(),
            named(layout),
            facts.inputs.join("; ")
        );
    }
    let survey = Survey::of(&traced);
    let what = request.path.display();
    let Chosen { features, logits, logits_before } = chosen(request, &survey, &traced)?;
    let first = features.first().context("no features; this is a bug in farout")?;
    let grid = first.plan.grid;
    let patch = patch(facts.size, grid).with_context(|| format!("{what}: {}", first.selector))?;
    let head = request.head.as_deref().map(|path| own_head(path, &facts, &survey, runtime)).transpose();
    let head = head.with_context(|| format!("{what}: --head"))?;
    let told = head.as_ref().map(|one| &one.told);
    let attached = head.as_ref().map(|one| Attached { head: &one.head, features: &one.features });
    let others = survey.heads.iter().filter(|_| request.logits == LogitsChoice::Auto && head.is_none());
    let others = others.filter(|head| Some(&head.logits) != logits.as_ref());
    let other_heads = others.map(|head| (head.selector.clone(), head.outputs.clone())).collect();
    let count = told.map(|one| one.classes).or(logits.as_ref().map(Logits::classes));
    let former = FormerOrigin::of(&facts);
    let classes = [
        &request.classes[..],
        head.as_ref().map_or(&[], |one| &one.head.classes),
        former.as_ref().map_or(&[], |one| &one.classes),
        &facts.classes,
    ];
    let classes = classes.into_iter().find(|names| !names.is_empty()).unwrap_or_default();
    if let (Some(count), false) = (count, request.classes.is_empty())
        && count != request.classes.len()
    {
        bail!(
            "{what}: {} names of classes are given, its logits have {count} classes",
            request.classes.len()
        );
    }
    let raw_bytes = facts.input_format == "uint8";
    let own = own_section(&facts);
    let (mut section, assumed) = section(request, own.clone(), patch, raw_bytes);
    // What a prepared file says of its outputs stays true of them.
    if matches!(&features[..], [one] if one.selector == FEATURES) {
        section.parts = own.parts;
    }
    if logits.as_ref().is_some_and(|one| own.logits.as_deref() == Some(one.tensors()[0])) {
        section.logits_kind = own.logits_kind;
    }
    let normalisation = section.normalisation();
    // What a prepared file was made from is what its preparation is made from.
    let source = |one: &Candidate| match &former {
        Some(former) if one.selector == FEATURES => former.features.clone(),
        _ => vec![(one.selector.clone(), one.plan.tensor.clone())],
    };
    let own_name = request.path.file_name().map(|name| name.to_string_lossy().into_owned());
    let origin = Origin {
        file: former.as_ref().map_or(own_name.unwrap_or_default(), |one| one.file.clone()),
        sha256: former.as_ref().map_or(&facts.sha256, |one| &one.sha256),
        producer: former.as_ref().map_or(&facts.producer, |one| &one.producer),
        features: features.iter().flat_map(source).collect(),
        logits: logits.as_ref(),
        head: told,
        classes: if count.is_some_and(|count| count == classes.len()) { classes } else { &[] },
        normalisation_assumed: assumed,
        farout: env!("CARGO_PKG_VERSION"),
    };
    let assembly = Assembly {
        features: &features,
        logits: logits.as_ref(),
        head: attached,
        section: section.clone(),
        origin: serde_json::to_string(&origin)?,
    };
    let mut model = assemble(&traced, &survey, &assembly).map_err(|why| anyhow!("{what}: {why}"))?;
    let bytes = encode(&model).map_err(|why| anyhow!("{what}: {why}"))?;
    let spec = InputSpec { size: SizeRule::Fixed(facts.size), unit: patch, normalisation };
    let pictures = pictures(&spec, facts.size, &request.pictures)?;
    let mut all = features.iter().chain(attached.iter().flat_map(|one| one.features));
    let laid_open = !all.all(|one| makes(&whole, &one.plan.tensor));
    let against = Comparison {
        whole: if laid_open { &traced.model } else { &whole },
        prepared: &bytes,
        features: &features,
        logits: logits.as_ref(),
        head: attached,
        survey: &survey,
        as_written: facts.numbers.integers,
        tolerance: if facts.numbers.float16 { TOLERANCE_HALF } else { TOLERANCE },
    };
    let compared = compare(&against, &pictures, (facts.size.width, facts.size.height), runtime)
        .with_context(|| format!("{what}: comparing the prepared model with the original"))?;
    let fed = (survey.web.input, facts.size);
    let quantized = match request.quantize {
        true => {
            Some(quantised(&mut model, &bytes, &pictures, fed, runtime).with_context(|| what.to_string())?)
        }
        false => None,
    };
    let bytes = if request.quantize { model.encode_to_vec() } else { bytes };
    let golden = golden(&bytes, survey.web.input, facts.size, runtime)
        .with_context(|| format!("{what}: the golden frame"))?;
    let entry = (Some(GOLDEN_KEY.to_owned()), Some(golden.to_text()));
    model.metadata_props.push(StringStringEntryProto { key: entry.0, value: entry.1 });
    let bytes = model.encode_to_vec();
    let nodes = model.graph.as_ref().map_or(0, |graph| graph.node.len());
    let mut needed: Vec<&str> = features.iter().map(|one| one.plan.tensor.as_str()).collect();
    needed.extend(logits.iter().flat_map(Logits::tensors));
    needed.extend(attached.iter().flat_map(|one| one.features).map(|one| one.plan.tensor.as_str()));
    let macs = crate::model::cost::macs_up_to(&survey.web, &survey.costs, &needed);
    file::write_whole(output, |writer| writer.write_all(&bytes))?;
    Ok(Prepared {
        file: output.display().to_string(),
        bytes: bytes.len(),
        size: facts.size,
        size_assumed: request.size.is_none() && facts.declared.is_none(),
        normalisation_assumed: assumed,
        normalisation: normalisation.to_string(),
        features: features.iter().map(|one| one.selector.clone()).collect(),
        grid: (grid.rows, grid.cols),
        width: features.iter().map(|one| one.plan.width()).sum(),
        found_by: features.iter().map(|one| one.found_by.clone()).collect(),
        head: told.cloned(),
        quantized,
        logits,
        logits_before,
        other_heads,
        nodes: (facts.nodes, nodes),
        macs: (survey.macs, macs),
        compared,
    })
}

fn named(layout: Layout) -> &'static str {
    match layout {
        Layout::Nchw => "nchw",
        Layout::Nhwc => "nhwc",
    }
}

fn makes(model: &crate::model::onnx::ModelProto, name: &str) -> bool {
    model.graph.iter().flat_map(|graph| &graph.node).any(|one| one.output.iter().any(|output| output == name))
}

/// Side of a cell in pixels.
fn patch(size: InputSize, grid: Grid) -> Result<usize> {
    let Some(patch) = grid.patch_of(size.width, size.height, None) else {
        bail!(
            "an input of {size} gives {}x{} cells, which are not square patches of whole pixels; give --size a multiple of about {}",
            grid.cols,
            grid.rows,
            (size.height / grid.rows.max(1)).max(1)
        );
    };
    Ok(patch.side)
}

/// A head that was read, found to compute what its training did, and whose features are there.
struct OwnHead {
    head: Head,
    features: Vec<Candidate>,
    told: HeadTold,
}

fn own_head(path: &Path, facts: &Facts, survey: &Survey, runtime: &RuntimeConfig) -> Result<OwnHead> {
    let head = Head::read(path)?;
    let features = head::wanted(&head, facts, survey).with_context(|| path.display().to_string())?;
    let told = HeadTold {
        file: path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        kind: head.kind,
        classes: head.classes.len(),
        features: head.features.clone(),
        held_out_miou: head.notes.get("held_out_miou").cloned(),
        differs_from_training: head::check(&head, path, runtime)?,
    };
    Ok(OwnHead { head, features, told })
}

/// What the CPU gives for the golden frame.
fn golden(bytes: &[u8], input: &str, size: InputSize, runtime: &RuntimeConfig) -> Result<Golden> {
    let InputSize { width, height } = size;
    let frame = golden::input(width, height);
    let outputs =
        BareSession::open(bytes, runtime, true)?.run(Some((input, [1, 3, height, width], &frame.data)))?;
    let features = outputs.iter().find(|tensor| tensor.name() == FEATURES);
    let (dims, data) = features
        .and_then(|tensor| Some((&tensor.dims[..], tensor.floats()?)))
        .ok_or_else(|| anyhow!("there is no output {FEATURES}"))?;
    let &[1, rows, cols, width] = dims else { bail!("the output {FEATURES} is {dims:?}") };
    let side = |side: i64| usize::try_from(side).unwrap_or(0);
    let grid = Grid { rows: side(rows), cols: side(cols) };
    Ok(Golden::of(&Features { grid, width: side(width), data: Pooled::unpooled(data), on_gpu: None }))
}

/// The section that a file which was prepared before carries.
fn own_section(facts: &Facts) -> ModelConfig {
    facts.section.as_deref().and_then(|text| toml::from_str(text).ok()).unwrap_or_default()
}

/// The section that the file carries, and whether the normalisation in it is a guess. What is not given is
/// taken from the section that the file has already.
fn section(request: &Request, own: ModelConfig, patch: usize, raw_bytes: bool) -> (ModelConfig, bool) {
    let given = &request.preprocessing.clone().or(own);
    let nothing = given.mean.is_none() && given.std.is_none();
    let defaults = match raw_bytes {
        true => {
            ModelConfig { scale: Some(1.0), mean: Some([0.0; 3]), std: Some([1.0; 3]), ..Default::default() }
        }
        false => ModelConfig::default(),
    };
    let merged = given.clone().or(defaults);
    let all = merged.normalisation();
    let section = ModelConfig {
        channels: Some(all.channels),
        scale: Some(all.scale),
        mean: Some(all.mean),
        std: Some(all.std),
        patch: Some(patch),
        ..Default::default()
    };
    (section, nothing && !raw_bytes)
}
