"""Ways to learn a restorer: `init`, `loss`, `restorer`. Every family ends in `(key, Observation) -> x_hat`."""
