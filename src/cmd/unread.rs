//! Keys of a configuration that a command does not read: they are said, so that nobody waits for their effect.

use std::path::Path;

/// The keys that a command reads, each as `section.key`, or a whole section.
pub(super) type Reads = [&'static str];

/// What shapes score maps and thresholds.
pub(super) const EVAL: &Reads =
    &["detector", "model", "views", "runtime", "bank", "search", "supplement", "score", "roi"];
/// What shapes a bank and its calibration.
pub(super) const BANK_BUILD: &Reads = &[
    "model",
    "views",
    "runtime",
    "search.k",
    "search.threads",
    "score.partner",
    "score.normalise",
    "score.smooth",
    "score.min_region_px",
];
/// What learns a detector; its scores are the recipe's.
pub(super) const LEARN: &Reads = &["model", "runtime", "search"];
/// What opens the models.
pub(super) const MODEL_WARM: &Reads = &["detector", "model", "roi", "runtime"];
/// What opens the main model alone.
pub(super) const BENCH: &Reads = &["detector", "model", "runtime"];
/// What is looked for on a machine.
pub(super) const DOCTOR: &Reads = &["runtime", "output"];
/// All but what makes a run live.
pub(super) const REPLAY: &Reads = &[
    "detector",
    "stream.name",
    "stream.source",
    "stream.password_file",
    "stream.rtsp_latency_ms",
    "stream.rtsp_transport",
    "stream.timeout_secs",
    "stream.deinterlace",
    "stream.width",
    "stream.height",
    "stream.fps",
    "stream.score",
    "stream.overlay",
    "stream.output",
    "model",
    "views",
    "runtime",
    "bank",
    "search",
    "supplement",
    "score",
    "roi",
    "overlay.heat",
    "overlay.opacity",
    "overlay.colormap",
    "overlay.contour",
    "overlay.boxes",
    "overlay.line_colour",
    "overlay.status",
    "overlay.text_scale",
    "output.events",
    "output.encoder",
    "output.bitrate_kbps",
    "output.keyframe_secs",
    "output.width",
    "output.height",
    "flow.drain_secs",
];
/// A run reads all.
pub(super) const RUN: &Reads = &[
    "detector",
    "stream",
    "model",
    "views",
    "runtime",
    "bank",
    "search",
    "score",
    "roi",
    "overlay",
    "output",
    "events",
    "supplement",
    "access",
    "mqtt",
    "foxglove",
    "flow",
];

/// Says which keys of the file at `path`, read as `table`, are not among those that `command` reads.
pub(super) fn say(command: &str, path: &Path, table: &toml::Table, reads: &Reads) {
    let unread = unread(table, reads);
    if !unread.is_empty() {
        tracing::info!("{command} does not read these keys of {}: {}", path.display(), unread.join(", "));
    }
}

/// Sections of which nothing is read, as `[section]`, and single keys of others.
fn unread(table: &toml::Table, reads: &Reads) -> Vec<String> {
    let mut found = Vec::new();
    for (section, value) in table {
        let start = format!("{section}.");
        if reads.contains(&section.as_str()) {
            continue;
        }
        if !reads.iter().any(|read| read.starts_with(&start)) {
            let is_section = value.is_table() || value.is_array();
            found.push(if is_section { format!("[{section}]") } else { section.clone() });
            continue;
        }
        let tables = match value {
            toml::Value::Array(list) => list.iter().filter_map(toml::Value::as_table).collect(),
            other => other.as_table().into_iter().collect::<Vec<_>>(),
        };
        for key in tables.into_iter().flat_map(toml::Table::keys) {
            let key = format!("{start}{key}");
            if !reads.contains(&key.as_str()) && !found.contains(&key) {
                found.push(key);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// The full file, with what is optional.
    fn full() -> toml::Table {
        let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/configs/full.toml"));
        text.unwrap().parse().unwrap()
    }

    #[test]
    fn sections_and_single_keys_are_told_apart() {
        let full = full();
        assert_eq!(unread(&full, RUN), Vec::<String>::new());
        let replay = [
            "stream.loop",
            "stream.pace",
            "stream.wait",
            "overlay.max_age_secs",
            "output.http",
            "output.rtsp",
            "output.picture",
            "flow.in_flight",
            "[access]",
            "[events]",
            "[mqtt]",
            "[foxglove]",
            "flow.detection_nice",
            "flow.ladder",
            "flow.least_verdicts",
        ];
        let (mut got, mut want) = (unread(&full, REPLAY), replay.map(String::from).to_vec());
        got.sort();
        want.sort();
        assert_eq!(got, want);
        let bank = unread(&full, BANK_BUILD);
        assert!(bank.contains(&"[output]".into()) && bank.contains(&"score.threshold".into()), "{bank:?}");
        assert!(!bank.contains(&"search.k".into()));
    }

    #[test]
    fn what_is_read_exists() {
        let known = toml::Table::try_from(Config::default()).unwrap();
        let full = full();
        for read in [RUN, REPLAY, EVAL, BANK_BUILD, LEARN, MODEL_WARM, BENCH, DOCTOR].into_iter().flatten() {
            let (section, key) = read.split_once('.').unwrap_or((read, ""));
            // A key of the file alone.
            if section == "detector" {
                continue;
            }
            let own = full.get(section).or_else(|| known.get(section)).unwrap();
            let table = own.as_table().or_else(|| own.as_array()?.first()?.as_table()).unwrap();
            // Keys without a default value are left out of the file.
            let optional = ["events", "name", "password_file", "score", "overlay", "output"].contains(&key);
            assert!(key.is_empty() || optional || table.contains_key(key), "{read}");
        }
    }
}
