//! What `doctor` and `check` tell about writing and serving video: encoders and ports.

use super::{AccessConfig, OutputConfig};
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

/// What would be served; nothing without the feature `media`.
#[cfg(not(feature = "media"))]
pub fn planned(_: &OutputConfig, _: &AccessConfig) -> Vec<Finding> {
    Vec::new()
}

/// Where `config` would be served, who would be asked for what, and whether the files of `access` say so.
#[cfg(feature = "media")]
pub fn planned(config: &OutputConfig, access: &AccessConfig) -> Vec<Finding> {
    use super::Access;
    use crate::finding::Standing;

    const TOPIC: &str = "servers";
    let read = Access::read(access);
    let fault = read.as_ref().err();
    let mut found: Vec<_> =
        fault.map(|why| Finding::new(TOPIC, "access", Standing::Bad, why.to_string())).into_iter().collect();
    let read = read.ok();
    for (name, address) in [("RTSP", config.rtsp_address()), ("HTTP", config.http_address())] {
        let address = match address {
            Ok(None) => {
                found.push(Finding::new(TOPIC, name, Standing::Absent, "off"));
                continue;
            }
            Ok(Some(address)) => address,
            Err(why) => {
                found.push(Finding::new(TOPIC, name, Standing::Bad, why.to_string()));
                continue;
            }
        };
        if let Err(why) = Access::promised(access).guards(&address) {
            found.push(Finding::new(TOPIC, name, Standing::Bad, why.to_string()));
            continue;
        }
        // The files may not be had here, as those are that systemd hands over: what is asked for is known all the same.
        let asked = match (&access.user, &access.token_file) {
            (Some(user), _) => format!("asks for the password of {user:?}"),
            (None, Some(_)) if name == "HTTP" => "asks for the token".to_owned(),
            _ => "asks for nothing".to_owned(),
        };
        let tls = if access.certificate.is_some() { ", over TLS" } else { "" };
        let detail = format!("{} {asked}{tls}", address.socket);
        found.push(match std::net::TcpListener::bind(address.socket) {
            Ok(_) => Finding::new(TOPIC, name, Standing::Good, detail),
            // While farout runs its own ports are taken.
            Err(why) if why.kind() == std::io::ErrorKind::AddrInUse => {
                Finding::new(TOPIC, name, Standing::Absent, format!("{detail}; the port is in use now"))
                    .remedy("if that is not the farout that this configuration is for, choose another port")
            }
            Err(why) => Finding::new(TOPIC, name, Standing::Bad, format!("{}: {why}", address.socket)),
        });
    }
    if let Some((certificate, key)) = read.as_ref().and_then(|read| read.tls.as_ref()) {
        let fault = super::http::tls::acceptor(certificate, key).err();
        found.extend(fault.map(|why| Finding::new(TOPIC, "TLS", Standing::Bad, why.to_string())));
    }
    found
}
