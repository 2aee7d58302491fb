//! What is told of a model, to a person and to a program.

use std::fmt;

use serde::Serialize;

use super::look::Facts;
use crate::model::InputSize;
use crate::model::heads::{self, Head};
use crate::model::logits::Logits;
use crate::model::sums;
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
    /// The class logits that are taken if no others are asked for.
    pub logits: Option<&'a Logits>,
    /// All heads that give class logits.
    pub heads: &'a [Head],
    /// What each output of the file holds, as far as it was found: name and meaning.
    pub meanings: Vec<(String, String)>,
    /// What is not listed, each with the reason: attention blocks that look at no patches, names that are not certain.
    pub unplaced: &'a [String],
}

/// One candidate.
#[derive(Debug, Serialize)]
pub struct Listed {
    /// What to ask for it by.
    pub selector: String,
    /// Other names of the same tensor.
    pub also: Vec<String>,
    /// What it was found by, in few words.
    pub found_by: String,
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
        logits: survey.logits(),
        heads: &survey.heads,
        meanings: meanings(survey),
        unplaced: &survey.unplaced,
    }
}

/// What the outputs of the file hold.
fn meanings<'a>(survey: &Survey<'a>) -> Vec<(String, String)> {
    let told = |name: &'a str| {
        let head = survey.heads.iter().find(|head| head.outputs.iter().any(|output| output == name));
        if let Some(head) = head {
            let same = head.logits.tensors().contains(&name);
            let made = heads::decided(name, |name| survey.web.making(name)).map(|(_, one)| one.op_type());
            return match made {
                _ if same => head.selector.clone(),
                Some("ArgMax") => format!("the best class of {}", head.selector),
                Some(op) => format!("probabilities: {op} of {}", head.selector),
                None => format!("{} at another size or in another order", head.selector),
            };
        }
        let own = sums::original(&survey.web, name);
        if let Some(one) = survey.candidates.iter().find(|one| one.plan.tensor == own) {
            return one.selector.clone();
        }
        match survey.cells.get(name) {
            Some(known) => {
                format!("numbers per cell of {}x{}, no class scores", known.grid.cols, known.grid.rows)
            }
            None => "no map of the picture".to_owned(),
        }
    };
    survey.outputs.iter().map(|&name| (name.to_owned(), told(name))).collect()
}

fn listed(one: &Candidate, size: InputSize) -> Listed {
    let plan = &one.plan;
    Listed {
        selector: one.selector.clone(),
        also: one.also.clone(),
        found_by: one.found_by.clone(),
        tensor: plan.tensor.clone(),
        rows: plan.grid.rows,
        cols: plan.grid.cols,
        stride: plan.grid.stride(size.width, size.height),
        width: plan.width(),
        heads: one.heads,
        before_rotation: one.before_rotation,
        special_tokens: plan.others,
        macs: one.macs,
    }
}

/// Multiply-accumulates for people.
pub(super) fn giga(macs: u64) -> String {
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
        for value in &facts.inputs {
            writeln!(f, "  input       {value}")?;
        }
        for value in &facts.outputs {
            let meaning = self.meanings.iter().find(|(name, _)| value.starts_with(&format!("{name} [")));
            let meaning = meaning.map_or_else(String::new, |(_, meaning)| format!(": {meaning}"));
            writeln!(f, "  output      {value}{meaning}")?;
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
        for head in self.heads {
            let word = format!("{:<11}", head.selector);
            let before = head.decided_by.as_ref().map_or_else(String::new, |op| format!(", before the {op}"));
            let grid = format!("{}x{}", head.cols, head.rows);
            match &head.logits {
                Logits::Classes { tensor, classes } => {
                    writeln!(f, "  {word} {tensor}: {classes} classes on {grid}{before}")?;
                }
                Logits::Queries { tensor, masks, classes, queries } => {
                    writeln!(
                        f,
                        "  {word} {tensor} and {masks}: {queries} queries, {classes} classes on {grid}"
                    )?;
                }
            }
        }
        if self.heads.is_empty() {
            writeln!(f, "  logits      none found")?;
        }
        if self.candidates.is_empty() {
            writeln!(
                f,
                "\nNo attention and no stage that could be followed; --features takes a tensor's name."
            )?;
        } else {
            let names = |one: &Listed| [&[one.selector.clone()][..], &one.also[..]].concat().join(" = ");
            let widest = |width: usize, text: usize| width.max(text);
            let wide = self.candidates.iter().map(|one| names(one).len()).fold(8, widest);
            let by = self.candidates.iter().map(|one| one.found_by.len()).fold(8, widest);
            writeln!(
                f,
                "\n  {:<wide$}  {:>9}  {:>6}  {:>5}  {:>5}  {:>7}  {:>11}  {:<by$}  tensor",
                "features", "grid", "stride", "width", "heads", "special", "cost to it", "found by"
            )?;
            for one in &self.candidates {
                writeln!(
                    f,
                    "  {:<wide$}  {:>9}  {:>6}  {:>5}  {:>5}  {:>7}  {:>11}  {:<by$}  {}",
                    names(one),
                    format!("{}x{}", one.cols, one.rows),
                    one.stride,
                    one.width,
                    one.heads.map_or_else(String::new, |heads| heads.to_string()),
                    one.special_tokens,
                    giga(one.macs),
                    one.found_by,
                    one.tensor
                )?;
            }
        }
        if self.candidates.iter().any(|one| one.before_rotation) {
            writeln!(f, "  note: queries and keys are listed before RoPE, so they carry no position")?;
        }
        for why in self.unplaced {
            writeln!(f, "  not listed: {why}")?;
        }
        Ok(())
    }
}
