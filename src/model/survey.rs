//! Everything in a graph that can serve as features: queries, keys and values of each attention block,
//! block outputs, final norms, stages; and how to ask for one of them.

use std::collections::BTreeMap;

use super::attention::{self, Attention, Factors, Operand};
use super::cells::{self, CellMap};
use super::cost;
use super::finals;
use super::heads::{self, Head};
use super::logits::Logits;
use super::norms;
use super::projection;
use super::readout::Readout;
use super::stages;
use super::stream;
use super::trace::Traced;
use super::unfuse;
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

/// Queries, keys or values of a block.
struct Factor {
    role: &'static str,
    plan: Readout,
    heads: Option<usize>,
    /// See [`Candidate::before_rotation`].
    before_rotation: bool,
}

impl<'a> Survey<'a> {
    /// Looks through a traced graph.
    pub fn of(traced: &'a Traced) -> Survey<'a> {
        let web = Web::new(traced);
        let cells = cells::follow(&web);
        let costs: Vec<u64> = web.nodes.iter().map(|one| cost::macs(&web, one)).collect();
        let outputs: Vec<&str> = traced.graph().output.iter().map(|output| output.name()).collect();
        let macs = cost::macs_up_to(&web, &costs, &outputs);
        let heads = heads::find(&web, &cells, &outputs);
        let mut survey =
            Survey { web, cells, costs, outputs, macs, candidates: Vec::new(), heads, unplaced: Vec::new() };
        survey.look();
        survey
    }

    /// The class logits that are taken if no others are asked for.
    pub fn logits(&self) -> Option<&Logits> {
        heads::main(&self.heads).map(|head| &head.logits)
    }

    fn look(&mut self) {
        let norms = norms::find(&self.web);
        let attentions = attention::find(&self.web);
        // The stream is found with all of them, be their keys patches or not.
        let streams = stream::find(&self.web, &attentions, &norms);
        let all: Vec<usize> = attentions.iter().map(|one| one.node).collect();
        self.unplaced.extend(attention::not_understood(&self.web, &all));
        let none = attentions.is_empty();
        let mut candidates = Vec::new();
        let mut blocks: Vec<finals::Block> = Vec::new();
        let mut count = 0;
        for (at, (attention, stream)) in attentions.iter().zip(&streams).enumerate() {
            let factors = match self.factors(attention) {
                Ok(factors) => factors,
                Err(why) => {
                    self.unplaced.push(why);
                    continue;
                }
            };
            count += 1;
            for Factor { role, plan, heads, before_rotation } in factors {
                let by = if heads.is_some() { "layer before attention" } else { "what attention reads" };
                let plain = self.candidate(format!("{role}:{count}"), plan, by.to_owned());
                candidates.push(Candidate { heads, before_rotation, ..plain });
            }
            let same = |one: &&mut finals::Block| {
                stream.as_ref().is_some_and(|own| one.stream.is_some_and(|other| other.output == own.output))
            };
            match blocks.iter_mut().find(same) {
                Some(block) => block.attentions.push(at),
                None => {
                    blocks.push(finals::Block { attentions: vec![at], stream: stream.as_ref(), plan: None })
                }
            }
            let number = blocks.len();
            let Some(block) = blocks.last_mut().filter(|block| block.attentions == [at]) else { continue };
            let Some(stream) = stream else { continue };
            if let Some(why) = &stream.doubt {
                self.unplaced.push(format!("tokens:{number}: {why}"));
                continue;
            }
            block.plan = self.plan(&stream.output).ok();
            if let Some(plan) = &block.plan {
                let by =
                    if stream.next.is_some() { "next block adds to it" } else { "last sum of its block" };
                let by = if stream.normed { "norm that ends its block" } else { by };
                candidates.push(self.candidate(format!("tokens:{number}"), plan.clone(), by.to_owned()));
            }
        }
        let finals = self.final_norms(&norms, &blocks);
        candidates.extend(finals);
        let stages = stages::find(&self.web, &self.cells, none);
        for (n, stage) in stages.iter().enumerate() {
            if let Ok(plan) = self.plan(&stage.tensor) {
                let by = "last map of its stride".to_owned();
                candidates.push(self.candidate(format!("stage:{}", n + 1), plan, by));
            }
        }
        self.candidates = each_once(candidates);
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

    /// The factors of an attention, read where their layers made them.
    fn factors(&self, attention: &Attention) -> Result<Vec<Factor>, String> {
        let mut factors = Vec::new();
        match &attention.factors {
            Factors::Apart { query, key, value } => {
                for (role, operand) in [("query", query), ("key", key), ("value", value)] {
                    // Fused operators split into heads inside.
                    let one = &self.web.nodes[attention.node];
                    let own = if role == "query" { "q_num_heads" } else { "kv_num_heads" };
                    let inside = one.int("num_heads").or_else(|| one.int(own));
                    let inside = inside.and_then(|heads| usize::try_from(heads).ok());
                    match self.factor(role, operand) {
                        Ok(found) => factors.push(Factor { heads: inside.or(found.heads), ..found }),
                        Err(why) if role == "key" => return Err(why),
                        // Queries that are no patches ask about patches: the keys will do.
                        Err(_) => {}
                    }
                }
            }
            Factors::Inside(n) => {
                let one = &self.web.nodes[*n];
                let tensor = unfuse::joint(one.out(0));
                let plan = self.plan(&tensor)?;
                let heads = one.int("num_heads").and_then(|heads| usize::try_from(heads).ok());
                let widths = unfuse::widths(one, plan.width());
                let mut end = 0;
                for (role, width) in ["query", "key", "value"].into_iter().zip(widths) {
                    end += width;
                    let picks = (end - width..end).collect();
                    let plan = plan.clone().with_picks(picks);
                    let before_rotation = role != "value" && one.int("do_rotary").unwrap_or(0) != 0;
                    factors.push(Factor { role, plan, heads, before_rotation });
                }
            }
        }
        Ok(factors)
    }

    fn factor(&self, role: &'static str, operand: &Operand) -> Result<Factor, String> {
        match projection::find(&self.web, operand) {
            Ok(projection) => {
                let known = self
                    .cells
                    .get(&projection.tensor)
                    .ok_or_else(|| format!("{}: its rows are no parts of the picture", projection.tensor))?;
                let plan = Readout::plan(&projection.tensor, known, Some(projection.channel_axis))?;
                let plan = plan.with_picks(projection.channels);
                let (heads, before_rotation) = (Some(projection.heads), projection.rotated);
                Ok(Factor { role, plan, heads, before_rotation })
            }
            // Not from a layer: the factor itself.
            Err(why) => match self.plan(&operand.tensor) {
                Ok(plan) => Ok(Factor { role, plan, heads: None, before_rotation: false }),
                Err(_) => Err(why),
            },
        }
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

/// Names of one tensor are put together under the first of them.
fn each_once(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let mut kept: Vec<Candidate> = Vec::new();
    for one in candidates {
        match kept.iter_mut().find(|known| known.plan == one.plan) {
            Some(known) => known.also.push(one.selector),
            None => kept.push(one),
        }
    }
    kept
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
