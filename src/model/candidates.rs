//! Looking through a graph for everything that can serve as features.

use super::attention::{self, Attention, Factors, Operand};
use super::cells;
use super::cost;
use super::finals;
use super::heads;
use super::norms;
use super::projection;
use super::readout::Readout;
use super::stages;
use super::stream;
use super::survey::{Candidate, Survey};
use super::trace::Traced;
use super::unfuse;
use super::web::Web;

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
