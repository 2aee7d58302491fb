//! The `[mqtt]` keys: a broker that is told of state and events, and may send commands.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A broker, and what it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MqttConfig {
    /// `run`: address of the broker, `mqtt://HOST:1883` or, over TLS, `mqtts://HOST:8883`. Default: none.
    pub broker: Option<String>,
    /// Its user. Default: none.
    pub user: Option<String>,
    /// A file with that user's password. Default: none.
    pub password_file: Option<PathBuf>,
    /// TLS: a file with the certificates that vouch for the broker, in PEM. Default: those of the system.
    pub authorities: Option<PathBuf>,
    /// What all topics begin with. Default "farout".
    pub topic: String,
    /// This machine's part of the topics. Default: its host name.
    pub node: Option<String>,
    /// Whether commands are taken (changes of the configuration, reload). Default false.
    pub commands: bool,
    /// Whether Home Assistant is told what there is (MQTT discovery). Default false.
    pub home_assistant: bool,
}

impl Default for MqttConfig {
    fn default() -> Self {
        MqttConfig {
            broker: None,
            user: None,
            password_file: None,
            authorities: None,
            topic: "farout".into(),
            node: None,
            commands: false,
            home_assistant: false,
        }
    }
}

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl MqttConfig {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// The key and what it may be.
    pub fn check(&self) -> Result<(), String> {
        self.broker()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let topic = self.topic.split('/').all(|part| !part.is_empty() && part.chars().all(plain));
        if !topic {
            return Err(format!(
                "mqtt.topic is {:?}, give letters, digits, - and _, parted by /",
                self.topic
            ));
        }
        match self.node.as_deref() {
            Some(node) if node.is_empty() || !node.chars().all(plain) => {
                Err(format!("mqtt.node is {node:?}, give letters, digits, - and _"))
            }
            _ if self.password_file.is_some() && self.user.is_none() => {
                Err("mqtt.password_file needs mqtt.user beside it".into())
            }
            _ => Ok(()),
        }
    }

    /// Where the broker is, if there is to be one.
    ///
    /// # Errors
    /// If its address is none.
    pub fn broker(&self) -> Result<Option<Broker>, String> {
        let Some(address) = &self.broker else { return Ok(None) };
        let wrong = || format!("mqtt.broker is {address:?}, write mqtt://HOST:1883 or mqtts://HOST:8883");
        let (scheme, rest) = address.split_once("://").ok_or_else(wrong)?;
        let (tls, usual) = match scheme {
            "mqtt" => (false, 1883),
            "mqtts" => (true, 8883),
            _ => return Err(wrong()),
        };
        let rest = rest.trim_end_matches('/');
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().ok_or_else(wrong)?),
            _ => (rest, usual),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(['/', '@']) {
            return Err(wrong());
        }
        Ok(Some(Broker { host: host.to_owned(), port, tls }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_topics() {
        let broker = |text: &str| {
            let config = MqttConfig { broker: Some(text.into()), ..MqttConfig::default() };
            config.check().and_then(|()| config.broker()).map(Option::unwrap)
        };
        let at = |host: &str, port, tls| Broker { host: host.into(), port, tls };
        assert_eq!(broker("mqtt://10.0.0.5"), Ok(at("10.0.0.5", 1883, false)));
        assert_eq!(broker("mqtts://broker.local:9000/"), Ok(at("broker.local", 9000, true)));
        assert_eq!(broker("mqtt://[::1]:1884"), Ok(at("::1", 1884, false)));
        assert_eq!(broker("mqtt://[::1]"), Ok(at("::1", 1883, false)));
        for wrong in ["10.0.0.5", "http://x", "mqtt://", "mqtt://x:port", "mqtt://me:secret@x"] {
            assert!(broker(wrong).unwrap_err().contains("mqtt.broker"), "{wrong}");
        }
        for (topic, node, want) in
            [("a/#", None, "mqtt.topic"), ("", None, "mqtt.topic"), ("a", Some("b/c"), "mqtt.node")]
        {
            let node = node.map(str::to_owned);
            let config = MqttConfig { topic: topic.into(), node, ..MqttConfig::default() };
            assert!(config.check().unwrap_err().contains(want));
        }
    }
}
