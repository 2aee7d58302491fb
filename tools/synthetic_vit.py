"""The small segmentation vision transformer for the synthetic world, and its way into an ONNX file."""

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional as F

HEIGHT, WIDTH, PATCH = 288, 512, 16
MEAN, STD = 0.5, 0.5
CLASSES = ["sky", "road", "marking", "verge", "pavement", "building", "tree", "car", "pole", "fence"]
# The head labels SUB x SUB places in every patch.
SUB = 4


class Attention(nn.Module):
    """Multi-head self-attention; also returns its keys, heads concatenated, neither scaled nor normalised."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        batch, count, width = x.shape
        split = lambda t: t.view(batch, count, self.heads, width // self.heads).transpose(1, 2)
        keys = self.key(x)
        # Written out: on a CPU, in bfloat16, this is quicker than torch's fused attention.
        weight = ((split(self.query(x)) * (width // self.heads) ** -0.5) @ split(keys).transpose(-1, -2)).softmax(-1)
        return self.out((weight @ split(self.value(x))).transpose(1, 2).reshape(batch, count, width)), keys


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width, heads):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        mixed, keys = self.attention(self.norm1(x))
        x = x + mixed
        return x + self.mlp(self.norm2(x)), keys


class SegmentationViT(nn.Module):
    """Pictures [B, 3, HEIGHT, w] to logits [B, classes, HEIGHT/4, w/4] and last-block keys [B, patches, width]."""

    def __init__(self, width=96, depth=5, heads=3, stem=(48, 64)):
        super().__init__()
        conv = lambda i, o, k, s, p: [nn.Conv2d(i, o, k, s, p, bias=False), nn.BatchNorm2d(o)]
        self.stem = nn.Sequential(
            *conv(3, stem[0], 4, 4, 0), nn.GELU(), *conv(stem[0], stem[1], 3, 2, 1), nn.GELU(),
            *conv(stem[1], width, 3, 2, 1),
        )
        self.position = nn.Parameter(0.02 * torch.randn(1, width, HEIGHT // PATCH, WIDTH // PATCH))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(CLASSES) * SUB * SUB)

    def forward(self, picture, column=0):
        """`column`: the first patch column of a picture that is a vertical strip of a full one."""
        grid = self.stem(picture)
        columns = grid.shape[3]
        tokens = (grid + self.position[..., column : column + columns]).flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens, keys = block(tokens)
        logits = self.head(self.norm(tokens)).transpose(1, 2).reshape(len(tokens), -1, grid.shape[2], columns)
        return F.pixel_shuffle(logits, SUB), keys


class Graph:
    """Collects nodes and weights of an ONNX graph under readable names."""

    def __init__(self):
        self.nodes, self.weights = [], {}

    def weight(self, name, value):
        array = value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
        self.weights[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def add(self, op, inputs, name, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def linear(self, x, layer, name, out=None):
        product = self.add("MatMul", [x, self.weight(f"{name}.weight", layer.weight.T)], f"{name}/matmul")
        return self.add("Add", [product, self.weight(f"{name}.bias", layer.bias)], out or f"{name}/out")

    def norm(self, x, layer, name):
        scale, bias = self.weight(f"{name}.weight", layer.weight), self.weight(f"{name}.bias", layer.bias)
        return self.add("LayerNormalization", [x, scale, bias], f"{name}/out", axis=-1, epsilon=layer.eps)

    def conv(self, x, conv, norm, name):
        """A convolution with its batch normalisation folded in."""
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        weight = self.weight(f"{name}.weight", conv.weight * scale[:, None, None, None])
        bias = self.weight(f"{name}.bias", norm.bias - norm.running_mean * scale)
        pads, strides = [conv.padding[0]] * 4, list(conv.stride)
        return self.add("Conv", [x, weight, bias], f"{name}/out", pads=pads, strides=strides,
                        kernel_shape=list(conv.kernel_size))

    def gelu(self, x, name):
        for constant, value in (("two_root", 2**0.5), ("one", 1.0), ("half", 0.5)):
            self.weights.setdefault(constant, numpy_helper.from_array(np.float32(value), constant))
        erf = self.add("Erf", [self.add("Div", [x, "two_root"], f"{name}/div")], f"{name}/erf")
        product = self.add("Mul", [x, self.add("Add", [erf, "one"], f"{name}/add")], f"{name}/mul")
        return self.add("Mul", [product, "half"], f"{name}/out")

    def reshape(self, x, shape, name):
        return self.add("Reshape", [x, self.weight(f"{name}.shape", np.asarray(shape, np.int64))], name)


def export(model, path, metadata):
    """Writes `model` as ONNX with input `image` and outputs `logits` and `keys`, batch 1, float32."""
    model.eval()
    graph = Graph()
    rows, columns = HEIGHT // PATCH, WIDTH // PATCH
    width, count = model.position.shape[1], rows * columns
    stem = model.stem
    x = graph.gelu(graph.conv("image", stem[0], stem[1], "stem.0"), "stem.0.gelu")
    x = graph.gelu(graph.conv(x, stem[3], stem[4], "stem.1"), "stem.1.gelu")
    x = graph.add("Add", [graph.conv(x, stem[6], stem[7], "stem.2"), graph.weight("position", model.position)], "grid")
    x = graph.add("Transpose", [graph.reshape(x, [1, width, count], "flat")], "tokens", perm=[0, 2, 1])
    for number, block in enumerate(model.blocks):
        name, last = f"block.{number}", number + 1 == len(model.blocks)
        attention, heads = block.attention, block.attention.heads
        shape = [1, count, heads, width // heads]
        normal = graph.norm(x, block.norm1, f"{name}.norm1")
        query = graph.linear(normal, attention.query, f"{name}.query")
        key = graph.linear(normal, attention.key, f"{name}.key", out="keys" if last else None)
        value = graph.linear(normal, attention.value, f"{name}.value")
        query = graph.add("Mul", [query, graph.weight(f"{name}.scale", np.float32((width // heads) ** -0.5))],
                          f"{name}.query/scaled")
        split = lambda t, part, perm: graph.add(
            "Transpose", [graph.reshape(t, shape, f"{name}.{part}/heads")], f"{name}.{part}/split", perm=perm)
        scores = graph.add("MatMul", [split(query, "query", [0, 2, 1, 3]), split(key, "key", [0, 2, 3, 1])],
                           f"{name}.scores")
        mixed = graph.add("MatMul", [graph.add("Softmax", [scores], f"{name}.softmax", axis=-1),
                                     split(value, "value", [0, 2, 1, 3])], f"{name}.mixed")
        mixed = graph.add("Transpose", [mixed], f"{name}.mixed/joined", perm=[0, 2, 1, 3])
        mixed = graph.linear(graph.reshape(mixed, [1, count, width], f"{name}.mixed/flat"), attention.out, f"{name}.out")
        x = graph.add("Add", [x, mixed], f"{name}.middle")
        hidden = graph.linear(graph.norm(x, block.norm2, f"{name}.norm2"), block.mlp[0], f"{name}.mlp.0")
        hidden = graph.linear(graph.gelu(hidden, f"{name}.mlp.gelu"), block.mlp[2], f"{name}.mlp.1")
        x = graph.add("Add", [x, hidden], f"{name}.end")
    x = graph.linear(graph.norm(x, model.norm, "norm"), model.head, "head")
    x = graph.add("Transpose", [x], "head/planes", perm=[0, 2, 1])
    x = graph.reshape(x, [1, len(CLASSES) * SUB * SUB, rows, columns], "head/grid")
    graph.add("DepthToSpace", [x], "logits", blocksize=SUB, mode="CRD")
    info = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    proto = helper.make_model(
        helper.make_graph(
            graph.nodes, "synthetic-vit", [info("image", [1, 3, HEIGHT, WIDTH])],
            [info("logits", [1, len(CLASSES), rows * SUB, columns * SUB]), info("keys", [1, count, width])],
            list(graph.weights.values()),
        ),
        opset_imports=[helper.make_opsetid("", 17)], producer_name="farout tools/train_synthetic.py",
    )
    proto.ir_version = 8
    helper.set_model_props(proto, metadata)
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)
