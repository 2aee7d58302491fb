//! From a frame to features and logits: preprocessing and the ONNX Runtime session. The only
//! room that mentions `ort`.
//!
//! [`Session::open`] first; its [`Session::input_spec`] makes the [`Preprocessor`], which may
//! live on another thread.

mod agreement;
pub mod attempt;
pub mod bare;
mod binding;
mod bound;
pub mod building;
pub mod byte_products;
mod capture;
pub mod choose;
pub mod config;
pub mod device;
pub mod doctor;
pub mod engines;
pub mod golden;
pub mod gpu;
pub mod opening;
mod openvino;
mod outputs;
pub mod placement;
pub mod plugin;
pub mod preprocess;
pub mod provider;
pub mod readout;
pub mod refusal;
pub mod resample;
pub mod runtime;
pub mod session;
pub mod shortcut;
mod spoiled;
mod supplies;
mod understood;

pub use attempt::Attempt;
pub use bare::BareSession;
pub use choose::{PassedOver, grouped};
pub use config::{IoBinding, RuntimeConfig};
pub use device::{Device, Precision, Provider};
pub use doctor::findings;
pub use golden::Golden;
pub use placement::{InputSpec, Placement};
pub use preprocess::{ModelInput, Preprocessor};
pub use refusal::Refusal;
pub use runtime::{Runtime, RuntimeError};
pub use session::Session;
pub use shortcut::{Shortcut, Withheld};
