//! What became of a change.

use serde::Serialize;

/// What became of each key.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// Those that differ, in their order.
    pub changes: Vec<Change>,
}

/// A key whose value was to change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Its name: `score.threshold`, `stream.front.source`.
    pub key: String,
    /// What held; absent if nothing was set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<serde_json::Value>,
    /// What was asked for; absent if nothing is set any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<serde_json::Value>,
    /// Why it was not done; absent if it holds now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Outcome {
    /// Whether all that was asked for holds now.
    pub fn is_complete(&self) -> bool {
        self.changes.iter().all(|change| change.why.is_none())
    }

    /// Says it in the log.
    pub(super) fn log(&self) {
        let told =
            |value: &Option<serde_json::Value>| value.as_ref().map_or("nothing".into(), ToString::to_string);
        for Change { key, before, after, why } in &self.changes {
            let (before, after) = (told(before), told(after));
            match why {
                None => tracing::info!(before, after, "{key} is changed"),
                Some(why) => tracing::warn!(why, before, after, "{key} stays as it was"),
            }
        }
        if self.changes.is_empty() {
            tracing::info!("nothing has changed");
        }
    }
}
