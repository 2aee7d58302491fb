//! A prepared model from a traced one: the output `features` `[1, h, w, C]`, the output `logits`
//! `[1, K, rows, cols]`, nothing that these do not need, and a section that says how to feed it.

use super::head::{self, Attached};
use super::onnx::{
    Dimension, DimensionValue, GraphProto, ModelProto, StringStringEntryProto, TensorProto, data_type, int,
    int_tensor, node, tensor_value,
};
use super::readout::Readout;
use super::survey::{Candidate, Survey};
use super::trace::Traced;
use super::{GOLDEN_KEY, METADATA_KEY, ModelConfig};
use super::{opset, rewrite, scope};
use crate::grid::LogitsKind;
use crate::identity::FeaturePart;

/// Name of the output that holds the features.
pub const FEATURES: &str = "features";
/// Name of the output that holds the logits.
pub const LOGITS: &str = "logits";
/// Metadata key under which a prepared file says, as JSON, what it was made from.
pub const ORIGIN_KEY: &str = "farout.origin";

/// What to make of a traced graph.
#[derive(Debug)]
pub struct Assembly<'a> {
    /// Features to put side by side, all of one grid.
    pub features: &'a [Candidate],
    /// The logits.
    pub logits: Option<&'a super::logits::Logits>,
    /// A head that makes the logits instead.
    pub head: Option<Attached<'a>>,
    /// What the file shall say of itself; tensors, size and layout are filled in here, and parts and kind of
    /// the logits where nothing is known of them.
    pub section: ModelConfig,
    /// What it was made from, JSON.
    pub origin: String,
}

/// The prepared model.
///
/// # Errors
/// If the features lie on different grids.
pub fn assemble(traced: &Traced, survey: &Survey, wanted: &Assembly) -> Result<ModelProto, String> {
    let Some(first) = wanted.features.first() else {
        return Err("name the features to take".to_owned());
    };
    let grid = first.plan.grid;
    if let Some(other) = wanted.features.iter().find(|one| one.plan.grid != grid) {
        return Err(format!(
            "{} has {}x{} cells and {} has {}x{}: only features of one grid can be put side by side",
            first.selector, grid.cols, grid.rows, other.selector, other.plan.grid.cols, other.plan.grid.rows
        ));
    }
    if let Some(other) = wanted.head.iter().flat_map(|one| one.features).find(|one| one.plan.grid != grid) {
        return Err(format!(
            "{}, which the head wants, does not lie on the grid of {}",
            other.selector, first.selector
        ));
    }
    let plans: Vec<Readout> = wanted.features.iter().map(|one| one.plan.clone()).collect();
    let model = with_outputs(traced, survey, wanted, &plans)?;
    match narrowed(traced, &model, &plans) {
        None => Ok(model),
        Some((slim, plans)) => with_outputs(&slim, survey, wanted, &plans),
    }
}

fn with_outputs(
    traced: &Traced,
    survey: &Survey,
    wanted: &Assembly,
    plans: &[Readout],
) -> Result<ModelProto, String> {
    let mut model = traced.model.clone();
    let graph = model.graph.get_or_insert_default();
    let prefix = unused(graph);
    graph.output.clear();
    // Made under names that nobody has, and given their own at the end.
    let (made, dims) = side_by_side(graph, &format!("{prefix}/features"), plans);
    finish(graph, &made, FEATURES, &dims);
    let mut outputs = vec![FEATURES];
    let logits_made = format!("{prefix}/logits");
    if let Some(Attached { head, features }) = wanted.head {
        let plans: Vec<Readout> = features.iter().map(|one| one.plan.clone()).collect();
        let grid = plans.first().map(|plan| plan.grid).ok_or("a head needs features")?;
        let (cells, _) = side_by_side(graph, &format!("{prefix}/head"), &plans);
        let (nodes, constants) = head::graph::nodes(head, grid, &cells, &logits_made)?;
        graph.node.extend(nodes);
        graph.initializer.extend(constants);
        finish(graph, &logits_made, LOGITS, &[1, head.classes.len(), grid.rows, grid.cols]);
        outputs.push(LOGITS);
    } else if let Some(logits) = wanted.logits {
        let (nodes, constants) = logits.nodes(&survey.web, &survey.cells, &logits_made)?;
        graph.node.extend(nodes);
        graph.initializer.extend(constants);
        let place = survey.cells.get(logits.tensors().last().copied().unwrap_or_default());
        let grid = place.map(|cells| cells.grid).unwrap_or_default();
        finish(graph, &logits_made, LOGITS, &[1, logits.classes(), grid.rows, grid.cols]);
        outputs.push(LOGITS);
    }
    rewrite::keep_only(graph, &outputs);
    rewrite::drop_copies(graph);
    scope::part(graph);
    opset::fit(&mut model)?;
    model.metadata_props.retain(|entry| ![METADATA_KEY, ORIGIN_KEY, GOLDEN_KEY].contains(&entry.key()));
    let part = |one: &Candidate| FeaturePart { name: one.selector.clone(), width: one.plan.width() };
    let section = ModelConfig {
        features: Some(FEATURES.to_owned()),
        parts: wanted.section.parts.clone().or_else(|| Some(wanted.features.iter().map(part).collect())),
        logits: outputs.contains(&LOGITS).then(|| LOGITS.to_owned()),
        logits_kind: match wanted.head {
            // Heads are trained by cross entropy.
            Some(_) => Some(LogitsKind::Classes),
            None => wanted.section.logits_kind.or(wanted.logits.map(super::logits::Logits::kind)),
        },
        size: Some(traced.size),
        layout: Some(super::Layout::Nhwc),
        ..wanted.section.clone()
    };
    for (key, value) in [(METADATA_KEY, section_text(&section)?), (ORIGIN_KEY, wanted.origin.clone())] {
        model.metadata_props.push(StringStringEntryProto { key: Some(key.to_owned()), value: Some(value) });
    }
    Ok(model)
}

/// The beginning of names that no tensor has: a prepared file may be prepared again.
fn unused(graph: &GraphProto) -> String {
    let mut prefix = "farout".to_owned();
    let begins =
        |prefix: &str, name: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
    while graph.any_name(&|name| begins(&prefix, name)) {
        prefix.push('_');
    }
    prefix
}

/// Adds what puts the features of `plans`, all of one grid, side by side; the tensor and its dimensions
/// `[1, h, w, C]`.
fn side_by_side(graph: &mut GraphProto, name: &str, plans: &[Readout]) -> (String, [usize; 4]) {
    let grid = plans.first().map(|plan| plan.grid).unwrap_or_default();
    let mut parts = Vec::new();
    for (n, plan) in plans.iter().enumerate() {
        let part = format!("{name}_{n}");
        let (nodes, constants) = plan.nodes(&part);
        graph.node.extend(nodes);
        graph.initializer.extend(constants);
        parts.push(part);
    }
    let mut whole = parts.first().cloned().unwrap_or_default();
    if parts.len() > 1 {
        name.clone_into(&mut whole);
        let inputs: Vec<&str> = parts.iter().map(String::as_str).collect();
        graph.node.push(node("Concat", &inputs, &whole, vec![int("axis", 1)]));
    }
    let dims = [1, grid.rows, grid.cols, plans.iter().map(Readout::width).sum()];
    let (shape, out) = (format!("{name}_shape"), format!("{name}_out"));
    graph.initializer.push(int_tensor(&shape, &dims.map(|dim| dim as i64)));
    graph.node.push(node("Reshape", &[&whole, &shape], &out, Vec::new()));
    (out, dims)
}

/// Makes the tensor `made` the output `name` with float numbers and fixed dimensions.
fn finish(graph: &mut GraphProto, made: &str, name: &str, dims: &[usize]) {
    let taken = graph.node.iter().flat_map(|one| &one.output).any(|output| output == name)
        || graph.initializer.iter().any(|tensor| tensor.name() == name);
    if taken {
        let other = rewrite::fresh(graph, &format!("{name}_inside"));
        rewrite::rename(graph, name, &other);
    }
    graph.node.push(rewrite::cast(made, name, data_type::FLOAT));
    let dim =
        |&side: &usize| Dimension { value: Some(DimensionValue::DimValue(side as i64)), denotation: None };
    graph.output.push(tensor_value(name, data_type::FLOAT, Some(dims.iter().map(dim).collect())));
}

fn section_text(section: &ModelConfig) -> Result<String, String> {
    let mut table = toml::Table::try_from(section).map_err(|e| e.to_string())?;
    table.remove("path");
    toml::to_string(&table).map_err(|e| e.to_string())
}

/// Where only some channels of a linear layer are wanted and nothing else in the `assembled` model reads it,
/// a copy of the traced model with only these channels in the layer, and plans that take them all.
fn narrowed(traced: &Traced, assembled: &ModelProto, plans: &[Readout]) -> Option<(Traced, Vec<Readout>)> {
    let cut = assembled.graph.as_ref()?;
    let mut slim = traced.model.clone();
    let mut plans = plans.to_vec();
    let mut any = false;
    for at in 0..plans.len() {
        let plan = &plans[at];
        let shared = plans.iter().filter(|other| other.tensor == plan.tensor).count() > 1;
        let (Some(picks), &[axis], false) = (&plan.picks, &plan.channels[..], shared) else { continue };
        if narrow(slim.graph.as_mut()?, cut, &plan.tensor, picks).is_some() {
            any = true;
            let plan = &mut plans[at];
            plan.dims[axis] = plan.width();
            plan.picks = None;
        }
    }
    let (input, size, shapes) = (traced.input.clone(), traced.size, traced.shapes.clone());
    let slim = Traced { model: slim, input, size, shapes, copies: traced.copies.clone() };
    any.then_some((slim, plans))
}

fn narrow(graph: &mut GraphProto, cut: &GraphProto, tensor: &str, picks: &[usize]) -> Option<()> {
    let readers = |name: &str| cut.node.iter().filter(|one| one.reads().contains(&name)).count();
    let maker = |name: &str| graph.node.iter().position(|one| one.out(0) == name);
    let constant = |name: &str| graph.initializer.iter().find(|tensor| tensor.name() == name);
    if readers(tensor) != 1 {
        return None;
    }
    // (node, input, constant, axis that numbers the channels)
    let mut changes: Vec<(usize, usize, &TensorProto, usize)> = Vec::new();
    let mut at = maker(tensor)?;
    if graph.node[at].op_type() == "Add" {
        let one = &graph.node[at];
        let bias = (0..2).find(|&n| one.arg(n).is_some_and(|name| constant(name).is_some()))?;
        let vector = constant(one.arg(bias)?)?;
        changes.push((at, bias, vector, vector.dims.len().checked_sub(1)?));
        let from = one.arg(1 - bias)?;
        if readers(from) != 1 {
            return None;
        }
        at = maker(from)?;
    }
    let one = &graph.node[at];
    let weight = constant(one.arg(1)?)?;
    let axis = match one.op_type() {
        "MatMul" if weight.dims.len() == 2 => 1,
        "Gemm" => usize::from(one.int("transB").unwrap_or(0) == 0),
        "Conv" if one.int("group").unwrap_or(1) == 1 => 0,
        _ => return None,
    };
    changes.push((at, 1, weight, axis));
    if let Some(bias) = one.arg(2) {
        let vector = constant(bias)?;
        changes.push((at, 2, vector, vector.dims.len().checked_sub(1)?));
    }
    let made: Option<Vec<(usize, usize, TensorProto)>> = changes
        .iter()
        .map(|&(at, input, tensor, axis)| Some((at, input, tensor.picked(axis, picks)?)))
        .collect();
    for (at, input, mut picked) in made? {
        picked.name = Some(rewrite::fresh(graph, &format!("{}/picked", picked.name())));
        graph.node[at].input[input] = picked.name().to_owned();
        graph.initializer.push(picked);
    }
    Some(())
}
