//! All tests that need no process of their own, in one program: it is linked once, and they run side by side.
//!
//! What counts the allocations or the memory of its process stands alone, in `allocations.rs` and `sinks.rs`.

mod support {
    #[cfg(feature = "media")]
    pub mod api;
    pub mod blocks;
    #[cfg(feature = "media")]
    pub mod browser;
    #[cfg(feature = "media")]
    pub mod clips;
    pub mod drive_set;
    #[cfg(feature = "media")]
    pub mod driven;
    pub mod examples;
    pub mod forms;
    pub mod given;
    pub mod host_stream;
    pub mod judge;
    pub mod made_up;
    #[cfg(feature = "media")]
    pub mod players;
    pub mod program;
    pub mod read_files;
    #[cfg(feature = "media")]
    pub mod rtsp_camera;
    #[cfg(feature = "media")]
    pub mod screens;
    pub mod skipped;
    #[cfg(feature = "media")]
    pub mod stamps;
    pub mod tiny_model;
    #[cfg(feature = "media")]
    pub mod webrtc;
}

mod access;
mod bad_input;
mod banks;
mod binding;
mod cameras;
mod check;
mod clock;
mod colours;
mod configs;
mod daemon;
mod damage;
mod documents;
mod eval;
mod event_store;
mod features;
mod floors;
mod formats;
mod foxglove;
mod fused;
mod fuzz_corpus;
mod fuzz_wire;
mod gpu_check;
mod heads;
mod integers;
mod key_pictures;
mod learn;
mod learn_more;
mod loading;
mod maps;
mod marking;
mod metrics;
mod metrics_input;
mod metrics_regions;
mod models;
mod monitoring;
mod motion_jpeg;
mod mqtt;
mod normal;
mod package;
mod page;
mod prepare;
mod providers;
mod reconnect;
mod replay;
mod road;
mod search_bench;
mod servers;
mod several_cameras;
mod shapes;
mod soak;
mod sources;
mod streams;
mod views;
mod web;
mod wheel;
mod whep;
