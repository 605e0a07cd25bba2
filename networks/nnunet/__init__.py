"""Networks of nnU-Net as ONNX files with cards."""
