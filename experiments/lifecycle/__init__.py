"""The whole life of a model on the embedded photographs: train, distil, measure, restore, export."""
