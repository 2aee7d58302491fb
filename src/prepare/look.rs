//! Reading a model and running it once, so that every shape in it is known.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use prost::Message;
use serde::Serialize;

use crate::features::{BareSession, Refusal, RuntimeConfig};
use crate::model::assemble::{FEATURES, LOGITS, ORIGIN_KEY};
use crate::model::constant::{self, ConstantInput};
use crate::model::graph::{self, Declared};
use crate::model::onnx::{ModelProto, data_type};
use crate::model::picture::PictureInput;
use crate::model::trace::{self, Traced};
use crate::model::{
    InputSize, Layout, METADATA_KEY, ModelError, SizeRule, inline, integers, opset, read, rewrite, unfuse,
    widen,
};

/// Conditions that depend on conditions: no export nests deeper.
const DEEPEST: usize = 8;
/// Sides of square inputs that a model of any size is tried on if the usual one fails.
const TRIAL_SIDES: [usize; 5] = [224, 256, 448, 512, 518];

/// What the file says of itself.
#[derive(Debug, Clone, Serialize)]
pub struct Facts {
    /// The file.
    pub file: String,
    /// SHA-256 of it and of the external data it names.
    pub sha256: String,
    /// Who wrote it, and which version.
    pub producer: String,
    /// Sets of operators with their versions.
    pub operators: Vec<String>,
    /// Inputs with their sizes and number formats.
    pub inputs: Vec<String>,
    /// Outputs likewise.
    pub outputs: Vec<String>,
    /// Numbers that were learnt.
    pub parameters: u64,
    /// Nodes.
    pub nodes: usize,
    /// The size that it declares for its image.
    pub declared: Option<InputSize>,
    /// The size that it was looked at with.
    pub size: InputSize,
    /// Order of the axes of its image input.
    pub layout: Layout,
    /// Number format of its image input.
    pub input_format: &'static str,
    /// Which numbers it computes with.
    pub numbers: Numbers,
    /// The section that the file carries: all of it in a prepared file, the preprocessing in one of
    /// `tools/export.py`.
    pub section: Option<String>,
    /// Names of the classes that the file tells.
    pub classes: Vec<String>,
    /// What a prepared file says of where it comes from, JSON.
    pub origin: Option<String>,
}

/// Which numbers a model computes with; several may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Numbers {
    /// 16-bit floats are among its constants.
    pub float16: bool,
    /// There were 16-bit brain floats, which are taken as 32-bit floats.
    pub bfloat16: bool,
    /// Some of it is in integers of 8 bits or fewer.
    pub integers: bool,
}

impl Numbers {
    /// In words; `None` for plain 32-bit floats.
    pub fn told(&self) -> Option<String> {
        let mut parts = Vec::new();
        if self.float16 {
            parts.push("16-bit floats (features and logits are given as 32-bit floats)");
        }
        if self.bfloat16 {
            parts.push(
                "brain floats, taken as 32-bit floats: nothing is lost, and nothing else runs on the CPU",
            );
        }
        if self.integers {
            parts.push("8-bit integers in parts (features and logits are given as 32-bit floats)");
        }
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// How to look at a model, where it leaves that open.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Size of the picture.
    pub size: Option<InputSize>,
    /// Order of the axes of its image input.
    pub layout: Option<Layout>,
    /// Inputs besides the picture that are the same for every picture.
    pub constants: Vec<ConstantInput>,
}

/// A model, looked at.
#[derive(Debug)]
pub struct Examined {
    /// What the file says of itself.
    pub facts: Facts,
    /// The graph as it is in the file, for the size looked at: functions inlined, brain floats widened, operators on
    /// integers written out.
    pub whole: ModelProto,
    /// The graph with everything folded that does not depend on the picture.
    pub traced: Traced,
}

/// Reads the model in `path` and runs it on an empty picture of the size asked for; without one, of the size that
/// it declares, or of the first that it runs on.
///
/// # Errors
/// [`ModelError`] by downcast if the file is no such model; else why it does not run.
pub fn examine(path: &Path, look: &Look, runtime: &RuntimeConfig) -> Result<Examined> {
    let (mut model, sha256) = read::read(path)?;
    let unfit = |why: String| ModelError::Unfit { path: path.to_owned(), why };
    let parameters = parameters(&model);
    inline::functions(&mut model).map_err(unfit)?;
    let graph = model.graph.clone().unwrap_or_default();
    let graph = &graph;
    let left = constant::without(graph, &look.constants).map_err(unfit)?;
    let picture = PictureInput::find(&left, look.layout).map_err(unfit)?;
    let input = picture.name.clone();
    let real = |name: &str| !graph::is_initializer(graph, name);
    if let Some(other) = left.input.iter().find(|value| value.name() != input && real(value.name())) {
        let why = format!(
            "besides the image {input} it needs {}, and only models of one image can run; if that input is the same \
             for every picture, say what it is filled with: --constant {}=VALUE (masks of padding are mostly 0)",
            graph::describe(other),
            other.name()
        );
        return Err(unfit(why).into());
    }
    let declared = match picture.declared {
        Declared::Fixed(size) => Some(size),
        Declared::Free | Declared::Half => None,
    };
    let hint = graph::patch_hint(graph, &input);
    let mut facts = Facts {
        file: path.display().to_string(),
        sha256,
        producer: [model.producer_name(), model.producer_version()].join(" ").trim().to_owned(),
        operators: model.opset_import.iter().map(opset).collect(),
        inputs: graph.input.iter().filter(|value| real(value.name())).map(graph::describe_typed).collect(),
        outputs: graph.output.iter().map(graph::describe_typed).collect(),
        parameters,
        nodes: graph.node.len(),
        declared,
        size: InputSize { width: 0, height: 0 },
        layout: picture.layout,
        input_format: graph::format_of(graph, &input),
        numbers: numbers(graph),
        section: metadata(&model, METADATA_KEY),
        classes: metadata(&model, "classes")
            .and_then(|text| serde_json::from_str(&text).ok())
            .unwrap_or_default(),
        origin: metadata(&model, ORIGIN_KEY),
    };
    let picture = picture.apart_from(model.graph.get_or_insert_default(), &[FEATURES, LOGITS]);
    facts.numbers.bfloat16 = widen::widen(&mut model);
    let version = model.opset();
    integers::write_out(model.graph.get_or_insert_default(), version);
    opset::fit(&mut model).map_err(unfit)?;
    let mut faults = Vec::new();
    let sizes = sizes(look.size, declared, hint);
    let given = (&picture, &look.constants[..]);
    for &tried in &sizes {
        match trace_at(&model, given, tried, facts.numbers.float16, runtime) {
            Ok((whole, traced)) => {
                facts.size = tried;
                return Ok(Examined { facts, whole, traced });
            }
            // A library that is missing is missing for every size.
            Err(why) if why.is::<crate::features::RuntimeError>() => return Err(why),
            Err(why) if why.downcast_ref::<Refusal>().is_some_and(Refusal::at_any_size) => {
                return Err(why.context(format!("{}: the model does not run", path.display())));
            }
            Err(why) => faults.push(format!("{tried}: {}", first_line(&why))),
        }
    }
    let told = match (look.size, declared) {
        (Some(_), Some(own)) => format!(
            "the file declares {own}, and its graph may allow no other: export it with free height and width"
        ),
        (Some(_), None) => "ask for another with --size, e.g. a multiple of 32 or of the patch".to_owned(),
        (None, Some(_)) => "that is the size that it declares; export it again".to_owned(),
        (None, None) => "give --size WxH with one that it takes".to_owned(),
    };
    let order = match (picture.open, look.layout) {
        (true, None) => {
            "; it leaves the order of its axes open: if its channels come last, give --layout nhwc"
        }
        _ => "",
    };
    bail!("{}: the model does not run ({}); {told}{order}", path.display(), faults.join("; "))
}

fn metadata(model: &ModelProto, key: &str) -> Option<String> {
    model.metadata_props.iter().find(|entry| entry.key() == key)?.value.clone()
}

fn first_line(why: &anyhow::Error) -> String {
    let text = format!("{why:#}");
    text.lines().next().unwrap_or_default().chars().take(400).collect()
}

fn opset(set: &crate::model::onnx::OperatorSetIdProto) -> String {
    let domain = if set.domain().is_empty() { "onnx" } else { set.domain() };
    format!("{domain} {}", set.version())
}

/// What stands in the file; brain floats are counted when they are widened.
fn numbers(graph: &crate::model::onnx::GraphProto) -> Numbers {
    let integers = graph.node.iter().any(|one| {
        let op = one.op_type();
        op.contains("Quantize")
            || op.contains("Integer")
            || op.starts_with("QLinear")
            || op.ends_with("NBits")
    });
    let float16 = graph.initializer.iter().any(|tensor| tensor.data_type() == data_type::FLOAT16);
    Numbers { float16, bfloat16: false, integers }
}

/// Floats among the constants of the graph, functions and branches included.
fn parameters(model: &ModelProto) -> u64 {
    fn of_nodes(nodes: &[crate::model::onnx::NodeProto]) -> u64 {
        let constants = nodes.iter().filter(|one| one.op_type() == "Constant");
        let own: u64 = constants
            .filter_map(|one| one.attr("value")?.t.as_ref().filter(|t| t.is_float()))
            .map(|tensor| tensor.elements() as u64)
            .sum();
        own + nodes.iter().flat_map(|one| one.bodies()).map(of_graph).sum::<u64>()
    }
    fn of_graph(graph: &crate::model::onnx::GraphProto) -> u64 {
        let learnt = |t: &&crate::model::onnx::TensorProto| t.is_float() || t.data_type() == data_type::INT8;
        let own: u64 = graph.initializer.iter().filter(learnt).map(|tensor| tensor.elements() as u64).sum();
        own + of_nodes(&graph.node)
    }
    let functions: u64 = model.functions.iter().map(|function| of_nodes(&function.node)).sum();
    functions + model.graph.as_ref().map_or(0, of_graph)
}

/// What to try, best first. About 640x360 where the file leaves it open.
fn sizes(asked: Option<InputSize>, declared: Option<InputSize>, patch: Option<usize>) -> Vec<InputSize> {
    if let Some(size) = asked.or(declared) {
        return vec![size];
    }
    let unit = patch.filter(|&patch| patch >= 8).unwrap_or(32);
    let side = |pixels: usize| ((pixels + unit / 2) / unit).max(1) * unit;
    let squares = TRIAL_SIDES.map(|side| InputSize { width: side, height: side });
    [InputSize { width: side(640), height: side(360) }].into_iter().chain(squares).collect()
}

fn trace_at(
    model: &ModelProto,
    (picture, constants): (&PictureInput, &[ConstantInput]),
    size: InputSize,
    float16: bool,
    runtime: &RuntimeConfig,
) -> Result<(ModelProto, Traced)> {
    // Unoptimised, ONNX Runtime (1.23) takes casts that it puts in itself around 16-bit floats for wrong ones.
    let open = |probe: &ModelProto| BareSession::open(&probe.encode_to_vec(), runtime, float16);
    let input = picture.name.as_str();
    let mut whole = model.clone();
    let graph = whole.graph.get_or_insert_default();
    constant::put(graph, constants, picture, size).map_err(|why| anyhow!(why))?;
    picture.turn(graph, size);
    rewrite::set_input_size(graph, input, SizeRule::Fixed(size), true);
    for output in &mut graph.output {
        // Inferred for another size.
        output.r#type = None;
    }
    let empty = vec![0.0; 3 * size.width * size.height];
    let image = (input, [1, 3, size.height, size.width], &empty[..]);
    for _ in 0..DEEPEST {
        let graph = whole.graph.get_or_insert_default();
        let conditions = trace::open_conditions(graph, input);
        if conditions.is_empty() {
            break;
        }
        let probe = trace::probe_values(&whole, conditions);
        let reads =
            probe.model.graph.as_ref().is_some_and(|g| g.input.iter().any(|value| value.name() == input));
        let mut session = open(&probe.model)?;
        let (_, values) = probe.read(session.run(reads.then_some(image))?).map_err(|why| anyhow!(why))?;
        let known = values
            .into_iter()
            .filter_map(|(name, value)| Some((name, *value.whole_numbers()?.first()? != 0)));
        let known = known.collect();
        if inline::branches(whole.graph.get_or_insert_default(), &known) == 0 {
            break;
        }
    }
    let probe = trace::probe(&whole, input);
    let mut session = open(&probe.model)?;
    let outputs = session.run(Some(image)).context("running it")?;
    drop(session);
    let (shapes, values) = probe.read(outputs).map_err(|why| anyhow!(why))?;
    drop(probe);
    let mut traced = Traced::fold(whole.clone(), input, size, shapes, values);
    unfuse::lay_open(&mut traced);
    Ok((whole, traced))
}
