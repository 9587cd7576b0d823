"""TensorFlow's own formats as models of ONNX: SavedModels, checkpoints with their graphs, frozen graphs."""
