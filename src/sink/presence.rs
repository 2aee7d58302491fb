//! What `doctor` tells about writing and serving video: encoders and ports.

use super::OutputConfig;
use crate::finding::Finding;

/// What this machine can encode and serve; nothing without the feature `media`.
#[cfg(not(feature = "media"))]
pub fn findings(_: &OutputConfig) -> Vec<Finding> {
    Vec::new()
}

/// What this machine can encode, and whether the addresses of `config` are free.
#[cfg(feature = "media")]
pub fn findings(config: &OutputConfig) -> Vec<Finding> {
    let mut list = encoders();
    list.extend(port("RTSP", config.rtsp_address()));
    list.extend(port("HTTP", config.http_address()));
    list
}

#[cfg(feature = "media")]
fn encoders() -> Vec<Finding> {
    use super::encoder::{CANDIDATES, starts};
    use crate::finding::Standing;

    if gstreamer::init().is_err() {
        // The sources' findings say so.
        return Vec::new();
    }
    let tried = CANDIDATES.map(|name| (name, starts(name)));
    let none = tried.iter().all(|(_, started)| started.is_err());
    let finding = |(name, started): (&str, Result<(), String>)| Finding {
        topic: "encoders",
        name: name.into(),
        standing: match started {
            Ok(()) => Standing::Good,
            Err(_) if none => Standing::Bad,
            Err(_) => Standing::Absent,
        },
        remedy: (none && name == "x264enc").then(|| "install gstreamer1.0-plugins-ugly".into()),
        detail: started.err().unwrap_or_else(|| "starts".into()),
    };
    tried.into_iter().map(finding).collect()
}

#[cfg(feature = "media")]
fn port(name: &str, address: Result<Option<super::Address>, super::SinkError>) -> Option<Finding> {
    use crate::finding::Standing;

    let (standing, detail) = match address {
        Ok(None) => return None,
        Ok(Some(address)) => match std::net::TcpListener::bind(address.socket) {
            Ok(_) => (Standing::Good, format!("{} is free", address.socket)),
            Err(error) => (Standing::Bad, format!("{}: {error}", address.socket)),
        },
        Err(error) => (Standing::Bad, error.to_string()),
    };
    let remedy = (standing == Standing::Bad)
        .then(|| "is farout already running? choose another port in the config".into());
    Some(Finding { topic: "ports", name: name.into(), standing, detail, remedy })
}
