//! How the broker is spoken to: who farout is, what it shows, and what is told if it is gone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{LastWill, MqttOptions, QoS, TlsConfiguration, Transport};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::config::{Broker, MqttConfig};

/// The broker takes silence of so long for the end of farout, and tells so.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The largest message.
const LARGEST: usize = 1 << 20;

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// A file or an address is none.
    #[error("{0}")]
    Config(String),
    /// The system refuses a thread.
    #[error("cannot start a thread for MQTT: {0}")]
    Thread(std::io::Error),
}

/// What begins all topics of this machine.
pub(super) fn base(config: &MqttConfig) -> String {
    format!("{}/{}", config.topic, config.node.clone().unwrap_or_else(host))
}

/// How `broker` is spoken to.
///
/// # Errors
/// [`MqttError::Config`] if a file cannot be read.
pub(super) fn of(broker: &Broker, config: &MqttConfig, base: &str) -> Result<MqttOptions, MqttError> {
    let name = base.replace('/', "-");
    let mut options = MqttOptions::new(name, &broker.host, broker.port);
    options.set_keep_alive(KEEP_ALIVE);
    options.set_last_will(LastWill::new(format!("{base}/status"), "offline", QoS::AtLeastOnce, true));
    options.set_max_packet_size(LARGEST, LARGEST);
    if let Some(user) = &config.user {
        let password = config.password_file.as_deref().map(crate::secret::read).transpose();
        let password = password.map_err(|why| MqttError::Config(format!("mqtt.password_file: {why}")))?;
        options.set_credentials(user, password.unwrap_or_default());
    }
    if broker.tls {
        options.set_transport(tls(broker, config)?);
    }
    Ok(options)
}

/// The host's name, as far as it can be a part of a topic.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain: String =
        name.trim().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    if plain.is_empty() { "vehicle".to_owned() } else { plain }
}

/// TLS that trusts the authorities of the configuration, or those of the system.
fn tls(broker: &Broker, config: &MqttConfig) -> Result<Transport, MqttError> {
    let wrong = |why: String| MqttError::Config(format!("mqtt.authorities: {why}"));
    let mut roots = rustls::RootCertStore::empty();
    let path = config.authorities.as_deref().unwrap_or(Path::new("/etc/ssl/certs/ca-certificates.crt"));
    let path = crate::secret::place(path).map_err(wrong)?;
    let read = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let (added, _) =
        roots.add_parsable_certificates(read.map_err(|why| wrong(format!("{}: {why}", path.display())))?);
    if added == 0 {
        return Err(wrong(format!(
            "{} holds no certificate, and {} speaks TLS",
            path.display(),
            broker.host
        )));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|why| wrong(why.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Transport::tls_with_config(TlsConfiguration::Rustls(Arc::new(client))))
}
