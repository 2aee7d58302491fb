"""Other number formats of a tiny export, as the tools of the field make them: 16-bit floats, brain floats, and 8-bit
integers in the three forms that ONNX Runtime's quantiser writes; and with operators fused by its optimiser,
or by tools/speed_up.py."""

import contextlib
import io
import logging
import tempfile

import numpy as np
import onnx

from tiny_truth import picture


def half(model, _size):
    """16-bit floats throughout, input and outputs too."""
    from onnxruntime.transformers.float16 import convert_float_to_float16

    return convert_float_to_float16(model, keep_io_types=False)


def brain(model, _size):
    """Brain floats throughout: every float of the graph is one."""
    from onnx import TensorProto, numpy_helper

    def narrowed(tensor):
        if tensor.data_type == TensorProto.FLOAT:
            numbers = numpy_helper.to_array(tensor).astype("<f4")
            bits = numbers.view("<u4").astype(np.uint64)
            # To the nearest, ties to even, as hardware rounds.
            halves = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
            name, dims = tensor.name, list(tensor.dims)
            tensor.Clear()
            tensor.name, tensor.data_type, tensor.raw_data = name, TensorProto.BFLOAT16, halves.tobytes()
            tensor.dims.extend(dims)

    for tensor in model.graph.initializer:
        narrowed(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            narrowed(attribute.t)
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.BFLOAT16
    for value in [*model.graph.input, *model.graph.output]:
        value.type.tensor_type.elem_type = TensorProto.BFLOAT16
    return model


def fused(model, _size, half_precision=False):
    """Sums with norms, biases with activations and the like in one operator, as ONNX Runtime's optimiser writes them."""
    logging.disable(logging.WARNING)
    from onnxruntime.transformers import optimizer

    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, f"{folder}/float.onnx")
        made = optimizer.optimize_model(f"{folder}/float.onnx", model_type="vit", num_heads=2, hidden_size=16, opt_level=0)
    if half_precision:
        made.convert_float_to_float16(keep_io_types=True)
    made.topological_sort()
    return made.model


def faster(model, _size):
    """As tools/speed_up.py writes it."""
    import speed_up

    speed_up.rewrite(model)
    return model


class Pictures:
    """Pictures to measure the ranges of tensors on."""

    def __init__(self, size):
        whole = picture(*size).numpy()
        self.left = [{"image": whole * scale} for scale in (1.0, 0.7, -1.0)]

    def get_next(self):
        return self.left.pop() if self.left else None


def quantised(form):
    def make(model, size):
        logging.disable(logging.WARNING)
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic, quantize_static

        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            source, result = f"{folder}/float.onnx", f"{folder}/integers.onnx"
            onnx.save(model, source)
            if form == "dynamic":
                quantize_dynamic(source, result, ["MatMul", "Gemm"], weight_type=QuantType.QInt8, per_channel=True)
            else:
                formats = {"qdq": QuantFormat.QDQ, "operators": QuantFormat.QOperator}
                quantize_static(source, result, Pictures(size), quant_format=formats[form], per_channel=form == "qdq",
                                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)  # fmt: skip
            return onnx.load(result)

    return make


VARIANTS = {
    "fp16": half,
    "bf16": brain,
    "fused": fused,
    "faster": faster,
    "fused16": lambda model, size: fused(model, size, half_precision=True),
    "qdq": quantised("qdq"),
    "qoperator": quantised("operators"),
    "dynamic": quantised("dynamic"),
}
