//! Where results go: score maps, pictures, events.

pub mod events;
pub mod folder;
pub mod pictures;
pub mod score_maps;
