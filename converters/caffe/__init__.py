"""Caffe to ONNX. Reading and upgrading make one form of files of every age; layers become nodes in `layers/`."""
