"""Keras to ONNX: traced by TensorFlow, translated by tf2onnx without weights, tidied and written here."""
