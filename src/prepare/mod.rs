//! From an ONNX file of anywhere to one that says all about itself: looking at it with a run of its
//! graph, rewriting it, and running both against each other.

mod chosen;
mod distances;
mod download;
mod fetch;
mod head;
mod look;
mod parity;
mod pictures;
mod quantised;
mod report;
mod request;
mod told;
mod write;

pub use distances::{Change, DistanceEffect};
pub use download::MEGABYTE;
pub use fetch::{Fetch, KNOWN, Known, cache, fetch, known};
pub use head::HeadTold;
pub use look::{Examined, Facts, Look, Numbers, examine};
pub use parity::{Compared, Picture};
pub use quantised::{Effect, QuantisedTold};
pub use report::{Inspection, Listed, inspection};
pub use request::{LogitsChoice, Request};
pub use write::{Prepared, prepare};
