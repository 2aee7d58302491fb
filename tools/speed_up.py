#!/usr/bin/env python3
"""Writes a vision transformer (ONNX) so that ONNX Runtime's CPU kernels take it faster.

    tools/speed_up.py dinov2-s.onnx -o dinov2-s-fast.onnx                 # the same numbers
    tools/speed_up.py dinov2-s.onnx -o dinov2-s-int8.onnx --integers      # products with weights in 8-bit integers

The input is what `tools/join_features.py` or `farout model prepare` writes; inputs, outputs and metadata stay. Without --integers
it is the same function: attention becomes one operator (com.microsoft MultiHeadAttention), layer scales go into the weights before
them, and the position embedding is resized by two small products instead of ONNX Runtime's Resize, which takes an eighth
of the time where the input has no fixed size. With --integers, weights have 7 bits, so that products of bytes do not
saturate on x86 processors without VNNI, and activations are scaled when they are known (DynamicQuantizeLinear).
Old and new graph are compared on noise before the file is written. A bank must be built with the file that it is used with.
"""

import argparse
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

# Smaller products gain nothing in integers.
LEAST = 64
# 255 * 63 * 2 is less than 2^15: what VNNI-less x86 processors add in 16 bits.
LARGEST = 63
# What the CPU gave for a known picture, from the file before.
GOLDEN = "farout.golden"
# Relative L2 difference that is rounding.
SAME = 1e-4


def read_by(node):
    """Names of the tensors that a node reads, also inside the graphs of its branches."""
    inner = [one.g.node for one in node.attribute if one.type == onnx.AttributeProto.GRAPH]
    return {*node.input, *(name for nodes in inner for one in nodes for name in read_by(one))}


class Graph:
    """The nodes of a model, to be looked up by what they give and taken over one by one."""

    def __init__(self, model):
        self.graph = model.graph
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self.made = 0
        self.index()

    def index(self):
        self.maker = {output: node for node in self.graph.node for output in node.output}
        self.readers = {}
        for node in self.graph.node:
            for name in read_by(node):
                self.readers.setdefault(name, []).append(node)
        self.given = {output.name for output in self.graph.output}

    def constant(self, name):
        """The constant tensor called `name`, or None."""
        node = self.maker.get(name)
        if node is not None and node.op_type == "Constant" and node.attribute[0].name == "value":
            return numpy_helper.to_array(node.attribute[0].t)
        if node is not None and node.op_type == "Identity":
            return self.constant(node.input[0])
        return numpy_helper.to_array(self.constants[name]) if name in self.constants else None

    def by(self, name, *kinds):
        """The node of one of these kinds that gives `name`, or None."""
        node = self.maker.get(name)
        return node if node is not None and node.op_type in kinds else None

    def split(self, node):
        """The constant input of a node of two inputs, and the name of the other; None where there is no constant."""
        for constant, other in ((0, 1), (1, 0)):
            values = self.constant(node.input[constant])
            if values is not None:
                return values, node.input[other]
        return None

    def alone(self, name):
        """True if one node reads `name`, and nobody outside."""
        return len(self.readers.get(name, [])) == 1 and name not in self.given

    def readers_of_values(self, name):
        """The nodes that read more of `name` than its shape."""
        return [node for node in self.readers.get(name, []) if node.op_type != "Shape"]

    def fresh(self):
        """A name that is not taken."""
        self.made += 1
        name = f"speed_up_{self.made}"
        return self.fresh() if name in self.maker or name in self.constants else name

    def keep(self, values):
        """A new constant; its name."""
        name = self.fresh()
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        self.constants[name] = self.graph.initializer[-1]
        return name

    def node(self, kind, inputs, output=None, **attributes):
        output = output or self.fresh()
        return helper.make_node(kind, inputs, [output], name=f"speed_up/{output}", **attributes)

    def replace(self, instead):
        """Puts lists of nodes in the places of nodes (by id), and drops what nobody reads any more."""
        nodes = [one for node in self.graph.node for one in instead.get(id(node), [node])]
        wanted, kept = set(self.given), []
        for node in reversed(nodes):
            if any(output in wanted for output in node.output):
                kept.append(node)
                wanted.update(read_by(node))
        constants = [tensor for tensor in self.graph.initializer if tensor.name in wanted]
        del self.graph.node[:], self.graph.initializer[:], self.graph.value_info[:]
        self.graph.node.extend(reversed(kept))
        self.graph.initializer.extend(constants)
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self.index()
        return len(instead)


def fold_scales(graph):
    """(x W + b) * c with constants W, b and c: c goes into W and b."""
    instead = {}
    for node in graph.graph.node:
        scale = graph.split(node) if node.op_type == "Mul" else None
        add = graph.by(scale[1], "Add") if scale and scale[0].ndim == 1 and graph.alone(scale[1]) else None
        bias = graph.split(add) if add else None
        product = graph.by(bias[1], "MatMul") if bias and graph.alone(bias[1]) else None
        weights = graph.constant(product.input[1]) if product else None
        if weights is None or weights.ndim != 2 or weights.shape[1] != scale[0].size:
            continue
        made = graph.node("MatMul", [product.input[0], graph.keep(weights * scale[0])])
        instead[id(node)] = [made, graph.node("Add", [made.output[0], graph.keep(bias[0] * scale[0])], node.output[0])]
    return graph.replace(instead)


def scaled(graph, name):
    """What is below products and quotients with single constants, and their product."""
    factor = 1.0
    while (node := graph.by(name, "Mul", "Div")) is not None:
        values = graph.constant(node.input[1]) if node.op_type == "Div" else (graph.split(node) or [None])[0]
        if values is None or values.size != 1:
            break
        factor = factor / float(values.item()) if node.op_type == "Div" else factor * float(values.item())
        name = node.input[0] if node.op_type == "Div" else graph.split(node)[1]
    return name, factor


def heads_of(graph, name, *orders):
    """The joined heads `[B, N, C]` below Transposes that together have one of these orders, and how many heads there are."""
    order = [0, 1, 2, 3]
    while (node := graph.by(name, "Transpose")) is not None:
        turn = list(helper.get_node_attr_value(node, "perm"))
        order, name = [turn[axis] for axis in order], node.input[0]
    node = graph.by(name, "Reshape")
    if node is None or order not in orders:
        return None
    shape = graph.constant(node.input[1])
    if shape is None:
        parts = graph.by(node.input[1], "Concat")
        last = [graph.constant(part) for part in parts.input[-2:]] if parts is not None and len(parts.input) == 4 else [None]
        shape = None if any(part is None for part in last) else np.concatenate([[0, 0], *last])
    if shape is None or shape.size != 4:
        return None
    heads = int(shape[2])
    if heads < 0:
        # As many as the width has room for, which the bias before tells.
        add = graph.by(node.input[0], "Add")
        bias = graph.split(add) if add else None
        heads = bias[0].size // int(shape[3]) if bias else 0
    return (node.input[0], heads) if heads > 0 else None


def fuse_attention(graph):
    """softmax(q k^T * scale) v with its heads apart: one operator."""
    instead = {}
    for node in graph.graph.node:
        if node.op_type != "Softmax" or not graph.alone(node.output[0]):
            continue
        name, scale = scaled(graph, node.input[0])
        scores, product = graph.by(name, "MatMul"), graph.readers[node.output[0]][0]
        if scores is None or product.op_type != "MatMul" or product.input[0] != node.output[0]:
            continue
        (query, by), (key, by_too) = scaled(graph, scores.input[0]), scaled(graph, scores.input[1])
        # The keys' last two axes are exchanged for the product; scales may lie between the exchanges.
        turned = graph.by(key, "Transpose")
        found = [heads_of(graph, query, [0, 2, 1, 3]), None, heads_of(graph, product.input[1], [0, 2, 1, 3])]
        if turned is not None:
            found[1] = heads_of(graph, key, [0, 2, 3, 1])
        joined, back = graph.readers_of_values(product.output[0]), None
        if len(joined) == 1 and joined[0].op_type == "Reshape":
            # Some exporters join batch and heads and part them again; whether it was that, the comparison tells.
            joined = graph.readers_of_values(joined[0].output[0])
        if len(joined) == 1 and joined[0].op_type == "Transpose":
            back = graph.readers_of_values(joined[0].output[0])
        if None in found or len({heads for _, heads in found}) != 1 or not back or [one.op_type for one in back] != ["Reshape"]:
            continue
        whole = graph.node("MultiHeadAttention", [tensor for tensor, _ in found], back[0].output[0], domain="com.microsoft",
                           num_heads=found[0][1], scale=scale * by * by_too)  # fmt: skip
        instead[id(back[0])] = [whole]
    return graph.replace(instead)


def cubic_weights(graph, made, old, length, a):
    """Nodes that give the weights `[length, old]` of cubic interpolation of `old` values to `length` (half-pixel centres)."""

    def step(kind, *inputs, **attributes):
        made.append(graph.node(kind, [graph.keep(x) if isinstance(x, np.ndarray) else x for x in inputs], **attributes))
        return made[-1].output[0]

    def number(value):
        return np.array(value, np.float32)

    def polynomial(distance, factors):
        result = number(factors[0])
        for factor in factors[1:]:
            result = step("Add", step("Mul", result, distance), number(factor))
        return result

    at = step("Cast", step("Range", np.array(0), length, np.array(1)), to=TensorProto.FLOAT)
    ratio = step("Div", number(old), step("Cast", length, to=TensorProto.FLOAT))
    at = step("Sub", step("Mul", step("Add", at, number(0.5)), ratio), number(0.5))
    # Two values more on each side, which are those at the edge.
    places = np.arange(-2, old + 2)
    distance = step("Abs", step("Sub", step("Unsqueeze", at, np.array([1])), places[None].astype(np.float32)))
    near, far = polynomial(distance, [a + 2, -(a + 3), 0, 1]), polynomial(distance, [a, -5 * a, 8 * a, -4 * a])
    far = step("Where", step("Less", distance, number(2)), far, number(0))
    weights = step("Where", step("Less", distance, number(1)), near, far)
    edges = (np.clip(places, 0, old - 1)[:, None] == np.arange(old)).astype(np.float32)
    return step("MatMul", weights, edges)


def resize_by_products(graph):
    """Cubic Resize of a constant `[1, C, H, W]` by two products of matrices."""
    instead = {}
    for node in graph.graph.node:
        told = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        known = told.get("mode") == b"cubic" and told.get("coordinate_transformation_mode", b"half_pixel") == b"half_pixel"
        if node.op_type != "Resize" or not known or told.get("exclude_outside", 0) or len(node.input) != 4:
            continue
        values, name = None, node.input[0]
        axes = [0, 1, 2, 3]
        while (above := graph.by(name, "Cast", "Transpose")) is not None:
            if above.op_type == "Transpose":
                turn = list(helper.get_node_attr_value(above, "perm"))
                axes = [turn[axis] for axis in axes]
            name = above.input[0]
        values = constant_grid(graph, name)
        if values is None or values.ndim != 4:
            continue
        values = values.transpose(axes)[0].astype(np.float32)
        (channels, rows, cols), a, made = values.shape, told.get("cubic_coeff_a", -0.75), []
        sizes = [graph.node("Gather", [node.input[3], graph.keep(np.array(axis))]) for axis in (2, 3)]
        made += sizes
        down, across = (cubic_weights(graph, made, old, size.output[0], a) for old, size in zip((rows, cols), sizes))
        made.append(graph.node("MatMul", [down, graph.keep(values.transpose(1, 2, 0).reshape(rows, cols * channels))]))
        made.append(graph.node("Reshape", [made[-1].output[0], graph.keep(np.array([1, -1, cols, channels]))]))
        made.append(graph.node("MatMul", [across, made[-1].output[0]]))
        made.append(graph.node("Transpose", [made[-1].output[0]], node.output[0], perm=[0, 3, 1, 2]))
        instead[id(node)] = made
    return graph.replace(instead)


def constant_grid(graph, name):
    """A constant square grid `[1, H, H, C]` that a Reshape makes of the constant `[1, H * H, C]`, whatever its shape's nodes."""
    values = graph.constant(name)
    node = graph.by(name, "Reshape")
    if values is not None or node is None:
        return values
    values = graph.constant(node.input[0])
    side = int(round(values.shape[1] ** 0.5)) if values is not None and values.ndim == 3 else 0
    return values.reshape(1, side, side, -1) if side and side * side == values.shape[1] else None


def take_integers(graph):
    """x W with constant W in 8-bit integers: weights by channel, activations as a whole, when they are known."""
    instead, known = {}, {}
    for node in graph.graph.node:
        weights = graph.constant(node.input[1]) if node.op_type == "MatMul" else None
        if weights is None or weights.ndim != 2 or min(weights.shape) < LEAST or graph.constant(node.input[0]) is not None:
            continue
        made = []
        if node.input[0] not in known:
            names = [f"{node.input[0]}/{part}" for part in ("integers", "scale", "zero")]
            made.append(helper.make_node("DynamicQuantizeLinear", [node.input[0]], names, name=names[0]))
            known[node.input[0]] = names
        integers, scale, zero = known[node.input[0]]
        scales = np.maximum(np.abs(weights).max(axis=0) / LARGEST, np.finfo(np.float32).tiny).astype(np.float32)
        rounded = np.clip(np.round(weights / scales), -LARGEST, LARGEST).astype(np.int8)
        made.append(graph.node("MatMulInteger", [integers, graph.keep(rounded), zero]))
        made.append(graph.node("Cast", [made[-1].output[0]], to=TensorProto.FLOAT))
        made.append(graph.node("Mul", [scale, graph.keep(scales)]))
        made.append(graph.node("Mul", [made[-2].output[0], made[-1].output[0]], node.output[0]))
        instead[id(node)] = made
    return graph.replace(instead)


def rewrite(model):
    """Rewrites `model` in place, as the same function; how much of what was rewritten."""
    graph = Graph(model)
    counts = {"layer scales": fold_scales(graph), "attentions": fuse_attention(graph), "resizes": resize_by_products(graph)}
    if not any(one.domain == "com.microsoft" for one in model.opset_import):
        model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return counts


def difference(old, new):
    """Largest relative L2 difference of a feature vector, on noise of the declared size or 3 x 140 x 196."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    runs = [onnxruntime.InferenceSession(one.SerializeToString(), options, providers=["CPUExecutionProvider"]) for one in (old, new)]
    one = runs[0].get_inputs()[0]
    shape = [size if isinstance(size, int) else instead for size, instead in zip(one.shape, (1, 3, 140, 196))]
    noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    worst = 0.0
    for was, now in zip(*(run.run(None, {one.name: noise}) for run in runs)):
        worst = max(worst, float((np.linalg.norm(now - was, axis=-1) / np.linalg.norm(was, axis=-1)).max()))
    return worst


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("-o", "--out", required=True)
    parser.add_argument("--integers", action="store_true", help="products with weights in 8-bit integers")
    args = parser.parse_args()
    model = onnx.load(args.model)
    initial = {tensor.name for tensor in model.graph.initializer}
    inputs = [one for one in model.graph.input if one.name not in initial]
    if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT:
        sys.exit(f"{args.model} does not take one picture of 32-bit floats; farout model prepare makes such a file of it")
    old = onnx.ModelProto.FromString(model.SerializeToString())
    counts = rewrite(model)
    off = difference(old, model)
    if off > SAME:
        sys.exit(f"the new graph of {args.model} gives other features ({off:.2g}): not written")
    if args.integers:
        counts["products in integers"] = take_integers(Graph(model))
        if not counts["products in integers"]:
            sys.exit(f"{args.model} has no products of 32-bit floats with constant weights of {LEAST}x{LEAST} or more")
        off = difference(old, model)
    kept = [entry for entry in model.metadata_props if entry.key != GOLDEN]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, args.out)
    print(", ".join(f"{count} {what}" for what, count in counts.items()) + f"; features at most {100 * off:.2g} % off on noise")


if __name__ == "__main__":
    main()
