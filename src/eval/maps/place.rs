//! Where a score map lies: a file of its own, or a file of several.

use std::fmt;
use std::path::{Path, PathBuf};

/// Where a score map lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: PathBuf,
    /// What of it.
    pub part: Part,
}

/// What of a file is the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// One of a stack, from 0 on.
    Number(usize),
    /// The array of this name.
    Name(String),
}

impl From<PathBuf> for Place {
    fn from(file: PathBuf) -> Place {
        Place { file, part: Part::Whole }
    }
}

impl From<&Path> for Place {
    fn from(file: &Path) -> Place {
        file.to_owned().into()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = self.file.display();
        match &self.part {
            Part::Whole => write!(f, "{file}"),
            Part::Number(number) => write!(f, "{file}[{number}]"),
            Part::Name(name) => write!(f, "{file}[{name:?}]"),
        }
    }
}
