"""Do the tests of diffusion, targets, methods and averages notice a bug? More than twenty are planted, one at a time.

python -m tests.mutants.diffusion            about twenty minutes on two cores; writes results/mutants.json
"""

from benchmarks.record import record
from tests.mutants.plant import Mutant, plant


def of(file: str, line: str, bug: str, *tests: str) -> Mutant:
    """A bug in `file`, which its own tests must notice, or those that are named."""
    folder, _, name = file.rpartition("/")
    return Mutant(file, line, bug, tests or (f"tests/{folder}/test_{name}",))


_SOLVER = "diffusion/solver.py"
_ORDER = ("tests/diffusion/test_solver.py", "-k", "order or slope or variance or moments or jump")
_LAWS = "tests/targets/test_laws.py"

MUTANTS = (
    # A sign, a factor, an end of a step.
    of(_SOLVER, "0.5 * (first + second)", "0.5 * (3 * first - second)", *_ORDER),
    of(_SOLVER, "now.answer + 0.5 * per_image(h", "now.answer + per_image(h", *_ORDER),
    of(_SOLVER, "second = h**2 - 2 * first - h * first", "second = h**2 - 2 * first", *_ORDER),
    of(_SOLVER, "down = t * jnp.sqrt(jnp.where(t > 0, kept, 1.0))", "down = t * jnp.where(t > 0, kept, 1.0)", *_ORDER),
    of(_SOLVER, "below = t * (t / s)", "below = t", *_ORDER),
    # A schedule off by one, and one that is not the inverse of itself.
    of("diffusion/schedule.py", "jnp.linspace(1.0, 0.0, n) if n > 1", "jnp.linspace(1.0, 1.0 / n, n) if n > 1"),
    of("diffusion/precondition.py", "self.sigma_data**2 / total, sigma", "self.sigma_data / total, sigma"),
    of("diffusion/precondition.py", "-sigma * self.sigma_data / total", "sigma * self.sigma_data / total"),
    of("diffusion/guidance.py", "worse + scale * (better - worse)", "better + scale * (better - worse)"),
    # Answers: a stop-gradient that is missing, fresh noise where it should be the same, the wrong parameters.
    of(
        "methods/regression.py",
        "said = jax.lax.stop_gradient(self.target(key, self.evaluate, state, obs, x))",
        "said = self.target(key, self.evaluate, state, obs, x)",
        _LAWS,
        "-k",
        "gradient and ect",
    ),
    of("targets/ect.py", "per_image(r, x) * noise, r, obs", "per_image(r, x) * noise[::-1], r, obs"),
    of("targets/distill.py", "target=net(state.ema, x_t", "target=net(state.params, x_t"),
    of("targets/ict.py", "weight=1.0 / (s - t)", "weight=1.0 / s"),
    of("targets/scm.py", "(self.sigma_data * change / cos - steady)", "(self.sigma_data * change - steady)"),
    of("targets/scm.py", "tangent / (norm + self.c)", "tangent"),
    of("targets/progressive.py", "solver.answer(x_t, x_s, s, t)", "solver.answer(x_t, x_s, s, m)"),
    of("targets/meanflow.py", "per_image(along, x) * derivative", "-per_image(along, x) * derivative"),
    of("targets/shortcut.py", "ema(x_s, s, jnp.where(smallest, s, u))", "ema(x_s, s, jnp.where(smallest, s, t))"),
    of("targets/ctm.py", "x_t = jnp.where(per_image(u > t, x) > 0, landed, x_u)", "x_t = landed"),
    of("diffusion/bridge.py", "self.variance(t) * self.mean_weight(1.0 - t)", "self.variance(t)"),
    # Two players, and averages.
    of("methods/score_distill.py", "x_hat - (made - away)", "x_hat - (made + away)"),
    of("train/ema.py", "beta * old + (1.0 - beta) * new", "beta * new + (1.0 - beta) * old"),
    of("train/ema.py", "(gamma_a + gamma_b + 1) * shared", "(gamma_a + gamma_b + 2) * shared"),
    # Posteriors.
    of("diffusion/posterior/pigdm.py", "gain = 1.0 + (sigma", "gain = (sigma"),
    of("diffusion/posterior/moments.py", "spread(r)) + noise * r", "spread(r)) + 2 * noise * r"),
    of("diffusion/posterior/diffpir.py", "(measured.noise_std / level) ** 2", "(measured.noise_std / level)"),
    of("diffusion/posterior/ddrm.py", "cleaner, t**2 - (eta_b * u) ** 2", "cleaner, t**2"),
    of("diffusion/posterior/daps.py", "(measured.noise_std / r) ** 2", "measured.noise_std ** 2"),
)

if __name__ == "__main__":
    record("mutants", plant(MUTANTS), "one changed line at a time; the tests named in tests/mutants/diffusion.py")
