//! Everything in a graph that can serve as features: queries, keys and values of each attention block,
//! block outputs, final norms, stages; and how to ask for one of them.

use std::collections::BTreeMap;

use super::attention::{self, Attention, Factors, Operand};
use super::cells::{self, CellMap};
use super::cost;
use super::logits::{self, Logits};
use super::projection;
use super::readout::Readout;
use super::stages;
use super::stream::{self, Stream};
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
    /// Multiply-accumulates of all outputs.
    pub macs: u64,
    /// All candidates, in the order of the graph.
    pub candidates: Vec<Candidate>,
    /// The class logits.
    pub logits: Option<Logits>,
    /// Attention blocks whose keys are no patches (between queries, or what could not be followed), each
    /// with the reason.
    pub unplaced: Vec<String>,
}

/// One attention block that looks at patches.
struct Block {
    attention: Attention,
    factors: Vec<Factor>,
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
        let logits = logits::find(&web, &cells, &outputs);
        let mut survey =
            Survey { web, cells, costs, macs, candidates: Vec::new(), logits, unplaced: Vec::new() };
        survey.look();
        survey
    }

    fn look(&mut self) {
        let mut blocks = Vec::new();
        for attention in attention::find(&self.web) {
            match self.block(attention) {
                Ok(block) => blocks.push(block),
                Err(why) => self.unplaced.push(why),
            }
        }
        let norms = stream::norms(&self.web);
        let attentions: Vec<Attention> = blocks.iter().map(|block| block.attention.clone()).collect();
        let streams = stream::find(&self.web, &attentions, &norms);
        let mut candidates = Vec::new();
        let mut outputs = Vec::new();
        for (n, (block, stream)) in blocks.into_iter().zip(&streams).enumerate() {
            for Factor { role, plan, heads, before_rotation } in block.factors {
                let plain = self.candidate(format!("{role}:{}", n + 1), plan);
                candidates.push(Candidate { heads, before_rotation, ..plain });
            }
            let plan = stream.as_ref().and_then(|stream| self.plan(&stream.output).ok());
            if let Some(plan) = &plan {
                candidates.push(self.candidate(format!("tokens:{}", n + 1), plan.clone()));
            }
            outputs.push(plan);
        }
        let norms = self.final_norms(&norms, &streams, &outputs);
        candidates.extend(norms);
        let stages = stages::find(&self.web, &self.cells, attentions.is_empty());
        for (n, stage) in stages.iter().enumerate() {
            if let Ok(plan) = self.plan(&stage.tensor) {
                candidates.push(self.candidate(format!("stage:{}", n + 1), plan));
            }
        }
        self.candidates = candidates;
    }

    fn candidate(&self, selector: String, plan: Readout) -> Candidate {
        let macs = cost::macs_up_to(&self.web, &self.costs, &[&plan.tensor]);
        Candidate { selector, plan, heads: None, before_rotation: false, macs }
    }

    fn plan(&self, tensor: &str) -> Result<Readout, String> {
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
    fn block(&self, attention: Attention) -> Result<Block, String> {
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
                let width = plan.width() / 3;
                let heads = one.int("num_heads").and_then(|heads| usize::try_from(heads).ok());
                for (at, role) in ["query", "key", "value"].into_iter().enumerate() {
                    let picks = (at * width..(at + 1) * width).collect();
                    let plan = plan.clone().with_picks(picks);
                    let before_rotation = role != "value" && one.int("do_rotary").unwrap_or(0) != 0;
                    factors.push(Factor { role, plan, heads, before_rotation });
                }
            }
        }
        Ok(Block { attention, factors })
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

    /// Norms over the output of the last block of each stack of blocks. `norm` is that of the backbone:
    /// of the last stack before one that does not lie on a coarser grid, which belongs to a decoder.
    fn final_norms(
        &self,
        norms: &std::collections::HashMap<&str, Vec<&str>>,
        streams: &[Option<Stream>],
        outputs: &[Option<Readout>],
    ) -> Vec<Candidate> {
        let mut ends = Vec::new();
        for (n, stream) in streams.iter().enumerate() {
            let Some(stream) = stream else { continue };
            let own = stream::original(&self.web, &stream.output);
            let next = streams.get(n + 1).and_then(Option::as_ref);
            let goes_on = next.is_some_and(|next| stream::original(&self.web, &next.before) == own);
            if !goes_on {
                ends.push((n, own));
            }
        }
        let mut found = Vec::new();
        let mut backbone = true;
        let mut finest = usize::MAX;
        let mut last_norm: Option<Candidate> = None;
        for (n, own) in ends {
            let cells = outputs.get(n).and_then(Option::as_ref).map_or(0, |plan| plan.grid.len());
            backbone = backbone && cells < finest;
            finest = finest.min(cells);
            let mut after: Vec<&str> = norms
                .iter()
                .filter(|(from, _)| stream::original(&self.web, from) == own)
                .flat_map(|(_, to)| to.iter().copied())
                .collect();
            after.sort_by_key(|name| self.web.maker(name));
            let Some(plan) = after.iter().rev().find_map(|name| self.plan(name).ok()) else { continue };
            let candidate = self.candidate(format!("norm:{}", n + 1), plan);
            if backbone {
                last_norm = Some(Candidate { selector: "norm".to_owned(), ..candidate.clone() });
            }
            found.push(candidate);
        }
        if found.len() == 1 {
            found.clear();
        }
        last_norm.into_iter().chain(found).collect()
    }

    /// The candidate that `selector` names.
    ///
    /// # Errors
    /// What there is instead, or why the tensor of that name will not do.
    pub fn select(&self, selector: &str) -> Result<Candidate, String> {
        if let Some(found) = self.candidates.iter().find(|one| one.selector == selector) {
            return Ok(found.clone());
        }
        if self.web.shape(selector).is_some() {
            let plan = self.plan(selector)?;
            return Ok(self.candidate(selector.to_owned(), plan));
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
        for (at, one) in self.candidates.iter().enumerate() {
            let (role, number) = match one.selector.split_once(':') {
                Some((role, number)) => (role, number.parse::<usize>().ok()),
                None => (one.selector.as_str(), None),
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
