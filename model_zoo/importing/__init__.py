"""Import: a trained Keras or ONNX network becomes a trainable model of one's own."""
