//! The residual stream of a transformer: the tensors that a block reads, adds to and puts out, found from both
//! ends: forwards from the sum in which attention joins the stream, and backwards from what the next block adds to.

use super::attention::{Attention, Factors};
use super::norms::Norms;
use super::sums::{self, Selves, sum_of};
use super::web::Web;

/// More nodes than these lie between no attention and the sum it goes into.
const FARTHEST: usize = 160;
/// Steps of a block where no other block tells: attention, then an MLP.
const USUAL_STEPS: usize = 2;

/// What one attention does to the stream. A block adds to it in steps (attention, MLP); what is added in one step
/// reads the stream before that step, be it one branch or several in parallel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The sum in which attention joins the stream.
    pub joined: String,
    /// The stream before the block.
    pub before: String,
    /// The stream behind the block: behind its last step, and behind the norm over that if blocks end in one.
    pub output: String,
    /// True if the output is the norm over the last sum.
    pub normed: bool,
    /// The attention of the next block of the same stack, by its place in the list.
    pub next: Option<usize>,
    /// Where the stream goes on behind the last block that was found: the sum that something is added in.
    pub more: Option<String>,
    /// Why `output` cannot be trusted, if it cannot.
    pub doubt: Option<String>,
}

/// The sum in which an attention joins the stream.
#[derive(Debug, Clone, Copy)]
struct Joint<'a> {
    joined: &'a str,
    before: &'a str,
}

/// A way along the stream from a joint on.
#[derive(Default)]
struct Way<'a> {
    at: &'a str,
    steps: usize,
    /// Steps read the stream behind a norm over the sum before them.
    normed: bool,
    more: Option<&'a str>,
    /// A softmax or the like in what comes next that is no attention that was understood.
    unknown: Option<&'a str>,
    /// What comes next is no part of a block.
    other: bool,
}

struct Streams<'w, 'a> {
    web: &'w Web<'a>,
    norms: &'w Norms<'a>,
    /// What a norm normalises, by its result.
    normed: std::collections::HashMap<&'a str, &'a str>,
    attentions: &'w [Attention],
    /// Nodes that depend on each attention.
    after: Vec<Vec<bool>>,
}

/// The streams of `attentions`, which are all that the graph has; `None` where one joins none.
pub fn find<'a>(web: &Web<'a>, attentions: &[Attention], norms: &Norms<'a>) -> Vec<Option<Stream>> {
    let normed = norms.iter().flat_map(|(&from, to)| to.iter().map(move |&to| (to, from))).collect();
    let after = attentions.iter().map(|one| web.depending(&one.output)).collect();
    let all = Streams { web, norms, normed, attentions, after };
    let joints: Vec<Option<Joint>> = (0..attentions.len()).map(|a| all.joint(a)).collect();
    let next: Vec<Option<usize>> = (0..attentions.len())
        .map(|a| all.next(a, &joints).filter(|&b| all.one_stack(a, b, &joints)))
        .collect();
    // Blocks with a next one tell how many steps the last one of their stack has.
    let steps: Vec<Option<usize>> = (0..attentions.len())
        .map(|a| Some(all.follow(a, joints[a]?, joints[next[a]?], usize::MAX).steps))
        .collect();
    (0..attentions.len())
        .map(|a| {
            let joint = joints[a]?;
            let usual = match next[a] {
                Some(_) => usize::MAX,
                None => usual_steps(a, &next, &steps),
            };
            Some(all.stream(a, joint, &joints, next[a], usual))
        })
        .collect()
}

/// The most steps of the blocks before `last` in its stack; if it has none, of all blocks.
fn usual_steps(last: usize, next: &[Option<usize>], steps: &[Option<usize>]) -> usize {
    let mut own = vec![last];
    while let Some(before) =
        (0..next.len()).find(|a| next[*a].is_some_and(|n| own.contains(&n)) && !own.contains(a))
    {
        own.push(before);
    }
    let most = own.iter().filter_map(|&a| steps[a]).max();
    most.or_else(|| steps.iter().flatten().copied().max()).unwrap_or(USUAL_STEPS)
}

impl<'a> Streams<'_, 'a> {
    /// The first sum of what attention makes of the stream with the stream itself.
    fn joint(&self, a: usize) -> Option<Joint<'a>> {
        let web = self.web;
        let one = &self.attentions[a];
        let query = match &one.factors {
            Factors::Apart { query, .. } => query.tensor.as_str(),
            Factors::Inside(n) => web.nodes[*n].arg(0)?,
        };
        let passed: std::collections::HashSet<&str> = web.passed(query).into_iter().collect();
        let needed = web.needed(&[&one.output]);
        // All ways to the queries go through the stream. Of two streams that attend to each other, one needs the other.
        self.joint_with(a, &|name| passed.contains(name))
            .or_else(|| self.joint_with(a, &|name| web.maker(name).is_some_and(|n| needed[n])))
    }

    fn joint_with(&self, a: usize, is_stream: &dyn Fn(&str) -> bool) -> Option<Joint<'a>> {
        let (web, one) = (self.web, &self.attentions[a]);
        let own = &self.after[a];
        let later: Vec<usize> =
            (0..self.attentions.len()).filter(|&c| c != a && own[self.attentions[c].node]).collect();
        let from = web.maker(&one.output)?;
        let ours = (from + 1..web.nodes.len()).filter(|&n| own[n]).take(FARTHEST);
        for n in ours.filter(|&n| !later.iter().any(|&c| self.after[c][n])) {
            let Some(sum) = sum_of(web, n) else { continue };
            let inside = |name: &&str| **name == *one.output || web.maker(name).is_some_and(|n| own[n]);
            if !sum.addends.iter().any(inside) {
                continue;
            }
            let others = sum.addends.iter().filter(|name| !inside(name)).copied();
            let before = others.filter_map(|name| sums::source(web, name, None, is_stream));
            if let Some(before) = before.max_by_key(|name| web.maker(name)) {
                return Some(Joint { joined: sum.sum, before });
            }
        }
        None
    }

    /// The attention that adds to the stream next: the first that depends on the sum in which `a` joined and adds
    /// to what that sum leads to by sums and norms alone.
    fn next(&self, a: usize, joints: &[Option<Joint<'a>>]) -> Option<usize> {
        let joint = joints[a]?;
        let after = self.web.depending(joint.joined);
        (0..self.attentions.len()).find(|&b| {
            let before = joints[b].map(|other| other.before);
            let leads =
                |before| sums::source(self.web, before, Some(&self.normed), &|name| name == joint.joined);
            b != a && after[self.attentions[b].node] && before.and_then(leads).is_some()
        })
    }

    /// False if blocks that norm at their beginning end before `b`: it adds to their last norm, so it is another stack's.
    fn one_stack(&self, a: usize, b: usize, joints: &[Option<Joint<'a>>]) -> bool {
        let (Some(joint), Some(next)) = (joints[a], joints[b]) else { return false };
        let way = self.follow(a, joint, Some(next), usize::MAX);
        let normed = || Selves::of(self.web, self.norms, way.at).norm_behind(self.web, next.before);
        way.steps < 2 || way.normed || normed().is_none()
    }

    /// Follows the stream behind a joint for at most `most` steps, and no further than to what the next one adds to.
    fn follow(&self, a: usize, joint: Joint<'a>, next: Option<Joint<'a>>, most: usize) -> Way<'a> {
        let web = self.web;
        let (behind, sequel) = (web.depending(joint.before), web.depending(joint.joined));
        let within = next.map(|next| web.needed(&[next.before]));
        let mut way = Way { at: joint.joined, steps: 1, ..Way::default() };
        // What depends on the first sum of the present step belongs to another step.
        let mut first = sequel.clone();
        loop {
            let selves = Selves::of(web, self.norms, way.at);
            let found = selves.readers(web).into_iter().find_map(|n| {
                let sum = sum_of(web, n).filter(|_| within.as_ref().is_none_or(|within| within[n]))?;
                let others: Vec<&str> =
                    sum.addends.iter().copied().filter(|name| !selves.has(name)).collect();
                let belongs = |name: &&str| web.maker(name).is_some_and(|n| behind[n]);
                if others.len() == sum.addends.len() || others.is_empty() || !others.iter().all(belongs) {
                    return None;
                }
                let needed = web.needed(&others);
                let attends = |(c, one): (usize, &Attention)| c != a && needed[one.node] && sequel[one.node];
                (!self.attentions.iter().enumerate().any(attends)).then_some((sum, others, needed))
            });
            let Some((sum, others, needed)) = found else { break };
            let new = others.iter().any(|name| web.maker(name).is_some_and(|n| first[n]));
            if new {
                if way.steps == most {
                    way.more = Some(sum.sum);
                    break;
                }
                let branch = || (0..web.nodes.len()).filter(|&n| needed[n] && first[n]);
                let known = |n: &usize| self.attentions.iter().any(|one| one.node == *n);
                let unknown = branch().find(|n| !known(n) && sums::attends(&web.nodes[*n]));
                if let Some(unknown) = unknown {
                    (way.unknown, way.more) = (Some(web.nodes[unknown].out(0)), Some(sum.sum));
                    break;
                }
                // Positions told by a depth-wise convolution between two blocks are of neither.
                way.other = !branch().any(|n| sums::is_layer(web, &web.nodes[n]));
                if way.other {
                    break;
                }
                way.steps += 1;
                first = web.depending(sum.sum);
            }
            way.normed = way.normed || sum.addends.iter().any(|name| selves.is_normed(name));
            way.at = sum.sum;
        }
        way
    }

    fn stream(
        &self,
        a: usize,
        joint: Joint<'a>,
        joints: &[Option<Joint<'a>>],
        next: Option<usize>,
        most: usize,
    ) -> Stream {
        let to = next.and_then(|b| joints[b]);
        let way = self.follow(a, joint, to, most);
        let selves = Selves::of(self.web, self.norms, way.at);
        let mut doubt = way.unknown.map(|name| {
            format!("the stream goes on through {name}, which looks like an attention and is not understood")
        });
        let mut output = way.at;
        // From the other end: what the next block adds to.
        if let Some(next) = to
            && !way.other
        {
            if let Some(norm) = selves.norm_behind(self.web, next.before) {
                output = norm;
            } else if !selves.has(next.before) && doubt.is_none() {
                doubt = Some(format!(
                    "by the sums behind attention it is {}, but the next block adds to {}",
                    way.at, next.before
                ));
            }
        } else if way.normed || way.steps == 1 && way.more.is_none() && self.is_normed(joint.before) {
            output = selves.norms().first().copied().unwrap_or(output);
        }
        Stream {
            joined: joint.joined.to_owned(),
            before: joint.before.to_owned(),
            normed: output != way.at,
            output: output.to_owned(),
            next,
            more: way.more.filter(|_| next.is_none()).map(str::to_owned),
            doubt,
        }
    }

    /// True if `name` is the result of a norm over a sum that attention joined in, as between blocks that end in norms.
    fn is_normed(&self, name: &'a str) -> bool {
        let from = self.normed.get(sums::original(self.web, name));
        from.is_some_and(|from| {
            let made = self.web.maker(from);
            made.is_some_and(|n| sum_of(self.web, n).is_some() && self.after.iter().any(|after| after[n]))
        })
    }
}
