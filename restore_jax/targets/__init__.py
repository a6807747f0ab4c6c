"""What a network should have said: `Target = (key, net, state, obs, x) -> Supervision`, one a file.

`net(params, x_t, sigma, obs)` estimates x. Training methods differ only in the question `(x_t, sigma)`
and in the answer they hold up; the loss around them is `methods.regression`. Every key is split an
example, so that a batch may be cut over devices without changing what is drawn.
"""
