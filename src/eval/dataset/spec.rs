//! A data set as it is named: `KIND:PATH`.

use std::path::PathBuf;

use super::error::DatasetError;
use super::kind::Kind;
use crate::written::stored_as_written;

/// `KIND:PATH`, told apart but not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetSpec {
    /// The layout.
    pub kind: Kind,
    /// Where it lies.
    pub path: PathBuf,
}

impl std::str::FromStr for DatasetSpec {
    type Err = DatasetError;

    fn from_str(text: &str) -> Result<Self, DatasetError> {
        let unknown = || DatasetError::UnknownKind { text: text.to_owned() };
        let (name, path) = text.split_once(':').ok_or_else(unknown)?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(unknown)?;
        if path.is_empty() {
            return Err(unknown());
        }
        Ok(DatasetSpec { kind, path: path.into() })
    }
}

impl std::fmt::Display for DatasetSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.path.display())
    }
}

stored_as_written!(DatasetSpec);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_set_is_named_by_kind_and_path() {
        for kind in Kind::ALL {
            let text = format!("{}:/data/with:colon", kind.name());
            let spec: DatasetSpec = text.parse().unwrap();
            assert_eq!((spec.kind, spec.path.to_str()), (kind, Some("/data/with:colon")));
            assert_eq!(spec.to_string(), text);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        for wrong in ["roadanomaly", "roadanomaly:", "cityscapes:x", "", ":x"] {
            let why = wrong.parse::<DatasetSpec>().unwrap_err().to_string();
            assert!(why.contains("streethazards") && why.contains("KIND:PATH"), "{why}");
        }
    }
}
