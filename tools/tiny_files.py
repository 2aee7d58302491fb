"""ONNX files of tiny models: as both exporters of PyTorch write them, and made small."""

import torch

from tiny_truth import fed

LARGEST = 100_000


def export(model, size, dynamic, path, dynamo):
    settings = dict(input_names=["image"], dynamo=dynamo)
    if dynamo:
        axes = {2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
        settings |= dict(external_data=False, verbose=False)
        if dynamic:
            patch = 14
            axes = {2: patch * torch.export.Dim("rows", min=2, max=64), 3: patch * torch.export.Dim("cols", min=2, max=64)}
            settings["dynamic_shapes"] = (axes,)
    else:
        settings["opset_version"] = 17
        if dynamic:
            settings["dynamic_axes"] = {"image": {2: "height", 3: "width"}}
    torch.onnx.export(model, (fed(model, *size),), str(path), **settings)


def shrink(path):
    """Drops what only debuggers read: doc strings, stack traces, inferred shapes."""
    import onnx

    model = onnx.load(path)
    for node in list(model.graph.node) + [n for f in model.functions for n in f.node]:
        node.doc_string = node.name = ""
        del node.metadata_props[:]
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    for value in [*model.graph.input, *model.graph.output, *model.graph.initializer]:
        del value.metadata_props[:]
    for function in model.functions:
        del function.value_info[:]
        del function.metadata_props[:]
    if model.ByteSize() > LARGEST:
        shorten(model.graph)
    onnx.save(model, path)


def shorten(graph):
    """Gives inner tensors short names: paths of modules are half of a tiny file."""
    kept = {value.name for value in [*graph.input, *graph.output]} | {""}
    names = {}

    def short(name):
        return name if name in kept else names.setdefault(name, f"t{len(names)}")

    for node in graph.node:
        node.input[:] = map(short, node.input)
        node.output[:] = map(short, node.output)
        assert not any(a.type in (5, 10) for a in node.attribute), "branches are not renamed"
    for tensor in graph.initializer:
        tensor.name = short(tensor.name)
