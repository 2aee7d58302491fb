#!/usr/bin/env python3
"""Puts several feature tensors of a transformer (ONNX) side by side, for input of any size.

    tools/join_features.py vit_s_focus.onnx -o dinov2-s.onnx value:10 key:10 key:12

`farout model prepare --concat` does the same for one fixed size and pads pictures of other shapes up to it. This leaves
height and width open, so that a bank of 4:3 pictures serves 16:9 video without padding: give `height` in [model], and the
`parts` that this prints. Names are those of DINOv2 as Hugging Face's transformers exports it; what does not lead to the
features is cut away.
"""

import argparse

import onnx
from onnx.utils import Extractor


def tensor_of(name):
    """Name of the tensor in the graph for `value:10` (the values of block 10, from 1), `tokens:10` or `norm`."""
    kind, _, block = name.partition(":")
    if kind == "norm":
        return "/backbone/layernorm/Add_1_output_0"
    layer = f"/backbone/encoder/layer.{int(block) - 1}"
    return f"{layer}/Add_1_output_0" if kind == "tokens" else f"{layer}/attention/attention/{kind}/Add_output_0"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("features", nargs="+", help="query:N, key:N, value:N, tokens:N or norm")
    parser.add_argument("-o", "--out", required=True)
    args = parser.parse_args()
    model = onnx.load(args.model)
    for axis, name in ((0, "batch"), (2, "height"), (3, "width")):
        dim = model.graph.input[0].type.tensor_type.shape.dim[axis]
        dim.Clear()
        dim.dim_param = name
    del model.graph.value_info[:]
    tensors = [tensor_of(name) for name in args.features]
    made = {output for node in model.graph.node for output in node.output}
    for name, tensor in zip(args.features, tensors):
        if tensor not in made:
            parser.error(f"{args.model} has no {tensor} for {name}")
    model.graph.node.append(onnx.helper.make_node("Concat", tensors, ["features"], name="features", axis=-1))
    width = 384 * len(tensors)
    shape = onnx.helper.make_tensor_value_info("features", onnx.TensorProto.FLOAT, ["batch", "tokens", width])
    model.graph.output.append(shape)
    cut = Extractor(model).extract_model([model.graph.input[0].name], ["features"])
    onnx.checker.check_model(cut)
    onnx.save(cut, args.out)
    parts = ", ".join(f'{{ name = "{name}", width = 384 }}' for name in args.features)
    print(f'height = 364\nfeatures = "features"\nparts = [{parts}]')


if __name__ == "__main__":
    main()
