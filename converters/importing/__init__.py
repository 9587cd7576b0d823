"""ONNX to Keras: read safely, written as layers that train, compared with onnxruntime."""
