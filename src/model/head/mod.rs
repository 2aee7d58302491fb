//! A segmentation head trained on features (`tools/train_head.py`): its file, and which features it wants.
//! [`graph`] makes nodes of it.

pub mod graph;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde::Serialize;

use super::survey::Candidate;

/// Larger files are no heads: they are not read.
const LARGEST: u64 = 1 << 30;

/// Why a head cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// It cannot be read.
    #[error("cannot read the head {path}: {source}", path = path.display())]
    Unreadable {
        /// What was asked for.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What was read is no head, or not a whole one.
    #[error("{path} is no usable head: {why}; tools/train_head.py writes them", path = path.display())]
    NotAHead {
        /// What was asked for.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// What kind of head it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum HeadKind {
    /// One affine map per cell.
    Linear,
    /// Segmenter's decoder: class tokens join the cells in a few transformer blocks.
    MaskTransformer {
        /// Transformer blocks.
        layers: usize,
        /// Attention heads of each.
        heads: usize,
    },
}

/// A head, read and checked for completeness.
#[derive(Debug, Clone)]
pub struct Head {
    /// What kind it is.
    pub kind: HeadKind,
    /// Names of the classes in their order.
    pub classes: Vec<String>,
    /// Selectors of the features that it was trained on, side by side.
    pub features: Vec<String>,
    /// SHA-256 of the prepared file that it was trained on.
    pub model_sha256: String,
    /// SHA-256 of the file that this one was prepared from.
    pub origin_sha256: String,
    /// Channels that it takes.
    pub width: usize,
    /// Notes of the training, e.g. `held_out_miou`.
    pub notes: HashMap<String, String>,
    tensors: HashMap<String, Tensor>,
}

/// A head on features of a graph.
#[derive(Debug, Clone, Copy)]
pub struct Attached<'a> {
    /// The head.
    pub head: &'a Head,
    /// What it takes, side by side.
    pub features: &'a [Candidate],
}

/// Numbers with their dimensions.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Elements along each axis.
    pub dims: Vec<usize>,
    /// The numbers, last axis fastest.
    pub data: Vec<f32>,
}

impl Head {
    /// Reads a head.
    ///
    /// # Errors
    /// If the file cannot be read, or lacks what such a head has.
    pub fn read(path: &Path) -> Result<Head, HeadError> {
        let unreadable = |source| HeadError::Unreadable { path: path.to_owned(), source };
        let not_a_head = |why: String| HeadError::NotAHead { path: path.to_owned(), why };
        let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
        if bytes > LARGEST {
            return Err(not_a_head(format!("it has {bytes} bytes")));
        }
        Head::decode(&std::fs::read(path).map_err(unreadable)?).map_err(not_a_head)
    }

    /// The head in these bytes.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn decode(bytes: &[u8]) -> Result<Head, String> {
        let (_, about) =
            SafeTensors::read_metadata(bytes).map_err(|e| format!("no safetensors file: {e}"))?;
        let mut told = about.metadata().clone().unwrap_or_default();
        let mut take = |key: &str| told.remove(key).ok_or_else(|| format!("its metadata lacks {key:?}"));
        let mut list = |key: &str| -> Result<Vec<String>, String> {
            serde_json::from_str(&take(key)?).map_err(|e| format!("its metadata {key:?}: {e}"))
        };
        let (classes, features) = (list("classes")?, list("features")?);
        let (model_sha256, origin_sha256) = (take("model_sha256")?, take("origin_sha256")?);
        let kind = take("farout.head")?;
        let mut count = |key: &str| -> Result<usize, String> {
            let text = take(key)?;
            text.parse().ok().filter(|n| (1..=64).contains(n)).ok_or_else(|| format!("{key} = {text:?}"))
        };
        let kind = match kind.as_str() {
            "linear" => HeadKind::Linear,
            "mask-transformer" => {
                HeadKind::MaskTransformer { layers: count("layers")?, heads: count("heads")? }
            }
            other => return Err(format!("its kind {other:?} is not known to this version")),
        };
        if classes.len() < 2 {
            return Err(format!("it tells {} classes apart", classes.len()));
        }
        let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
        let mut tensors = HashMap::new();
        for (name, view) in file.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(format!("the tensor {name} holds {:?} numbers, not F32", view.dtype()));
            }
            let data: Vec<f32> = view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            if data.iter().any(|number| !number.is_finite()) {
                return Err(format!("the tensor {name} holds NaN or infinite numbers"));
            }
            tensors.insert(name, Tensor { dims: view.shape().to_vec(), data });
        }
        let width = match tensors.get("golden.features").map(|one| &one.dims[..]) {
            Some(&[1, rows, cols, width]) if rows * cols * width > 0 => width,
            other => return Err(format!("its example golden.features is {other:?}, not [1, h, w, C]")),
        };
        let head = Head { kind, classes, features, model_sha256, origin_sha256, width, notes: told, tensors };
        head.complete()?;
        Ok(head)
    }

    /// The tensor `name`.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// The example that the training left: features `[1, h, w, C]` and the logits `[1, K, h, w]` that
    /// they give.
    pub fn golden(&self) -> Option<(&Tensor, &Tensor)> {
        Some((self.tensor("golden.features")?, self.tensor("golden.logits")?))
    }

    /// Every tensor of the kind is there, with dimensions that fit together.
    fn complete(&self) -> Result<(), String> {
        for (name, dims) in self.wanted()? {
            match self.tensors.get(&name) {
                Some(tensor) if tensor.dims == dims => {}
                Some(tensor) => {
                    return Err(format!("the tensor {name} is {:?}, not {dims:?}", tensor.dims));
                }
                None => return Err(format!("it lacks the tensor {name}")),
            }
        }
        Ok(())
    }

    /// The width inside a mask transformer.
    fn inner(&self) -> usize {
        self.tensor("proj_in.weight").and_then(|one| one.dims.first().copied()).unwrap_or(0)
    }

    fn wanted(&self) -> Result<Vec<(String, Vec<usize>)>, String> {
        let (k, c) = (self.classes.len(), self.width);
        let [rows, cols] = match self.tensor("golden.features").map(|one| &one.dims[..]) {
            Some(&[_, rows, cols, _]) => [rows, cols],
            _ => [0, 0],
        };
        let mut wanted = vec![("golden.logits".to_owned(), vec![1, k, rows, cols])];
        let mut want = |name: &str, dims: &[usize]| wanted.push((name.to_owned(), dims.to_vec()));
        let HeadKind::MaskTransformer { layers, heads } = self.kind else {
            want("weight", &[k, c]);
            want("bias", &[k]);
            return Ok(wanted);
        };
        let d = self.inner();
        if d == 0 || !d.is_multiple_of(heads) {
            return Err(format!("its inner width {d} is no multiple of its {heads} heads"));
        }
        want("proj_in.weight", &[d, c]);
        want("proj_in.bias", &[d]);
        want("class_tokens", &[1, k, d]);
        for n in 0..layers {
            for (name, dims) in [
                ("norm1.weight", vec![d]),
                ("norm1.bias", vec![d]),
                ("qkv.weight", vec![3 * d, d]),
                ("qkv.bias", vec![3 * d]),
                ("proj.weight", vec![d, d]),
                ("proj.bias", vec![d]),
                ("norm2.weight", vec![d]),
                ("norm2.bias", vec![d]),
                ("fc1.weight", vec![4 * d, d]),
                ("fc1.bias", vec![4 * d]),
                ("fc2.weight", vec![d, 4 * d]),
                ("fc2.bias", vec![d]),
            ] {
                want(&format!("blocks.{n}.{name}"), &dims);
            }
        }
        for (name, dims) in [
            ("norm.weight", vec![d]),
            ("norm.bias", vec![d]),
            ("proj_cells", vec![d, d]),
            ("proj_classes", vec![d, d]),
            ("mask_norm.weight", vec![k]),
            ("mask_norm.bias", vec![k]),
        ] {
            want(name, &dims);
        }
        Ok(wanted)
    }
}
