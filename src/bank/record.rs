//! What happened to a bank besides being built in one run: one of several shards, or made smaller.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which part of the inputs a shard was built from, written `i/n` with i from 1 to n.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ShardNumber {
    /// Its number, from 1.
    pub number: u32,
    /// How many there are.
    pub of: u32,
}

impl ShardNumber {
    /// Of `of` things dealt out in turn, whether number `index` (from 0) is of this shard.
    pub fn has(self, index: usize) -> bool {
        index % self.of.max(1) as usize + 1 == self.number as usize
    }
}

impl FromStr for ShardNumber {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no shard; give i/n with i from 1 to n, such as 2/8");
        let (number, of) = text.split_once('/').ok_or_else(wrong)?;
        let parse = |text: &str| text.trim().parse::<u32>().map_err(|_not_a_number| wrong());
        let shard = ShardNumber { number: parse(number)?, of: parse(of)? };
        if shard.number == 0 || shard.number > shard.of { Err(wrong()) } else { Ok(shard) }
    }
}

impl fmt::Display for ShardNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.number, self.of)
    }
}

/// How a bank was made smaller, and what that cost. All distances are L2, unsquared, from every row of the
/// larger bank to the nearest row that was kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PruneRecord {
    /// `kcenter` or `random`.
    pub method: String,
    /// Seed of the first centre, or of the draw.
    pub seed: u64,
    /// Rows before.
    pub from: usize,
    /// The largest distance.
    pub covering_radius: f32,
    /// The mean distance.
    pub mean_distance: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_numbered_from_one() {
        let shard: ShardNumber = "2/3".parse().unwrap();
        assert_eq!((shard.number, shard.of, shard.to_string().as_str()), (2, 3, "2 of 3"));
        assert_eq!((0..7).filter(|i| shard.has(*i)).collect::<Vec<_>>(), [1, 4]);
        for wrong in ["", "0/3", "4/3", "1", "1/0", "-1/2", "a/b", "1/2/3", "1/99999999999"] {
            assert!(wrong.parse::<ShardNumber>().unwrap_err().contains("2/8"), "{wrong}");
        }
    }
}
