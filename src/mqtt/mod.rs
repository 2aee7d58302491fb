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

/// Whether the files can be read that speaking to `broker` needs; nobody is spoken to.
///
/// # Errors
/// In words, with key and file.
#[cfg(feature = "media")]
pub fn files(broker: &config::Broker, config: &MqttConfig) -> Result<(), String> {
    options::of(broker, config, &options::base(config)).map(drop).map_err(|why| why.to_string())
}

/// Without video nobody is spoken to.
///
/// # Errors
/// None.
#[cfg(not(feature = "media"))]
pub fn files(_: &config::Broker, _: &MqttConfig) -> Result<(), String> {
    Ok(())
}
