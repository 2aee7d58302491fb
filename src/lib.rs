//! farout watches road video and marks, live, what the training data never showed.

pub mod features;
pub mod file;
pub mod finding;
pub mod frame;
pub mod grid;
pub mod identity;
pub mod model;
pub mod nearest;
pub mod pool;
pub mod region;
pub mod source;
pub mod stop;
