//! Tiny vision transformers, hand-written: one picture of 24x16 in patches of 4, one class token, blocks whose parts
//! are added to the stream in many ways. Weights follow from their names, so the same parts are the same in all.
#![allow(dead_code, reason = "each test uses what it needs")]

use farout::model::onnx::{
    Dimension, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, data_type,
    float_tensor, int, int_tensor, ints, node, tensor_value,
};

/// Channels.
pub const WIDTH: i64 = 8;
/// Patches and the class token.
pub const TOKENS: i64 = 25;

/// A graph that is being written.
#[derive(Default)]
pub struct Net {
    pub nodes: Vec<NodeProto>,
    pub constants: Vec<TensorProto>,
    count: usize,
}

impl Net {
    fn fresh(&mut self) -> String {
        self.count += 1;
        format!("t{}", self.count)
    }

    /// A node with one new tensor as its output.
    pub fn op(&mut self, op: &str, inputs: &[&str]) -> String {
        let to = self.fresh();
        self.nodes.push(node(op, inputs, &to, Vec::new()));
        to
    }

    /// The same with attributes.
    pub fn with(
        &mut self,
        op: &str,
        inputs: &[&str],
        attributes: Vec<farout::model::onnx::AttributeProto>,
    ) -> String {
        let to = self.op(op, inputs);
        self.nodes.last_mut().unwrap().attribute = attributes;
        to
    }

    /// `name` for the tensor `from`.
    pub fn called(&mut self, from: &str, name: &str) -> String {
        self.nodes.push(node("Identity", &[from], name, Vec::new()));
        name.to_owned()
    }

    /// Whole numbers.
    pub fn whole(&mut self, numbers: &[i64]) -> String {
        let name = self.fresh();
        self.constants.push(int_tensor(&name, numbers));
        name
    }

    /// Weights of the name and sides, around `centre`.
    pub fn weight(&mut self, name: &str, dims: &[i64], centre: f32) -> String {
        if !self.constants.iter().any(|known| known.name() == name) {
            let mut state =
                name.bytes().fold(7_u32, |state, byte| state.wrapping_mul(31).wrapping_add(byte.into()));
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                centre + ((state >> 8) as f32 / (1 << 24) as f32 - 0.5)
            };
            let count = dims.iter().product::<i64>() as usize;
            let numbers: Vec<f32> = (0..count).map(|_| next()).collect();
            self.constants.push(float_tensor(name, dims.to_vec(), &numbers));
        }
        name.to_owned()
    }

    /// A layer norm.
    pub fn norm(&mut self, x: &str, name: &str) -> String {
        let (gain, offset) = (format!("{name}.g"), format!("{name}.b"));
        self.weight(&gain, &[WIDTH], 1.0);
        self.weight(&offset, &[WIDTH], 0.0);
        self.with("LayerNormalization", &[x, &gain, &offset], vec![int("axis", -1)])
    }

    /// The product of a linear layer, and its bias that is yet to be added.
    fn product(&mut self, x: &str, name: &str, from: i64, to: i64) -> (String, String) {
        let (weight, bias) = (format!("{name}.w"), format!("{name}.b"));
        self.weight(&weight, &[from, to], 0.0);
        self.weight(&bias, &[to], 0.0);
        (self.op("MatMul", &[x, &weight]), bias)
    }

    fn linear(&mut self, x: &str, name: &str, from: i64, to: i64) -> String {
        let (product, bias) = self.product(x, name, from, to);
        self.op("Add", &[&product, &bias])
    }

    fn attention_inside(&mut self, x: &str, name: &str) -> String {
        let [q, k, v] = ["q", "k", "v"].map(|role| self.linear(x, &format!("{name}.{role}"), WIDTH, WIDTH));
        let turned = self.with("Transpose", &[&k], vec![ints("perm", vec![0, 2, 1])]);
        let scores = self.op("MatMul", &[&q, &turned]);
        let shares = self.with("Softmax", &[&scores], vec![int("axis", -1)]);
        self.op("MatMul", &[&shares, &v])
    }

    /// Attention with its projection.
    pub fn attention(&mut self, x: &str, name: &str) -> String {
        let mixed = self.attention_inside(x, name);
        self.linear(&mixed, &format!("{name}.o"), WIDTH, WIDTH)
    }

    /// Two layers.
    pub fn mlp(&mut self, x: &str, name: &str) -> String {
        let inner = self.linear(x, &format!("{name}.1"), WIDTH, 2 * WIDTH);
        let active = self.op("Relu", &[&inner]);
        self.linear(&active, &format!("{name}.2"), 2 * WIDTH, WIDTH)
    }

    /// Tokens of the picture.
    pub fn tokens(&mut self) -> String {
        self.weight("kernel", &[WIDTH, 3, 4, 4], 0.0);
        self.weight("class", &[1, 1, WIDTH], 0.0);
        self.weight("position", &[1, TOKENS, WIDTH], 0.0);
        let sides = vec![ints("kernel_shape", vec![4, 4]), ints("strides", vec![4, 4])];
        let map = self.with("Conv", &["image", "kernel"], sides);
        let flat = self.whole(&[1, WIDTH, TOKENS - 1]);
        let columns = self.op("Reshape", &[&map, &flat]);
        let patches = self.with("Transpose", &[&columns], vec![ints("perm", vec![0, 2, 1])]);
        let all = self.with("Concat", &["class", &patches], vec![int("axis", 1)]);
        self.op("Add", &[&all, "position"])
    }

    /// Blocks whose sums and norms are one operator, as ONNX Runtime's optimiser writes them; the last gives its norm
    /// alone. The same function as plain blocks with a norm behind them.
    pub fn fused(&mut self, blocks: usize) -> String {
        let mut stream = self.tokens();
        let mut normed = self.norm(&stream, "1.n1");
        for n in 1..=blocks {
            let next = if n == blocks { "n".to_owned() } else { format!("{}.n1", n + 1) };
            for (part, norm) in [("a", format!("{n}.n2")), ("m", next)] {
                let name = format!("{n}.{part}");
                let (branch, bias) = if part == "a" {
                    let mixed = self.attention_inside(&normed, &name);
                    self.product(&mixed, &format!("{name}.o"), WIDTH, WIDTH)
                } else {
                    let inner = self.linear(&normed, &format!("{name}.1"), WIDTH, 2 * WIDTH);
                    let active = self.op("Relu", &[&inner]);
                    self.product(&active, &format!("{name}.2"), 2 * WIDTH, WIDTH)
                };
                let (gain, offset) = (format!("{norm}.g"), format!("{norm}.b"));
                self.weight(&gain, &[WIDTH], 1.0);
                self.weight(&offset, &[WIDTH], 0.0);
                normed = self.op("SkipLayerNormalization", &[&branch, &stream, &gain, &offset, &bias]);
                let one = self.nodes.last_mut().unwrap();
                one.domain = Some("com.microsoft".into());
                if norm != "n" {
                    stream = format!("{normed}_sum");
                    one.output.extend([String::new(), String::new(), stream.clone()]);
                }
            }
        }
        normed
    }

    /// The model with these outputs.
    pub fn model(self, outputs: &[&str]) -> ModelProto {
        let side = |side| Dimension { value: Some(DimensionValue::DimValue(side)), denotation: None };
        let sides = [1, 3, 16, 24].map(side).to_vec();
        let graph = GraphProto {
            name: Some("blocks".into()),
            node: self.nodes,
            initializer: self.constants,
            input: vec![tensor_value("image", data_type::FLOAT, Some(sides))],
            output: outputs.iter().map(|name| tensor_value(name, data_type::FLOAT, None)).collect(),
            ..Default::default()
        };
        let opset = |domain: &str, version| OperatorSetIdProto {
            domain: Some(domain.into()),
            version: Some(version),
        };
        ModelProto {
            ir_version: Some(8),
            opset_import: vec![opset("", 17), opset("com.microsoft", 1)],
            graph: Some(graph),
            ..Default::default()
        }
    }
}
