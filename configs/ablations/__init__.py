"""Configs that differ in one thing, run together by `experiments.sweep`."""
