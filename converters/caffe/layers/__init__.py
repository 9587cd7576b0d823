"""How each layer of Caffe is said in ONNX: one function for each type, declared by `writer.layer`."""

from zoo.converters.caffe.layers import activations, convolution, elementwise, normalization, pooling, shaping

__all__ = ["activations", "convolution", "elementwise", "normalization", "pooling", "shaping"]
