//! The norms over what stacks of blocks put out: which of them is the last of the backbone.

use super::norms::Norms;
use super::readout::Readout;
use super::stream::Stream;
use super::sums::{self, Selves};
use super::survey::{Candidate, Survey};

/// A block of a transformer with all its parallel attentions.
#[derive(Debug)]
pub struct Block<'s> {
    /// Numbers of its attentions.
    pub attentions: Vec<usize>,
    /// What they do to the stream.
    pub stream: Option<&'s Stream>,
    /// How its output is read, if that is known.
    pub plan: Option<Readout>,
}

impl<'a> Survey<'a> {
    /// Norms over the output of the last block of each stack of blocks. `norm` is that of the backbone: of the last
    /// stack before one that does not lie on a coarser grid, which belongs to a decoder.
    pub(super) fn final_norms(&mut self, norms: &Norms<'a>, blocks: &[Block]) -> Vec<Candidate> {
        let mut found = Vec::new();
        let mut backbone = true;
        let mut finest = usize::MAX;
        let mut last: Option<Candidate> = None;
        for (n, block) in blocks.iter().enumerate() {
            let Some(stream) = block.stream.filter(|stream| stream.next.is_none()) else { continue };
            // Queries of a decoder are no patches, and their norm is no feature.
            let cells = match (&block.plan, &stream.doubt) {
                (Some(plan), _) => plan.grid.len(),
                (None, Some(why)) => {
                    self.unplaced
                        .push(format!("{}: {why}", if backbone { "norm" } else { "norm of a decoder" }));
                    continue;
                }
                (None, None) => continue,
            };
            backbone = backbone && cells < finest;
            finest = finest.min(cells);
            let selector = format!("norm:{}", n + 1);
            match self.final_norm(norms, stream, block.plan.as_ref()) {
                Ok(Some((plan, found_by))) => {
                    let candidate = self.candidate(selector, plan, found_by);
                    if backbone {
                        last = Some(Candidate { selector: "norm".to_owned(), ..candidate.clone() });
                    }
                    found.push(candidate);
                }
                Ok(None) => {}
                Err(why) => {
                    self.unplaced.push(format!("{}: {why}", if backbone { "norm" } else { &selector }))
                }
            }
        }
        if found.len() == 1 {
            found.clear();
        }
        last.into_iter().chain(found).collect()
    }

    /// The norm over the output of a stack's last block, and what it was found by.
    ///
    /// # Errors
    /// If the stream goes on behind the block, so that this is a norm inside of another block.
    fn final_norm(
        &self,
        norms: &Norms<'a>,
        stream: &Stream,
        own: Option<&Readout>,
    ) -> Result<Option<(Readout, String)>, String> {
        let web = &self.web;
        let Some(output) = web.maker(&stream.output).and_then(|n| {
            web.nodes[n].output.iter().find(|name| **name == stream.output).map(String::as_str)
        }) else {
            return Ok(None);
        };
        let mut after: Vec<&str> = Selves::of(web, norms, output).norms().to_vec();
        if let Some(more) = &stream.more {
            let inner = web.needed(&[more]);
            let before = after.len();
            after.retain(|name| web.maker(name).is_none_or(|n| !inner[n]));
            if after.is_empty() && before > 0 {
                return Err(format!(
                    "the stream goes on behind the last attention that was found: {more} adds to {output}"
                ));
            }
        }
        // Of several, that which is given out, or which most outputs of the file are made from.
        let outputs: Vec<&str> = self.outputs.clone();
        let read = |name: &str| {
            let from_it = web.depending(name);
            outputs
                .iter()
                .filter(|output| **output == name || web.maker(output).is_some_and(|n| from_it[n]))
                .count()
        };
        let given = |name: &str| outputs.iter().any(|output| sums::original(web, output) == name);
        after.sort_by_key(|name| std::cmp::Reverse((given(name), read(name), web.maker(name))));
        let found = after.iter().find_map(|name| Some((*name, self.plan(name).ok()?)));
        Ok(match found {
            Some((name, plan)) => {
                let by = match read(name) {
                    0 => "norm of the last block",
                    _ => "norm of the last block, the outputs read it",
                };
                Some((plan, by.to_owned()))
            }
            None => own
                .filter(|_| stream.normed)
                .cloned()
                .map(|plan| (plan, "norm that ends the last block".to_owned())),
        })
    }
}
