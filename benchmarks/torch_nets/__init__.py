"""The networks of `restore_jax.nets` as a PyTorch user writes them, with the published names of their weights."""
