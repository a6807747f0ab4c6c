"""The mathematics of noise levels: schedules, preconditioning, solvers, samplers, guidance.

In the convention of EDM, noise of level sigma is `x_t = x + sigma n`, and the denoiser
`D(x_t, sigma) = E[x | x_t]` gives the score, `(D - x_t) / sigma^2`, and with it the probability-flow
equation that every sampler here solves,

    dx / dsigma = (x - D(x, sigma)) / sigma.

Reference: Karras et al. 2022, "Elucidating the design space of diffusion-based generative models", eq. 1-3.
"""
