//! One attention written in six ways, fused operators among them, and with queries and keys turned by their position
//! in two: queries, keys and values are the same.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

use farout::features::{BareSession, Device, RuntimeConfig};
use farout::model::ModelConfig;
use farout::model::assemble::{Assembly, assemble};
use farout::model::onnx::{
    AttributeProto, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, ValueInfoProto, attribute_type, data_type, float_tensor, int, int_tensor, ints, node,
    tensor_value,
};
use farout::model::survey::Survey;
use farout::prepare::{Look, examine};
use prost::Message;

const WIDTH: usize = 8;
const TOKENS: i64 = 24;

fn cpu() -> RuntimeConfig {
    RuntimeConfig { device: Device::CPU, threads: 1, ..Default::default() }
}

fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..count).map(|_| next()).collect()
}

fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        s: Some(value.into()),
        r#type: Some(attribute_type::STRING),
        ..Default::default()
    }
}

fn split_heads(from: &str) -> Vec<NodeProto> {
    vec![node("Reshape", &[from, "heads"], &format!("{from}4"), vec![])]
}

fn upright(from: &str) -> Vec<NodeProto> {
    let (four, turned) = (format!("{from}4"), format!("{from}h"));
    let mut nodes = split_heads(from);
    nodes.push(node("Transpose", &[&four], &turned, vec![ints("perm", vec![0, 2, 1, 3])]));
    nodes
}

/// Queries, keys and values side by side, then apart.
fn joint() -> Vec<NodeProto> {
    let mut split = node("Split", &["qkv", "thirds"], "q", vec![int("axis", 2)]);
    split.output = ["q", "k", "v"].map(String::from).to_vec();
    vec![
        node("MatMul", &["tokens", "W"], "product", vec![]),
        node("Add", &["product", "b"], "qkv", vec![]),
        split,
    ]
}

/// Each half of the channels of `{from}h` turned into the other by position, cut apart and joined.
fn turned_halves(from: &str) -> Vec<NodeProto> {
    let at = |what: &str| format!("{from}/{what}");
    let mut split = node("Split", &[&format!("{from}h"), "halves"], &at("a"), vec![int("axis", 3)]);
    split.output.push(at("b"));
    let product =
        |half: &str, angle: &str| node("Mul", &[&at(half), angle], &at(&format!("{half}{angle}")), vec![]);
    vec![
        split,
        product("a", "cos"),
        product("a", "sin"),
        product("b", "cos"),
        product("b", "sin"),
        node("Sub", &[&at("acos"), &at("bsin")], &at("first"), vec![]),
        node("Add", &[&at("asin"), &at("bcos")], &at("second"), vec![]),
        node("Concat", &[&at("first"), &at("second")], &format!("{from}r"), vec![int("axis", 3)]),
    ]
}

/// The nodes between `tokens` and `mixed`, and the domain and version that they need.
fn attention(way: &str) -> (Vec<NodeProto>, (&'static str, i64)) {
    let mut nodes = joint();
    let fused = |one: NodeProto| NodeProto { domain: Some("com.microsoft".into()), ..one };
    match way {
        "contributed" => {
            let one = node("Attention", &["tokens", "W", "b"], "mixed", vec![int("num_heads", 2)]);
            return (vec![fused(one)], ("com.microsoft", 1));
        }
        "several heads" => {
            let one = node("MultiHeadAttention", &["q", "k", "v"], "mixed", vec![int("num_heads", 2)]);
            nodes.push(fused(one));
            return (nodes, ("com.microsoft", 1));
        }
        // The bias of the projections inside the operator, as ONNX Runtime's optimiser puts it there.
        "bias inside" => {
            let mut split = node("Split", &["product", "thirds"], "q", vec![int("axis", 2)]);
            split.output = ["q", "k", "v"].map(String::from).to_vec();
            let heads = vec![int("num_heads", 2)];
            let one = node("MultiHeadAttention", &["q", "k", "v", "b"], "mixed", heads);
            return (vec![nodes.remove(0), split, fused(one)], ("com.microsoft", 1));
        }
        "standard" => {
            let heads = vec![int("q_num_heads", 2), int("kv_num_heads", 2)];
            nodes.push(node("Attention", &["q", "k", "v"], "mixed", heads));
            return (nodes, ("", 23));
        }
        "einsum" => {
            nodes.extend(["q", "k", "v"].iter().flat_map(|name| split_heads(name)));
            nodes.extend([
                node("Mul", &["q4", "half"], "q5", vec![]),
                node("Einsum", &["q5", "k4"], "scores", vec![text("equation", "bihd,bjhd->bhij")]),
                node("Softmax", &["scores"], "weights", vec![int("axis", 3)]),
                node("Einsum", &["weights", "v4"], "heads4", vec![text("equation", "bhij,bjhd->bihd")]),
            ]);
        }
        // Keys times queries, so that the keys are the rows, and a mask.
        "turned" => {
            nodes.extend(["q", "k", "v"].iter().flat_map(|name| upright(name)));
            nodes.extend([
                node("Transpose", &["qh"], "qt", vec![ints("perm", vec![0, 1, 3, 2])]),
                node("MatMul", &["kh", "qt"], "raw", vec![]),
                node("Mul", &["raw", "half"], "scaled", vec![]),
                node("Add", &["scaled", "mask"], "scores", vec![]),
                node("Softmax", &["scores"], "shares", vec![int("axis", 2)]),
                node("Transpose", &["shares"], "weights", vec![ints("perm", vec![0, 1, 3, 2])]),
                node("MatMul", &["weights", "vh"], "mixedh", vec![]),
                node("Transpose", &["mixedh"], "heads4", vec![ints("perm", vec![0, 2, 1, 3])]),
            ]);
        }
        "turned by halves" | "turned inside" => {
            nodes.extend(["q", "k", "v"].iter().flat_map(|name| upright(name)));
            for name in ["q", "k"] {
                if way == "turned by halves" {
                    nodes.extend(turned_halves(name));
                    continue;
                }
                let (from, to) = (format!("{name}h"), format!("{name}r"));
                let inputs = [&from, "place", "cos", "sin"];
                nodes.push(fused(node("RotaryEmbedding", &inputs, &to, vec![])));
            }
            nodes.extend([
                node("Transpose", &["kr"], "kt", vec![ints("perm", vec![0, 1, 3, 2])]),
                node("MatMul", &["qr", "kt"], "raw", vec![]),
                node("Mul", &["raw", "half"], "scores", vec![]),
                node("Softmax", &["scores"], "weights", vec![int("axis", 3)]),
                node("MatMul", &["weights", "vh"], "mixedh", vec![]),
                node("Transpose", &["mixedh"], "heads4", vec![ints("perm", vec![0, 2, 1, 3])]),
            ]);
        }
        other => panic!("{other}"),
    }
    nodes.push(node("Reshape", &["heads4", "joined"], "mixed", vec![]));
    (nodes, if way == "turned inside" { ("com.microsoft", 1) } else { ("", 17) })
}

/// By token and pair of channels.
fn angles() -> impl Iterator<Item = f32> {
    (0..2 * TOKENS).map(|n| (n / 2) as f32 * if n % 2 == 0 { 1.0 } else { 0.1 })
}

fn model(way: &str) -> ModelProto {
    let (middle, (domain, version)) = attention(way);
    let sides = [1, 3, 16, 24]
        .map(|side| Dimension { value: Some(DimensionValue::DimValue(side)), denotation: None });
    let mut graph = GraphProto { name: Some(way.into()), ..Default::default() };
    graph.input.push(tensor_value("image", data_type::FLOAT, Some(sides.to_vec())));
    graph
        .output
        .push(ValueInfoProto { name: Some("out".into()), ..tensor_value("out", data_type::FLOAT, None) });
    graph.initializer = vec![
        float_tensor("kernel", vec![WIDTH as i64, 3, 4, 4], &numbers(WIDTH * 48, 1)),
        float_tensor("W", vec![WIDTH as i64, 3 * WIDTH as i64], &numbers(WIDTH * 3 * WIDTH, 2)),
        float_tensor("b", vec![3 * WIDTH as i64], &numbers(3 * WIDTH, 3)),
        float_tensor("half", vec![1], &[0.5]),
        float_tensor("mask", vec![1, 1, TOKENS, 1], &[0.0; TOKENS as usize]),
        int_tensor("flat", &[1, WIDTH as i64, TOKENS]),
        int_tensor("thirds", &[WIDTH as i64; 3]),
        int_tensor("heads", &[1, TOKENS, 2, 4]),
        int_tensor("joined", &[1, TOKENS, WIDTH as i64]),
        int_tensor("halves", &[2, 2]),
        int_tensor("place", &[0]),
        float_tensor("cos", vec![TOKENS, 2], &angles().map(f32::cos).collect::<Vec<_>>()),
        float_tensor("sin", vec![TOKENS, 2], &angles().map(f32::sin).collect::<Vec<_>>()),
    ];
    graph.node = vec![
        node(
            "Conv",
            &["image", "kernel"],
            "map",
            vec![ints("kernel_shape", vec![4, 4]), ints("strides", vec![4, 4])],
        ),
        node("Reshape", &["map", "flat"], "columns", vec![]),
        node("Transpose", &["columns"], "tokens", vec![ints("perm", vec![0, 2, 1])]),
    ];
    graph.node.extend(middle);
    graph.node.push(node("Add", &["tokens", "mixed"], "out", vec![]));
    let opset = |domain: &str, version: i64| OperatorSetIdProto {
        domain: Some(domain.into()),
        version: Some(version),
    };
    let mut opset_import = vec![opset("", if domain.is_empty() { version } else { 17 })];
    if !domain.is_empty() {
        opset_import.push(opset(domain, version));
    }
    ModelProto { ir_version: Some(10), opset_import, graph: Some(graph), ..Default::default() }
}

fn features(way: &str, selector: &str) -> Result<Vec<f32>, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    std::fs::write(&path, model(way).encode_to_vec()).unwrap();
    let examined = examine(&path, &Look::default(), &cpu()).map_err(|why| format!("{why:#}"))?;
    let survey = Survey::of(&examined.traced);
    let chosen = [survey.select(selector).map_err(|why| format!("{why}; {:?}", survey.unplaced))?];
    assert_eq!(
        (chosen[0].heads, chosen[0].plan.width()),
        (Some(if selector == "tokens:1" { 0 } else { 2 }).filter(|h| *h > 0), WIDTH)
    );
    let rotated = way.starts_with("turned ") && ["query:1", "key:1"].contains(&selector);
    assert_eq!(chosen[0].before_rotation, rotated, "{way} {selector}");
    let wanted = Assembly {
        features: &chosen,
        logits: None,
        head: None,
        section: ModelConfig::default(),
        origin: String::new(),
    };
    let model = assemble(&examined.traced, &survey, &wanted)?;
    let mut session =
        BareSession::open(&model.encode_to_vec(), &cpu(), true).map_err(|why| format!("{why:#}"))?;
    let image = numbers(3 * 16 * 24, 9);
    let outputs: Vec<TensorProto> =
        session.run(Some(("image", [1, 3, 16, 24], &image))).map_err(|why| format!("{why:#}"))?;
    assert_eq!(outputs[0].dims, [1, 4, 6, WIDTH as i64]);
    Ok(outputs[0].floats().unwrap())
}

#[test]
fn fused_and_written_out_attention_hold_the_same() {
    let ways = [
        "turned",
        "einsum",
        "contributed",
        "several heads",
        "bias inside",
        "standard",
        "turned by halves",
        "turned inside",
    ];
    let mut faults = Vec::new();
    for selector in ["query:1", "key:1", "value:1", "tokens:1"] {
        let reference = features(ways[0], selector).unwrap();
        assert!(reference.iter().any(|number| number.abs() > 0.1), "{selector}");
        for way in &ways[1..] {
            match features(way, selector) {
                Ok(got) => {
                    let off =
                        got.iter().zip(&reference).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
                    // What is turned is read before that, and what attention makes of it is another thing.
                    let same = !(way.starts_with("turned ") && selector == "tokens:1");
                    if same != (off <= 1e-5) {
                        faults.push(format!("{way}, {selector}: {off}"));
                    }
                }
                Err(why) => faults.push(format!("{way}, {selector}: {why}")),
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
