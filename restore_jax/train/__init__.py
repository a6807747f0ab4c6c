"""One loop, one step. It knows Method and TrainState, and no method by name."""
