//! Layer norms and root-mean-square norms, as operators of their own or written out in simple steps.

use std::collections::HashMap;

use super::onnx::NodeProto;
use super::web::Web;

/// Normalised tensors, gain and offset included, by what they normalise.
pub type Norms<'a> = HashMap<&'a str, Vec<&'a str>>;

/// All norms of a graph.
pub fn find<'a>(web: &Web<'a>) -> Norms<'a> {
    let mut norms = Norms::new();
    for one in web.nodes {
        let first = one.output.first().map(String::as_str);
        let found = match one.op_type() {
            "LayerNormalization" | "RMSNormalization" | "SimplifiedLayerNormalization" => {
                one.arg(0).zip(first.map(|to| vec![to]))
            }
            // Sum and norm in one; where the file leaves the sum out, `unfuse` names it.
            "SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" => {
                Some(one.out(3)).filter(|sum| !sum.is_empty()).zip(first.map(|to| vec![to]))
            }
            "Div" => of_quotient(web, one).or_else(|| of_root_mean_square(web, one)),
            "Mul" => of_root_mean_square(web, one),
            _ => None,
        };
        if let Some((from, to)) = found {
            norms.entry(from).or_default().extend(to);
        }
    }
    norms
}

/// The node that makes `name`, casts between number formats left out.
fn made<'a>(web: &Web<'a>, name: &str) -> Option<&'a NodeProto> {
    let mut one = web.making(name)?;
    while one.op_type() == "Cast" {
        one = web.making(one.arg(0)?)?;
    }
    Some(one)
}

/// The tensor behind casts.
fn uncast<'a>(web: &Web<'a>, name: &'a str) -> &'a str {
    let mut name = name;
    while let Some(one) = web.making(name).filter(|one| one.op_type() == "Cast")
        && let Some(from) = one.arg(0)
    {
        name = from;
    }
    name
}

/// The variance (or mean square) under a root: `sqrt(v + eps)`, or `sqrt(v)`.
fn under_root<'a>(web: &Web<'a>, root: &'a NodeProto) -> Option<&'a NodeProto> {
    let root = Some(root).filter(|one| one.op_type() == "Sqrt")?;
    let inside = made(web, root.arg(0)?)?;
    let mean = match inside.op_type() {
        "Add" => made(web, web.changing(inside).first()?)?,
        _ => inside,
    };
    Some(mean).filter(|one| one.op_type() == "ReduceMean")
}

/// `(x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps)`.
fn of_quotient<'a>(web: &Web<'a>, quotient: &'a NodeProto) -> Option<(&'a str, Vec<&'a str>)> {
    let difference = made(web, quotient.arg(0)?).filter(|one| one.op_type() == "Sub")?;
    under_root(web, made(web, quotient.arg(1)?)?)?;
    let (from, mean) = (difference.arg(0)?, difference.arg(1)?);
    let mean = made(web, mean).filter(|one| one.op_type() == "ReduceMean")?;
    let same = mean.arg(0).map(|name| uncast(web, name)) == Some(uncast(web, from));
    same.then(|| (uncast(web, from), scaled(web, quotient.out(0))))
}

/// `x / sqrt(mean(x^2) + eps)`, or `x` times the reciprocal of that root.
fn of_root_mean_square<'a>(web: &Web<'a>, one: &'a NodeProto) -> Option<(&'a str, Vec<&'a str>)> {
    let (a, b) = (one.arg(0)?, one.arg(1)?);
    let orders = if one.op_type() == "Div" { vec![(a, b)] } else { vec![(a, b), (b, a)] };
    orders.into_iter().find_map(|(from, root)| {
        let root = match (one.op_type(), made(web, root)?) {
            ("Mul", inverse) if inverse.op_type() == "Reciprocal" => made(web, inverse.arg(0)?)?,
            ("Mul", inverse) if inverse.op_type() == "Div" => made(web, inverse.arg(1)?)?,
            ("Mul", _) => return None,
            (_, root) => root,
        };
        let square = made(web, under_root(web, root)?.arg(0)?)?;
        let squared = match square.op_type() {
            "Pow" => true,
            "Mul" => square.arg(0) == square.arg(1),
            _ => false,
        };
        let same = squared && square.arg(0).map(|name| uncast(web, name)) == Some(uncast(web, from));
        same.then(|| (uncast(web, from), scaled(web, one.out(0))))
    })
}

/// What `name` is behind gain and offset, where they follow: once for each gain, for norms that differ in nothing else
/// may share the rest.
fn scaled<'a>(web: &Web<'a>, name: &'a str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut open = vec![name];
    while let Some(at) = open.pop() {
        for &n in web.readers(at) {
            let one = &web.nodes[n];
            let alone = web.changing(one).len() == 1;
            match one.op_type() {
                "Cast" => open.push(one.out(0)),
                "Mul" if alone => found.push(shifted(web, one.out(0))),
                "Add" if alone => found.push(one.out(0)),
                _ => found.push(name),
            }
        }
    }
    found.sort_by_key(|name| web.maker(name));
    found.dedup();
    if found.is_empty() { vec![name] } else { found }
}

/// What `name` is behind an offset, where one follows.
fn shifted<'a>(web: &Web<'a>, name: &'a str) -> &'a str {
    let mut at = name;
    while let &[n] = web.readers(at)
        && web.nodes[n].op_type() == "Cast"
    {
        at = web.nodes[n].out(0);
    }
    match web.readers(at) {
        &[n] if web.nodes[n].op_type() == "Add" && web.changing(&web.nodes[n]).len() == 1 => {
            web.nodes[n].out(0)
        }
        _ => name,
    }
}
