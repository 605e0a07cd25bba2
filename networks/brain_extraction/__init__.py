"""The networks of BrainExtraction, which are deepbet's, as one ONNX file with a card."""
