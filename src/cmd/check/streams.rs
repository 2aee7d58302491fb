//! What would be watched.

use crate::config::{Config, StreamConfig};
use crate::finding::{Finding, Standing};
use crate::source::{self, Location};

/// The stream's source, and where it would be seen.
pub(super) fn finding(stream: &StreamConfig, config: &Config) -> Finding {
    let (standing, mut detail) = match source::look(&stream.source) {
        Ok(what) => (Standing::Good, what),
        Err(why) if stream.source.wait && is_camera(stream) => {
            (Standing::Absent, format!("{why}; it would be waited for"))
        }
        Err(why) => (Standing::Bad, why),
    };
    let served = served(stream, config);
    if !served.is_empty() {
        detail += &format!("; seen at {}", served.join(" and "));
    }
    Finding::new("streams", stream.called(), standing, detail)
}

/// Whether it may be waited for.
fn is_camera(stream: &StreamConfig) -> bool {
    matches!(Location::parse(stream.source.source.secret()), Ok(Location::V4l2(_) | Location::Csi(_)))
}

/// Where it would be served.
fn served(stream: &StreamConfig, config: &Config) -> Vec<String> {
    let output = &config.output;
    let tls = if config.access.certificate.is_some() { "s" } else { "" };
    let addresses = [("rtsp", "", output.rtsp_address()), ("http", ".ts", output.http_address())];
    let of = |(scheme, ending, address): (&str, &str, Result<Option<crate::sink::Address>, _>)| {
        let address = address.ok().flatten()?;
        let path = stream.name.as_deref().map_or(address.path.clone(), |name| format!("/{name}{ending}"));
        Some(format!("{scheme}{tls}://{}{path}", address.socket))
    };
    addresses.into_iter().filter_map(of).collect()
}
