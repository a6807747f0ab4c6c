"""Photographs -> batches, deterministic given (seed, step), without TensorFlow."""
