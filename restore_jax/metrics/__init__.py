"""How far `x_hat` is from `x`: `(x_hat, x) -> [b]`, one number a picture. A loss is a metric you differentiate."""
