//! What a node costs: multiply-accumulate operations of convolutions and matrix products.

use std::collections::HashMap;

use super::onnx::NodeProto;
use super::web::Web;

/// Multiply-accumulates of one node for one picture; 0 for operators that only add, compare or move.
pub fn macs(web: &Web, one: &NodeProto) -> u64 {
    count(web, one).unwrap_or(0)
}

/// Multiply-accumulates of all nodes that `names` need.
pub fn macs_up_to(web: &Web, costs: &[u64], names: &[&str]) -> u64 {
    web.needed(names).iter().zip(costs).filter(|(needed, _)| **needed).map(|(_, cost)| cost).sum()
}

fn product(dims: &[usize]) -> u64 {
    dims.iter().map(|&dim| dim as u64).product()
}

fn count(web: &Web, one: &NodeProto) -> Option<u64> {
    let out = web.shape(one.out(0))?;
    let dims = |n: usize| web.dims(one.arg(n)?);
    Some(match one.op_type() {
        "Conv" | "FusedConv" | "ConvInteger" => product(out) * product(dims(1)?.get(1..)?),
        "QLinearConv" => product(out) * product(dims(3)?.get(1..)?),
        "ConvTranspose" => product(&dims(0)?) * product(dims(1)?.get(1..)?),
        "MatMul" | "FusedMatMul" | "MatMulInteger" => {
            let left = dims(0)?;
            let turned = one.int("transA").unwrap_or(0) != 0;
            let inner = if turned { left.get(left.len().checked_sub(2)?)? } else { left.last()? };
            product(out) * *inner as u64
        }
        "MatMulNBits" | "DynamicQuantizeMatMul" | "MatMulIntegerToFloat" => {
            product(out) * *dims(0)?.last()? as u64
        }
        "QLinearMatMul" => product(out) * *dims(0)?.last()? as u64,
        "Gemm" => {
            let left = dims(0)?;
            let inner = if one.int("transA").unwrap_or(0) != 0 { left.first()? } else { left.last()? };
            product(out) * *inner as u64
        }
        "Einsum" => einsum(web, one)?,
        "MultiHeadAttention" | "Attention" => attention(web, one)?,
        _ => 0,
    })
}

/// Every combination of the letters once.
fn einsum(web: &Web, one: &NodeProto) -> Option<u64> {
    let equation = one.text("equation")?;
    let inputs = equation.split("->").next()?;
    let mut sides: HashMap<char, usize> = HashMap::new();
    for (name, term) in one.input.iter().zip(inputs.split(',')) {
        let dims = web.dims(name)?;
        for (letter, dim) in term.chars().filter(|c| !c.is_whitespace()).zip(dims) {
            sides.insert(letter, dim);
        }
    }
    Some(sides.values().map(|&side| side as u64).product())
}

/// Fused attention: both products, and the projection where it is part of the operator.
fn attention(web: &Web, one: &NodeProto) -> Option<u64> {
    let query = web.dims(one.arg(0)?)?;
    let rows = |dims: &[usize]| dims.get(dims.len().checked_sub(2)?).map(|&n| n as u64);
    let own = one.domain() == "com.microsoft" && one.op_type() == "Attention";
    if own {
        let weight = web.dims(one.arg(1)?)?;
        let projection = rows(&query)? * product(&weight);
        let width = *weight.last()? as u64 / 3;
        return Some(projection + 2 * rows(&query)? * rows(&query)? * width);
    }
    let key = web.dims(one.arg(1)?)?;
    // [batch, rows, width] or [batch, heads, rows, width of a head].
    Some(2 * product(&query) * rows(&key)?)
}
