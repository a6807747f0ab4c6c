"""How pictures are harmed: `Degradation = (key, x) -> Observation`, one kind a file.

A degradation speaks of one picture `h w c`; a batch is `jax.vmap(degrade)(keys, x)`. What is linear in
it is handed on as an `Operator`, so that the same object makes training pairs, evaluation sets and
the likelihood of a zero-shot sampler. Each file lists `EXAMPLES`, which the law-suite finds and holds
to the laws of `tests/degrade/test_laws.py`.
"""
