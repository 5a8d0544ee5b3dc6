"""Inference artifacts of a trained model: int8 and float16, with what they lose."""
