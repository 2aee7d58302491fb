//! A head as nodes and constants, from operators that every opset since 10 has with one meaning.

use super::{Head, HeadKind, Tensor};
use crate::grid::Grid;
use crate::model::onnx::{
    Dimension, DimensionValue, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, data_type,
    float_tensor, int, int_tensor, ints, node, tensor_value,
};

/// Added to variances, as PyTorch's LayerNorm does in the training.
const EPSILON: f32 = 1e-5;
/// Keeps the norm of a zero vector from dividing by nothing.
const TINY: f32 = 1e-24;

/// Nodes and constants under construction; names begin with one prefix.
struct Build<'a> {
    head: &'a Head,
    prefix: &'a str,
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    made: usize,
}

/// Nodes and constants that turn `features`, `[1, h, w, C]`, into `output`, `[1, K, h, w]`. Everything in
/// between has a name that begins with `output`.
///
/// # Errors
/// If a tensor is missing.
pub fn nodes(
    head: &Head,
    grid: Grid,
    features: &str,
    output: &str,
) -> Result<(Vec<NodeProto>, Vec<TensorProto>), String> {
    let mut build = Build { head, prefix: output, nodes: Vec::new(), constants: Vec::new(), made: 0 };
    let flat = build.reshape(features, &[1, grid.len(), head.width]);
    let logits = match head.kind {
        HeadKind::Linear => build.linear(&flat, "weight", Some("bias"), 1.0)?,
        HeadKind::MaskTransformer { layers, heads } => build.mask_transformer(&flat, layers, heads, grid)?,
    };
    let turned = build.transpose(&logits, vec![0, 2, 1]);
    let shape = build.shape(&[1, head.classes.len(), grid.rows, grid.cols]);
    build.nodes.push(node("Reshape", &[&turned, &shape], output, Vec::new()));
    Ok((build.nodes, build.constants))
}

/// A model of the head alone: input `features` `[1, h, w, C]`, output `logits`.
///
/// # Errors
/// As [`nodes`].
pub fn alone(head: &Head, grid: Grid) -> Result<ModelProto, String> {
    let (node, initializer) = nodes(head, grid, "features", "logits")?;
    let dims = |dims: [usize; 4]| {
        let dim =
            |side: usize| Dimension { value: Some(DimensionValue::DimValue(side as i64)), denotation: None };
        Some(dims.map(dim).to_vec())
    };
    let graph = GraphProto {
        name: Some("head".to_owned()),
        input: vec![tensor_value("features", data_type::FLOAT, dims([1, grid.rows, grid.cols, head.width]))],
        output: vec![tensor_value(
            "logits",
            data_type::FLOAT,
            dims([1, head.classes.len(), grid.rows, grid.cols]),
        )],
        node,
        initializer,
        ..Default::default()
    };
    Ok(ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(13) }],
        graph: Some(graph),
        ..Default::default()
    })
}

impl Build<'_> {
    fn name(&mut self, what: &str) -> String {
        self.made += 1;
        format!("{}/{what}_{}", self.prefix, self.made)
    }

    fn op(&mut self, op: &str, inputs: &[&str]) -> String {
        let output = self.name(&op.to_lowercase());
        self.nodes.push(node(op, inputs, &output, Vec::new()));
        output
    }

    fn constant(&mut self, dims: &[usize], data: &[f32]) -> String {
        let name = self.name("constant");
        self.constants.push(float_tensor(&name, dims.iter().map(|&dim| dim as i64).collect(), data));
        name
    }

    fn shape(&mut self, dims: &[usize]) -> String {
        let name = self.name("shape");
        self.constants.push(int_tensor(&name, &dims.iter().map(|&dim| dim as i64).collect::<Vec<_>>()));
        name
    }

    fn reshape(&mut self, from: &str, dims: &[usize]) -> String {
        let shape = self.shape(dims);
        self.op("Reshape", &[from, &shape])
    }

    fn transpose(&mut self, from: &str, perm: Vec<i64>) -> String {
        let output = self.name("turned");
        self.nodes.push(node("Transpose", &[from], &output, vec![ints("perm", perm)]));
        output
    }

    fn tensor(&self, name: &str) -> Result<Tensor, String> {
        self.head.tensor(name).cloned().ok_or_else(|| format!("the head lacks the tensor {name}"))
    }

    /// `from` times the transposed weight, plus the bias, all times `factor`.
    fn linear(
        &mut self,
        from: &str,
        weight: &str,
        bias: Option<&str>,
        factor: f32,
    ) -> Result<String, String> {
        let rows = self.tensor(weight)?.dims[0];
        self.linear_rows(from, weight, bias, 0..rows, factor)
    }

    /// The same with these rows of the weight.
    fn linear_rows(
        &mut self,
        from: &str,
        weight: &str,
        bias: Option<&str>,
        rows: std::ops::Range<usize>,
        factor: f32,
    ) -> Result<String, String> {
        let weight = self.tensor(weight)?;
        let &[_, width] = &weight.dims[..] else {
            return Err(format!("a weight of {:?} is no matrix", weight.dims));
        };
        let turned: Vec<f32> = (0..width)
            .flat_map(|c| rows.clone().map(move |row| row * width + c))
            .map(|at| weight.data[at] * factor)
            .collect();
        let turned = self.constant(&[width, rows.len()], &turned);
        let product = self.op("MatMul", &[from, &turned]);
        let Some(bias) = bias else { return Ok(product) };
        let bias: Vec<f32> = self.tensor(bias)?.data[rows].iter().map(|b| b * factor).collect();
        let bias = self.constant(&[bias.len()], &bias);
        Ok(self.op("Add", &[&product, &bias]))
    }

    /// `from` times a matrix as it stands.
    fn product(&mut self, from: &str, matrix: &str) -> Result<String, String> {
        let matrix = self.tensor(matrix)?;
        let matrix = self.constant(&matrix.dims, &matrix.data);
        Ok(self.op("MatMul", &[from, &matrix]))
    }

    /// The mean over the last axis of `width` numbers, kept as an axis of one.
    fn mean(&mut self, from: &str, width: usize) -> String {
        let share = self.constant(&[width, 1], &vec![1.0 / width as f32; width]);
        self.op("MatMul", &[from, &share])
    }

    fn layer_norm(&mut self, from: &str, name: &str) -> Result<String, String> {
        let (gain, offset) = (self.tensor(&format!("{name}.weight"))?, self.tensor(&format!("{name}.bias"))?);
        let width = gain.data.len();
        let mean = self.mean(from, width);
        let centred = self.op("Sub", &[from, &mean]);
        let squared = self.op("Mul", &[&centred, &centred]);
        let variance = self.mean(&squared, width);
        let epsilon = self.constant(&[1], &[EPSILON]);
        let kept = self.op("Add", &[&variance, &epsilon]);
        let deviation = self.op("Sqrt", &[&kept]);
        let normal = self.op("Div", &[&centred, &deviation]);
        let gain = self.constant(&[width], &gain.data);
        let offset = self.constant(&[width], &offset.data);
        let scaled = self.op("Mul", &[&normal, &gain]);
        Ok(self.op("Add", &[&scaled, &offset]))
    }

    /// GELU with the error function.
    fn gelu(&mut self, from: &str) -> String {
        let root = self.constant(&[1], &[std::f32::consts::FRAC_1_SQRT_2]);
        let (one, half) = (self.constant(&[1], &[1.0]), self.constant(&[1], &[0.5]));
        let inside = self.op("Mul", &[from, &root]);
        let erf = self.op("Erf", &[&inside]);
        let gate = self.op("Add", &[&erf, &one]);
        let both = self.op("Mul", &[from, &gate]);
        self.op("Mul", &[&both, &half])
    }

    /// Vectors of length 1.
    fn unit(&mut self, from: &str, width: usize) -> String {
        let squared = self.op("Mul", &[from, from]);
        let ones = self.constant(&[width, 1], &vec![1.0; width]);
        let sum = self.op("MatMul", &[&squared, &ones]);
        let tiny = self.constant(&[1], &[TINY]);
        let kept = self.op("Add", &[&sum, &tiny]);
        let norm = self.op("Sqrt", &[&kept]);
        self.op("Div", &[from, &norm])
    }

    fn rows(&mut self, from: &str, first: usize, end: usize) -> String {
        let name = self.name("rows");
        let bounds = [("starts", first), ("ends", end), ("axes", 1)].map(|(what, at)| {
            let name = format!("{name}_{what}");
            self.constants.push(int_tensor(&name, &[at as i64]));
            name
        });
        self.nodes.push(node("Slice", &[from, &bounds[0], &bounds[1], &bounds[2]], &name, Vec::new()));
        name
    }

    fn block(&mut self, x: &str, at: &str, heads: usize, tokens: usize) -> Result<String, String> {
        let d = self.head.inner();
        let (each, qkv, bias) = (d / heads, format!("{at}.qkv.weight"), format!("{at}.qkv.bias"));
        let normal = self.layer_norm(x, &format!("{at}.norm1"))?;
        let scale = 1.0 / (each as f32).sqrt();
        let mut parts = Vec::new();
        for (n, factor, perm) in [(0, scale, [0, 2, 1, 3]), (1, 1.0, [0, 2, 3, 1]), (2, 1.0, [0, 2, 1, 3])] {
            let part = self.linear_rows(&normal, &qkv, Some(&bias), n * d..(n + 1) * d, factor)?;
            let split = self.reshape(&part, &[1, tokens, heads, each]);
            parts.push(self.transpose(&split, perm.to_vec()));
        }
        let scores = self.op("MatMul", &[&parts[0], &parts[1]]);
        let attention = self.name("attention");
        self.nodes.push(node("Softmax", &[&scores], &attention, vec![int("axis", 3)]));
        let mixed = self.op("MatMul", &[&attention, &parts[2]]);
        let joined = self.transpose(&mixed, vec![0, 2, 1, 3]);
        let joined = self.reshape(&joined, &[1, tokens, d]);
        let out =
            self.linear(&joined, &format!("{at}.proj.weight"), Some(&format!("{at}.proj.bias")), 1.0)?;
        let x = self.op("Add", &[x, &out]);
        let normal = self.layer_norm(&x, &format!("{at}.norm2"))?;
        let wide = self.linear(&normal, &format!("{at}.fc1.weight"), Some(&format!("{at}.fc1.bias")), 1.0)?;
        let bent = self.gelu(&wide);
        let out = self.linear(&bent, &format!("{at}.fc2.weight"), Some(&format!("{at}.fc2.bias")), 1.0)?;
        Ok(self.op("Add", &[&x, &out]))
    }

    /// Segmenter's decoder: `[1, N, C]` to `[1, N, K]`.
    fn mask_transformer(
        &mut self,
        flat: &str,
        layers: usize,
        heads: usize,
        grid: Grid,
    ) -> Result<String, String> {
        let (cells, d) = (grid.len(), self.head.inner());
        let classes = self.head.classes.len();
        let x = self.linear(flat, "proj_in.weight", Some("proj_in.bias"), 1.0)?;
        let tokens = self.tensor("class_tokens")?;
        let tokens = self.constant(&tokens.dims, &tokens.data);
        let mut all = self.name("all");
        self.nodes.push(node("Concat", &[&x, &tokens], &all, vec![int("axis", 1)]));
        for n in 0..layers {
            all = self.block(&all, &format!("blocks.{n}"), heads, cells + classes)?;
        }
        let all = self.layer_norm(&all, "norm")?;
        let (patches, tokens) = (self.rows(&all, 0, cells), self.rows(&all, cells, cells + classes));
        let patches = self.product(&patches, "proj_cells")?;
        let tokens = self.product(&tokens, "proj_classes")?;
        let (patches, tokens) = (self.unit(&patches, d), self.unit(&tokens, d));
        let tokens = self.transpose(&tokens, vec![0, 2, 1]);
        let masks = self.op("MatMul", &[&patches, &tokens]);
        self.layer_norm(&masks, "mask_norm")
    }
}
