//! What is asked for when a model is prepared.

use std::path::PathBuf;

use crate::model::constant::ConstantInput;
use crate::model::{InputSize, Layout, ModelConfig};

/// Which logits to give out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogitsChoice {
    /// Those found, if any.
    Auto,
    /// None.
    None,
    /// This head, output or tensor.
    Tensor(String),
}

/// What to make.
#[derive(Debug, Clone)]
pub struct Request {
    /// The file of anywhere.
    pub path: PathBuf,
    /// Selectors of the features, to be put side by side; none for a model of which only the classes are wanted.
    pub features: Vec<String>,
    /// The logits.
    pub logits: LogitsChoice,
    /// The file of a head that makes the logits instead.
    pub head: Option<PathBuf>,
    /// Products in 8-bit integers.
    pub quantize: bool,
    /// Size of the input.
    pub size: Option<InputSize>,
    /// Order of the axes of the image input, if it is not to be found from its shape.
    pub layout: Option<Layout>,
    /// Inputs besides the picture that are the same for every picture.
    pub constants: Vec<ConstantInput>,
    /// Order of the channels, scale, mean and deviation, where they are given.
    pub preprocessing: ModelConfig,
    /// Names of the classes, in their order.
    pub classes: Vec<String>,
    /// Real pictures to compare on: files, folders, globs.
    pub pictures: Vec<String>,
}
