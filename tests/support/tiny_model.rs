//! A tiny deterministic ONNX model: a patch embedding, one layer of features, class logits.

#![allow(dead_code, reason = "each test uses what it needs")]

use std::path::Path;

use farout::model::onnx::{
    AttributeProto, Dimension, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, attribute_type, data_type, type_proto,
};
use prost::Message;

/// Numbers per patch, C.
pub const WIDTH: usize = 16;
/// Classes of the logits.
pub const CLASSES: usize = 4;

/// What to write. The graph is
/// `image -> Conv(patch, stride patch) = map [1,16,h,w] -> tokens [1,1+h*w,16]` (one zero class
/// token first) and `map -> Conv 1x1 = logits [1,4,h,w]`; the only declared output is `unrelated`,
/// which must never be computed: it divides the input into a shape that does not exist.
#[derive(Debug, Clone, Copy)]
pub struct Tiny {
    /// Side of the patches.
    pub patch: usize,
    /// Declared width and height; `None` leaves them free.
    pub size: Option<(usize, usize)>,
    /// True: the declared size is baked into the graph, it runs on no other.
    pub baked: bool,
    /// True: the broken output is there.
    pub unrelated: bool,
}

impl Default for Tiny {
    fn default() -> Self {
        Tiny { patch: 8, size: None, baked: false, unrelated: true }
    }
}

impl Tiny {
    /// Writes the model. Tensors that can be named: `map`, `tokens`, `logits`.
    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.model().encode_to_vec()).expect("the test's folder is writable");
    }

    /// The model as a message.
    pub fn model(&self) -> ModelProto {
        let p = self.patch as i64;
        let mut graph = GraphProto { name: Some("tiny".into()), ..Default::default() };
        let (w, h) = self.size.map_or((None, None), |(w, h)| (Some(w), Some(h)));
        let side = |side: Option<usize>, name: &str| match side {
            Some(n) => DimensionValue::DimValue(n as i64),
            None => DimensionValue::DimParam(name.into()),
        };
        let dims = vec![
            DimensionValue::DimParam("batch".into()),
            DimensionValue::DimValue(3),
            side(h, "height"),
            side(w, "width"),
        ];
        graph.input.push(value("image", dims));
        graph.initializer = vec![
            floats("embedding", &[WIDTH as i64, 3, p, p], &weights(WIDTH * 3 * self.patch * self.patch, 7)),
            floats("head", &[CLASSES as i64, WIDTH as i64, 1, 1], &weights(CLASSES * WIDTH, 11)),
            floats("class_token", &[1, 1, WIDTH as i64], &[0.0; WIDTH]),
            integers("flat", &[1, WIDTH as i64, -1]),
            integers("wrong", &[7, 7, 7]),
        ];
        let strides = [ints("kernel_shape", &[p, p]), ints("strides", &[p, p])];
        graph.node = vec![
            node("Conv", &["image", "embedding"], "map_raw", &strides),
            node("Tanh", &["map_raw"], "map_free", &[]),
            node("Identity", &["map_free"], "map", &[]),
            node("Reshape", &["map", "flat"], "columns", &[]),
            node("Transpose", &["columns"], "patches", &[ints("perm", &[0, 2, 1])]),
            node("Concat", &["class_token", "patches"], "tokens", &[int("axis", 1)]),
            node("Conv", &["map", "head"], "logits", &[ints("kernel_shape", &[1, 1])]),
        ];
        if let (true, Some((w, h))) = (self.baked, self.size) {
            let grid = [1, WIDTH as i64, (h / self.patch) as i64, (w / self.patch) as i64];
            graph.initializer.push(integers("grid", &grid));
            graph.node[2] = node("Reshape", &["map_free", "grid"], "map", &[]);
        }
        if self.unrelated {
            graph.node.push(node("Reshape", &["image", "wrong"], "unrelated", &[]));
            graph.output.push(value("unrelated", vec![]));
        } else {
            let free = |name: &str| DimensionValue::DimParam(name.into());
            graph.output.push(value(
                "map",
                vec![
                    DimensionValue::DimValue(1),
                    DimensionValue::DimValue(WIDTH as i64),
                    free("h"),
                    free("w"),
                ],
            ));
        }
        ModelProto {
            ir_version: Some(8),
            producer_name: Some("farout-tests".into()),
            opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(17) }],
            graph: Some(graph),
            ..Default::default()
        }
    }
}

/// Numbers in -0.05..0.05 from a linear congruential generator.
pub fn weights(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 * 0.1 - 0.05
    };
    (0..count).map(|_| next()).collect()
}

fn value(name: &str, dims: Vec<DimensionValue>) -> ValueInfoProto {
    let dim: Vec<_> =
        dims.into_iter().map(|value| Dimension { value: Some(value), denotation: None }).collect();
    let shape = (!dim.is_empty()).then_some(TensorShapeProto { dim });
    let tensor = type_proto::Tensor { elem_type: Some(data_type::FLOAT), shape };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), denotation: None };
    ValueInfoProto { name: Some(name.into()), r#type: Some(r#type), ..Default::default() }
}

fn floats(name: &str, dims: &[i64], numbers: &[f32]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(data_type::FLOAT),
        float_data: numbers.to_vec(),
        ..Default::default()
    }
}

fn integers(name: &str, numbers: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: vec![numbers.len() as i64],
        data_type: Some(data_type::INT64),
        int64_data: numbers.to_vec(),
        ..Default::default()
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        i: Some(i),
        r#type: Some(attribute_type::INT),
        ..Default::default()
    }
}

fn ints(name: &str, numbers: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        ints: numbers.to_vec(),
        r#type: Some(attribute_type::INTS),
        ..Default::default()
    }
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: &[AttributeProto]) -> NodeProto {
    NodeProto {
        op_type: Some(op.into()),
        name: Some(format!("{output}_node")),
        input: inputs.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        attribute: attributes.to_vec(),
        ..Default::default()
    }
}
