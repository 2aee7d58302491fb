//! What is told of a model, to a person and to a program.

use std::fmt;

use serde::Serialize;

use super::look::Facts;
use super::write::Prepared;
use crate::model::InputSize;
use crate::model::logits::Logits;
use crate::model::survey::{Candidate, Survey};

/// A model and everything in it that can serve as features.
#[derive(Debug, Serialize)]
pub struct Inspection<'a> {
    /// What the file says of itself.
    #[serde(flatten)]
    pub facts: &'a Facts,
    /// Multiply-accumulates per frame of all outputs.
    pub macs: u64,
    /// What can be asked for.
    pub candidates: Vec<Listed>,
    /// The logits candidate.
    pub logits: Option<&'a Logits>,
    /// Attention blocks that look at no patches, with the reason.
    pub unplaced: &'a [String],
}

/// One candidate.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// What to ask for it by.
    pub selector: String,
    /// The tensor that it is read from.
    pub tensor: String,
    /// Rows of the grid.
    pub rows: usize,
    /// Columns of the grid.
    pub cols: usize,
    /// Input pixels per cell.
    pub stride: usize,
    /// Numbers per cell.
    pub width: usize,
    /// Heads, for queries, keys and values.
    pub heads: Option<usize>,
    /// True if attention turns it by position (RoPE) before it compares: what is read is not turned yet.
    pub before_rotation: bool,
    /// Rows of the tensor that are no cells: class and register tokens, padding of windows.
    pub special_tokens: usize,
    /// Multiply-accumulates up to here.
    pub macs: u64,
}

/// Puts together what is told of a model.
pub fn inspection<'a>(facts: &'a Facts, survey: &'a Survey<'_>) -> Inspection<'a> {
    Inspection {
        facts,
        macs: survey.macs,
        candidates: survey.candidates.iter().map(|one| listed(one, facts.size)).collect(),
        logits: survey.logits.as_ref(),
        unplaced: &survey.unplaced,
    }
}

fn listed(one: &Candidate, size: InputSize) -> Listed {
    let plan = &one.plan;
    Listed {
        selector: one.selector.clone(),
        tensor: plan.tensor.clone(),
        rows: plan.grid.rows,
        cols: plan.grid.cols,
        stride: (size.height + plan.grid.rows / 2) / plan.grid.rows.max(1),
        width: plan.width(),
        heads: one.heads,
        before_rotation: one.before_rotation,
        special_tokens: plan.others,
        macs: one.macs,
    }
}

fn giga(macs: u64) -> String {
    match macs {
        0..1_000_000_000 => format!("{:.2} MMAC", macs as f64 / 1e6),
        _ => format!("{:.2} GMAC", macs as f64 / 1e9),
    }
}

impl fmt::Display for Inspection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let facts = self.facts;
        writeln!(f, "{}", facts.file)?;
        writeln!(f, "  sha256      {}", facts.sha256)?;
        writeln!(f, "  written by  {} ({})", facts.producer, facts.operators.join(", "))?;
        for (word, values) in [("input", &facts.inputs), ("output", &facts.outputs)] {
            for value in values {
                writeln!(f, "  {word:<11} {value}")?;
            }
        }
        writeln!(f, "  parameters  {:.2} M in {} nodes", facts.parameters as f64 / 1e6, facts.nodes)?;
        if let Some(told) = facts.numbers.told() {
            writeln!(f, "  numbers     {told}")?;
        }
        let chosen =
            if facts.declared == Some(facts.size) { "as declared" } else { "of the sizes that it takes" };
        writeln!(f, "  looked at   with {} ({chosen}): {} per frame", facts.size, giga(self.macs))?;
        if facts.origin.is_some() {
            writeln!(f, "  prepared    yes: it needs no [model] section but its path")?;
        }
        if !facts.classes.is_empty() {
            writeln!(f, "  classes     {}", facts.classes.join(", "))?;
        }
        match self.logits {
            Some(Logits::Classes { tensor, classes }) => {
                writeln!(f, "  logits      {tensor}: {classes} classes")?
            }
            Some(Logits::Queries { tensor, masks, classes, queries }) => {
                writeln!(f, "  logits      {tensor} and {masks}: {queries} queries, {classes} classes")?;
            }
            None => writeln!(f, "  logits      none found")?,
        }
        if self.candidates.is_empty() {
            writeln!(
                f,
                "\nNo attention and no stage that could be followed; --features takes a tensor's name."
            )?;
        } else {
            let wide = self.candidates.iter().map(|one| one.selector.len()).max().unwrap_or(0).max(8);
            writeln!(
                f,
                "\n  {:<wide$}  {:>9}  {:>6}  {:>5}  {:>5}  {:>7}  {:>11}  tensor",
                "features", "grid", "stride", "width", "heads", "special", "cost to it"
            )?;
            for one in &self.candidates {
                writeln!(
                    f,
                    "  {:<wide$}  {:>9}  {:>6}  {:>5}  {:>5}  {:>7}  {:>11}  {}",
                    one.selector,
                    format!("{}x{}", one.cols, one.rows),
                    one.stride,
                    one.width,
                    one.heads.map_or_else(String::new, |heads| heads.to_string()),
                    one.special_tokens,
                    giga(one.macs),
                    one.tensor
                )?;
            }
        }
        if self.candidates.iter().any(|one| one.before_rotation) {
            writeln!(
                f,
                "  note: attention turns queries and keys by their position (RoPE); listed is what their layers gave before that"
            )?;
        }
        for why in self.unplaced {
            writeln!(f, "  not listed: {why}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {:.1} MB", self.file, self.bytes as f64 / 1e6)?;
        writeln!(f, "  input     {}, {}", self.size, self.normalisation)?;
        let (rows, cols) = self.grid;
        writeln!(f, "  features  {}: [1, {rows}, {cols}, {}]", self.features.join(" + "), self.width)?;
        if let Some(head) = &self.head {
            let miou = head
                .held_out_miou
                .as_ref()
                .map_or_else(String::new, |miou| format!(", held-out mIoU {miou}"));
            writeln!(
                f,
                "  logits    {} classes, from the head {} on {}{miou}",
                head.classes,
                head.file,
                head.features.join(" + ")
            )?;
            writeln!(
                f,
                "  checked   head: differs from its training by at most {:.1e} of the largest logit",
                head.differs_from_training
            )?;
        }
        match &self.logits {
            Some(logits) => writeln!(
                f,
                "  logits    {} classes, from {}",
                logits.classes(),
                logits.tensors().join(" and ")
            )?,
            None if self.head.is_some() => {}
            None => writeln!(f, "  logits    none")?,
        }
        writeln!(f, "  nodes     {}, were {}", self.nodes.1, self.nodes.0)?;
        writeln!(f, "  cost      {} per frame, was {}", giga(self.macs.1), giga(self.macs.0))?;
        for one in &self.compared {
            writeln!(
                f,
                "  checked   {}: differs from the original by at most {:.1e} of {:.2} on {}",
                one.output,
                one.largest_difference,
                one.largest_number,
                one.pictures.join(", ")
            )?;
        }
        if let Some(told) = &self.quantized {
            let (floats, integers) = told.run_ms;
            writeln!(
                f,
                "  integers  {} products ({} stay in floats), {:.1} MB were {:.1} MB; a run takes {integers:.1} ms, took {floats:.1} ms",
                told.products,
                told.left,
                self.bytes as f64 / 1e6,
                told.bytes_before as f64 / 1e6,
            )?;
            if told.saturates {
                writeln!(
                    f,
                    "            signed 8-bit products saturate on this processor (no VNNI): farout takes the weights as unsigned, other programs may not"
                )?;
            }
            for one in &told.effects {
                writeln!(
                    f,
                    "            {}: {:.2} % off (relative L2) on {}",
                    one.output,
                    100.0 * one.relative_l2,
                    one.picture
                )?;
            }
            if let Some(one) = &told.distances {
                let whose = if one.other_pictures { "of the other pictures" } else { "of the same picture" };
                writeln!(
                    f,
                    "            distances of {} patches ({} {}) to the 3 nearest of {} {whose}:",
                    one.patches,
                    one.pictures,
                    if one.pictures == 1 { "picture" } else { "pictures" },
                    one.references
                )?;
                for (bank, change) in [("its own", one.own_bank), ("the floats'", one.former_bank)] {
                    writeln!(
                        f,
                        "              references by {bank:<11} {:.2} % off, {:.3} times as long, rank correlation {:.4}",
                        100.0 * change.relative_error,
                        change.ratio,
                        change.rank_correlation
                    )?;
                }
            }
        }
        if self.size_assumed {
            writeln!(
                f,
                "  note      the file takes any size: this one was chosen; choose another with --size WxH"
            )?;
        }
        if self.normalisation_assumed {
            writeln!(
                f,
                "  note      ImageNet's mean and std are assumed; if the model was trained with others, give --mean and --std"
            )?;
        }
        Ok(())
    }
}
