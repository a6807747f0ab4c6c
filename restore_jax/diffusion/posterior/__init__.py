"""Zero-shot posterior sampling: a prior restores what it was never trained to restore.

A denoiser knows pictures, `E[x | x_t]`; an operator knows what was done to one, `y = A x + noise_std n`.
What is wanted is `E[x | x_t, y]`, with which every sampler of this package draws from p(x | y). By Bayes and Tweedie
it is

    E[x | x_t, y] = D(x_t, sigma) + sigma^2 grad log p(y | x_t)

and the members differ in what they put in place of the last term. One a file, in one of three forms:

    Guidance  (denoise, obs) -> denoise     it changes the answer    ddnm pigdm moments diffpir
    Step      .under(obs) -> step           it changes the move      dps ddrm repaint
    Sampler   (key, denoise, obs) -> x_hat  it has a loop of its own red_diff daps cm4ir
"""
