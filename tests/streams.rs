//! What a block puts out and what the last norm is, in blocks whose parts are added to the stream in many ways: the
//! tensors that the names stand for are those that the model was written with.
#![allow(clippy::unwrap_used, reason = "a test may fail anywhere")]

use crate::support::blocks::{Net, WIDTH};
use farout::features::{BareSession, Device, RuntimeConfig};
use farout::model::ModelConfig;
use farout::model::assemble::{Assembly, assemble};
use farout::model::onnx::{ModelProto, int, ints};
use farout::model::survey::Survey;
use farout::prepare::{Examined, Look, examine};
use prost::Message;

fn cpu() -> RuntimeConfig {
    RuntimeConfig { device: Device::CPU, threads: 1, ..Default::default() }
}

fn examined(model: &ModelProto) -> Examined {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    examine(&path, &Look::default(), &cpu()).unwrap()
}

/// The features that `selector` names, `[1, 4, 6, C]`.
fn features(one: &Examined, selector: &str) -> Result<Vec<f32>, String> {
    let survey = Survey::of(&one.traced);
    let chosen = [survey.select(one.traced.known_as(selector))?];
    let wanted = Assembly {
        features: &chosen,
        logits: None,
        head: None,
        section: ModelConfig::default(),
        origin: String::new(),
    };
    let model = assemble(&one.traced, &survey, &wanted)?;
    let mut session = BareSession::open(&model.encode_to_vec(), &cpu(), true).unwrap();
    let image: Vec<f32> = (0..3 * 16 * 24).map(|n| (n as f32 * 0.37).sin()).collect();
    let outputs = session.run(Some(("image", [1, 3, 16, 24], &image))).unwrap();
    Ok(outputs[0].floats().unwrap())
}

/// How the parts of a block come together.
const WAYS: [&str; 19] = [
    "plain",
    "swapped",
    "scaled",
    "post-norm",
    "scaled post-norm",
    "norm of the branch",
    "root mean square",
    "(x + a) + m",
    "x + (a + m)",
    "(x + m) + a",
    "m + (a + x)",
    "x + a + m",
    "stack of x, a, m",
    "two norms",
    "two of each, (x + a) + a",
    "two of each, x + (a + a)",
    "two of each, stacked",
    "positions between",
    "dropped paths",
];

/// Writes a part of a block: attention or an MLP.
type Part = fn(&mut Net, &str, &str) -> String;

/// One block behind `x`.
fn block(net: &mut Net, x: &str, way: &str, n: usize) -> String {
    let name = |part: &str| format!("{n}.{part}");
    let two = way.starts_with("two of each");
    let parallel = !two && way.contains('x') || way == "two norms";
    let joined = |net: &mut Net, x: &str, parts: &[String]| match (way, parts) {
        ("two of each, (x + a) + a", [a, b]) => {
            let sum = net.op("Add", &[x, a]);
            net.op("Add", &[&sum, b])
        }
        ("two of each, x + (a + a)", [a, b]) => {
            let sum = net.op("Add", &[a, b]);
            net.op("Add", &[x, &sum])
        }
        ("two of each, stacked", parts) => {
            let axis = net.whole(&[0]);
            let each: Vec<String> = parts.iter().map(|part| net.op("Unsqueeze", &[part, &axis])).collect();
            let each: Vec<&str> = each.iter().map(String::as_str).collect();
            let stack = net.with("Concat", &each, vec![int("axis", 0)]);
            let sum = net.with("ReduceSum", &[&stack, &axis], vec![int("keepdims", 0)]);
            net.op("Add", &[x, &sum])
        }
        (_, [a]) if way == "swapped" => net.op("Add", &[a, x]),
        (_, [a]) if way == "scaled post-norm" => {
            let alpha = net.weight("alpha", &[1], 1.5);
            let scaled = net.op("Mul", &[x, &alpha]);
            net.op("Add", &[&scaled, a])
        }
        (_, parts) => net.op("Add", &[x, &parts[0]]),
    };
    if two {
        let halves: [(&str, Part); 2] = [("a", Net::attention), ("m", Net::mlp)];
        let mut x = x.to_owned();
        for (part, make) in halves {
            let parts: Vec<String> = (1..=2)
                .map(|k| {
                    let normed = net.norm(&x, &name(&format!("{part}{k}n")));
                    make(net, &normed, &name(&format!("{part}{k}")))
                })
                .collect();
            x = joined(net, &x, &parts);
        }
        return x;
    }
    if parallel {
        let normed = net.norm(x, &name("n1"));
        let other = if way == "two norms" { net.norm(x, &name("n2")) } else { normed.clone() };
        let (a, m) = (net.attention(&normed, &name("a")), net.mlp(&other, &name("m")));
        return match way {
            "x + (a + m)" => {
                let sum = net.op("Add", &[&a, &m]);
                net.op("Add", &[x, &sum])
            }
            "(x + m) + a" => {
                let sum = net.op("Add", &[x, &m]);
                net.op("Add", &[&sum, &a])
            }
            "m + (a + x)" => {
                let sum = net.op("Add", &[&a, x]);
                net.op("Add", &[&m, &sum])
            }
            "x + a + m" => net.op("Sum", &[x, &a, &m]),
            "stack of x, a, m" => {
                let axis = net.whole(&[0]);
                let each = [x, &a, &m].map(|part| net.op("Unsqueeze", &[part, &axis]));
                let stack = net.with("Concat", &[&each[0], &each[1], &each[2]], vec![int("axis", 0)]);
                net.with("ReduceSum", &[&stack, &axis], vec![int("keepdims", 0)])
            }
            _ => {
                let sum = net.op("Add", &[x, &a]);
                net.op("Add", &[&sum, &m])
            }
        };
    }
    let mut x = x.to_owned();
    let halves: [(&str, &str, Part); 2] = [("n1", "a", Net::attention), ("n2", "m", Net::mlp)];
    for (norm, part, make) in halves {
        let before =
            if way == "root mean square" { root_mean_square(net, &x, &name(norm)) } else { x.clone() };
        let first =
            !matches!(way, "post-norm" | "scaled post-norm" | "norm of the branch" | "root mean square");
        let before = if first { net.norm(&x, &name(norm)) } else { before };
        let mut branch = make(net, &before, &name(part));
        if way == "scaled" {
            let gamma = net.weight(&name(&format!("{part}.gamma")), &[WIDTH], 1.0);
            branch = net.op("Mul", &[&branch, &gamma]);
        }
        if way == "dropped paths" {
            branch = net.op("Dropout", &[&branch]);
            let keep = net.weight("keep", &[1], 1.0);
            branch = net.op("Div", &[&branch, &keep]);
        }
        if way == "norm of the branch" {
            branch = net.norm(&branch, &name(norm));
        }
        x = joined(net, &x, &[branch]);
        if way.ends_with("post-norm") {
            x = net.norm(&x, &name(norm));
        }
    }
    x
}

fn root_mean_square(net: &mut Net, x: &str, name: &str) -> String {
    let square = net.op("Mul", &[x, x]);
    let mean = net.with("ReduceMean", &[&square], vec![ints("axes", vec![-1])]);
    let small = net.weight("small", &[1], 0.6);
    let padded = net.op("Add", &[&mean, &small]);
    let root = net.op("Sqrt", &[&padded]);
    let inverse = net.op("Reciprocal", &[&root]);
    let product = net.op("Mul", &[x, &inverse]);
    let gain = net.weight(&format!("{name}.g"), &[WIDTH], 1.0);
    net.op("Mul", &[&product, &gain])
}

/// Positions told by a depth-wise convolution, added to the patches behind a block; class tokens are left as they are.
fn positions(net: &mut Net, x: &str) -> String {
    let cut = |net: &mut Net, start: i64, end: i64| {
        let (start, end, axis) = (net.whole(&[start]), net.whole(&[end]), net.whole(&[1]));
        net.op("Slice", &[x, &start, &end, &axis])
    };
    let (class, patches) = (cut(net, 0, 1), cut(net, 1, 25));
    let turned = net.with("Transpose", &[&patches], vec![ints("perm", vec![0, 2, 1])]);
    let shape = net.whole(&[1, WIDTH, 4, 6]);
    let map = net.op("Reshape", &[&turned, &shape]);
    let kernel = net.weight("place", &[WIDTH, 1, 3, 3], 0.0);
    let sides = vec![int("group", WIDTH), ints("kernel_shape", vec![3, 3]), ints("pads", vec![1; 4])];
    let told = net.with("Conv", &[&map, &kernel], sides);
    let flat = net.whole(&[1, WIDTH, 24]);
    let told = net.op("Reshape", &[&told, &flat]);
    let told = net.with("Transpose", &[&told], vec![ints("perm", vec![0, 2, 1])]);
    let sum = net.op("Add", &[&patches, &told]);
    net.with("Concat", &[&class, &sum], vec![int("axis", 1)])
}

/// `blocks` blocks and a last norm; tensors `tokens_N` and `last` are what the names stand for.
fn net(way: &str, blocks: usize) -> ModelProto {
    let mut net = Net::default();
    let mut x = net.tokens();
    for n in 1..=blocks {
        x = block(&mut net, &x, way, n);
        x = net.called(&x, &format!("tokens_{n}"));
        if way == "positions between" && n == 1 && blocks > 1 {
            x = positions(&mut net, &x);
        }
    }
    let last = if way.ends_with("post-norm") { x } else { net.norm(&x, "n") };
    let last = net.called(&last, "last");
    net.model(&[&last])
}

fn difference(got: &[f32], want: &[f32]) -> f32 {
    assert!(got.len() == want.len() && want.iter().any(|number| number.abs() > 0.1));
    got.iter().zip(want).fold(0.0, |most, (a, b)| most.max((a - b).abs()))
}

#[test]
fn blocks_and_the_last_norm_are_found_however_their_parts_come_together() {
    let mut faults = Vec::new();
    for way in WAYS {
        for blocks in [1, 3] {
            let one = examined(&net(way, blocks));
            let named = (1..=blocks).map(|n| (format!("tokens:{n}"), format!("tokens_{n}")));
            for (selector, tensor) in named.chain([("norm".to_owned(), "last".to_owned())]) {
                let want = features(&one, &tensor).unwrap_or_else(|why| panic!("{way}: {why}"));
                match features(&one, &selector).map(|got| difference(&got, &want)) {
                    Ok(off) if off < 1e-5 => {}
                    Ok(off) => faults.push(format!("{way}, {blocks} blocks, {selector}: off by {off}")),
                    Err(why) => faults.push(format!("{way}, {blocks} blocks, {selector}: {why}")),
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Sums that are taken inside of norms are streams all the same, even where the file leaves the sum out.
#[test]
fn sums_inside_of_norms_are_block_outputs() {
    let plain = examined(&net("plain", 3));
    let mut fused = Net::default();
    let last = fused.fused(3);
    let fused = examined(&fused.model(&[&last]));
    for selector in ["tokens:1", "tokens:2", "tokens:3", "norm", "key:1", "key:3"] {
        let (got, want) = (features(&fused, selector).unwrap(), features(&plain, selector).unwrap());
        let off = difference(&got, &want);
        assert!(off < 1e-4, "{selector}: off by {off}");
    }
}

/// An attention that is not understood makes no other block's output of what it adds.
#[test]
fn what_is_not_understood_is_said_and_not_named() {
    // The second block mixes tokens by a softmax that no queries and keys are known of.
    let mut net = Net::default();
    let x = net.tokens();
    let x = block(&mut net, &x, "plain", 1);
    let x = net.called(&x, "tokens_1");
    let normed = net.norm(&x, "2.n1");
    let strange = net.with("Softmax", &[&normed], vec![int("axis", 1)]);
    let layer = net.weight("2.w", &[WIDTH, WIDTH], 0.0);
    let branch = net.op("MatMul", &[&strange, &layer]);
    let x = net.op("Add", &[&x, &branch]);
    let normed = net.norm(&x, "2.n2");
    let branch = net.mlp(&normed, "2.m");
    let x = net.op("Add", &[&x, &branch]);
    let last = net.norm(&x, "n");
    let one = examined(&net.model(&[&last]));
    let survey = Survey::of(&one.traced);
    let why = survey.select("norm").unwrap_err();
    assert!(why.contains("the stream goes on"), "{why}");
    match features(&one, "tokens:1") {
        Ok(got) => assert!(difference(&got, &features(&one, "tokens_1").unwrap()) < 1e-6),
        Err(why) => assert!(why.contains("not certain"), "{why}"),
    }
}

/// Two last norms that share what they have in common, as optimisers leave them: each has its own gain, and that which is
/// given out is the last one.
#[test]
fn norms_that_share_their_root_are_told_apart() {
    let mut net = Net::default();
    let x = net.tokens();
    let x = block(&mut net, &x, "root mean square", 1);
    let last = root_mean_square(&mut net, &x, "n");
    let core = net.nodes.iter().rev().find(|one| one.output[0] == last).unwrap().input[0].clone();
    let gain = net.weight("other.g", &[WIDTH], 1.0);
    let other = net.op("Mul", &[&core, &gain]);
    let weight = net.weight("scores.w", &[WIDTH, 5], 0.0);
    let scores = net.op("MatMul", &[&other, &weight]);
    let one = examined(&net.model(&[&scores, &last]));
    let survey = Survey::of(&one.traced);
    assert_eq!(survey.select("norm").unwrap().plan.tensor, last);
}

/// Post-norm blocks end in the last norm: one tensor, listed once, under both names.
#[test]
fn a_tensor_of_two_names_is_listed_once() {
    let one = examined(&net("post-norm", 2));
    let survey = Survey::of(&one.traced);
    let mut seen = std::collections::HashSet::new();
    for one in &survey.candidates {
        assert!(seen.insert((one.plan.tensor.clone(), one.plan.picks.clone())), "{} twice", one.plan.tensor);
        assert!(!one.found_by.is_empty(), "{}", one.selector);
    }
    let (norm, tokens) = (survey.select("norm").unwrap(), survey.select("tokens:2").unwrap());
    assert_eq!((norm.plan, norm.selector.as_str()), (tokens.plan, "norm"));
}
