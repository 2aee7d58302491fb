//! Everything in a graph that can serve as features: queries, keys and values of each attention block,
//! block outputs, final norms, stages; and how to ask for one of them.

use std::collections::BTreeMap;

use super::cells::CellMap;
use super::cost;
use super::heads::{self, Head};
use super::logits::Logits;
use super::readout::Readout;
use super::web::Web;

/// One tensor that can serve as features.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// What to ask for it by: `key:12`, `norm`, `stage:4` or the tensor's own name.
    pub selector: String,
    /// How it is read.
    pub plan: Readout,
    /// Heads of the attention, for queries, keys and values.
    pub heads: Option<usize>,
    /// True if attention turns it by position (RoPE) before it compares: what is read is not turned yet.
    pub before_rotation: bool,
    /// Multiply-accumulates of everything that it needs.
    pub macs: u64,
    /// Other names of the same tensor.
    pub also: Vec<String>,
    /// What it was found by, in few words.
    pub found_by: String,
}

/// What is in a graph.
#[derive(Debug)]
pub struct Survey<'a> {
    /// The graph.
    pub web: Web<'a>,
    /// Which cells its tensors hold.
    pub cells: CellMap,
    /// Multiply-accumulates by node.
    pub costs: Vec<u64>,
    /// Names of the file's outputs.
    pub outputs: Vec<&'a str>,
    /// Multiply-accumulates of all outputs.
    pub macs: u64,
    /// All candidates, in the order of the graph.
    pub candidates: Vec<Candidate>,
    /// The heads that give class logits.
    pub heads: Vec<Head>,
    /// What is not listed, each with the reason: attention blocks whose keys are no patches (between queries, or what
    /// could not be followed), and names whose tensor two ways of finding it do not agree on.
    pub unplaced: Vec<String>,
}

impl<'a> Survey<'a> {
    /// The class logits that are taken if no others are asked for.
    pub fn logits(&self) -> Option<&Logits> {
        heads::main(&self.heads).map(|head| &head.logits)
    }

    pub(super) fn candidate(&self, selector: String, plan: Readout, found_by: String) -> Candidate {
        let macs = cost::macs_up_to(&self.web, &self.costs, &[&plan.tensor]);
        Candidate { selector, plan, heads: None, before_rotation: false, macs, also: Vec::new(), found_by }
    }

    pub(super) fn plan(&self, tensor: &str) -> Result<Readout, String> {
        let known = self.cells.get(tensor).ok_or_else(|| {
            let shape = self.web.shape(tensor).unwrap_or_default();
            format!("{tensor} {shape:?}: it is not known which part of the picture its rows belong to")
        })?;
        let map = known.array.dims.len() == 4
            && known.array.varies[2..] == [true, true]
            && known.array.dims[2..] == [known.grid.rows, known.grid.cols];
        Readout::plan(tensor, known, map.then_some(1))
    }

    /// The candidate that `selector` names.
    ///
    /// # Errors
    /// What there is instead, or why the tensor of that name will not do.
    pub fn select(&self, selector: &str) -> Result<Candidate, String> {
        let named =
            |one: &&Candidate| one.selector == selector || one.also.iter().any(|name| name == selector);
        if let Some(found) = self.candidates.iter().find(named) {
            return Ok(Candidate { selector: selector.to_owned(), ..found.clone() });
        }
        if self.web.shape(selector).is_some() {
            let plan = self.plan(selector)?;
            return Ok(self.candidate(selector.to_owned(), plan, "its name".to_owned()));
        }
        let start = format!("{selector}: ");
        if let Some(why) = self.unplaced.iter().find_map(|why| why.strip_prefix(&start)) {
            return Err(format!("{selector} is not certain: {why}; name the tensor itself"));
        }
        let near = match super::graph::require_among(self.web.nodes, selector) {
            Ok(()) => String::new(),
            Err(near) => format!(", or any tensor by its name (close to this one: {near})"),
        };
        Err(format!("there is no {selector:?} in it; there is {}{near}", self.listed()))
    }

    /// The selectors in few words: `key:1..12, query:1..12, norm`.
    pub fn listed(&self) -> String {
        let mut groups: BTreeMap<usize, (String, Vec<usize>)> = BTreeMap::new();
        let names = self.candidates.iter().flat_map(|one| std::iter::once(&one.selector).chain(&one.also));
        for (at, name) in names.enumerate() {
            let (role, number) = match name.split_once(':') {
                Some((role, number)) => (role, number.parse::<usize>().ok()),
                None => (name.as_str(), None),
            };
            let known =
                groups.iter().find(|(_, (name, list))| name == role && list.is_empty() == number.is_none());
            let place = known.map_or(at, |(&place, _)| place);
            groups.entry(place).or_insert_with(|| (role.to_owned(), Vec::new())).1.extend(number);
        }
        let words: Vec<String> = groups.values().map(|(role, numbers)| named(role, numbers)).collect();
        if words.is_empty() {
            "no attention and no stage that could be followed".to_owned()
        } else {
            words.join(", ")
        }
    }
}

fn named(role: &str, numbers: &[usize]) -> String {
    let run = numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    match numbers {
        [] => role.to_owned(),
        [one] => format!("{role}:{one}"),
        [first, .., last] if run => format!("{role}:{first}..{last}"),
        _ => numbers.iter().map(|number| format!("{role}:{number}")).collect::<Vec<_>>().join(", "),
    }
}
