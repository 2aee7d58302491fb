//! A broker that is told of state and events, and may send commands (MQTT 3.1.1). What cannot be sent is dropped and
//! counted; no frame waits for a broker.

pub mod config;
#[cfg(feature = "media")]
mod connection;
#[cfg(feature = "media")]
mod discovery;
#[cfg(feature = "media")]
mod options;

pub use config::MqttConfig;
#[cfg(feature = "media")]
pub use connection::{Mqtt, Teller};
#[cfg(feature = "media")]
pub use options::MqttError;
