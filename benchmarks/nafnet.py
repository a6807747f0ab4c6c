"""One NAF block against PyTorch: forward, and the training step.

    python -m benchmarks.nafnet            about two minutes on two cores

The paper's block (width 32, with channel attention) at 1 x 256 x 256 x 32, float32, with the same
weights on both sides. PyTorch runs eagerly, channels_last, with two threads, without autograd in
the forward pass. A step is the value and gradient, with respect to parameters and input, of a mean
square loss, and an SGD update. Outputs and gradients are compared before anything is timed. Rounds
alternate between the two in one process: a pause, in which OpenMP's threads stop spinning for more
work and leave ours their core, a call to warm up, then four calls one after the other as the blocks of
a net are, whose mean is the round's figure. Recorded are the medians over the rounds, and that of the
ratios. All of it twice, in a process of its own: with `restore_jax.cpu.keep_freed_memory`,
for both sides, as in our commands; and with malloc as a program finds it (`default_malloc`).
"""

import json
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.record import record
from restore_jax.cpu import keep_freed_memory
from restore_jax.nets.nafnet import NafBlock

WIDTH, SIZE, ROUNDS, CALLS, PAUSE_S, THREADS, RATE = 32, 256, 31, 4, 0.05, 2, 1e-3


def torch_block(params, torch):
    """The block as a PyTorch user writes it, after Chen et al. 2022, figure 3, with our weights."""
    functional = torch.nn.functional

    class Block(torch.nn.Module):
        def __init__(self, c):
            super().__init__()
            conv = torch.nn.Conv2d
            self.norm1, self.norm2 = (torch.nn.LayerNorm(c, eps=1e-6) for _ in range(2))
            self.conv1, self.conv2 = conv(c, 2 * c, 1), conv(2 * c, 2 * c, 3, padding=1, groups=2 * c)
            self.attention, self.conv3 = conv(c, c, 1), conv(c, c, 1)
            self.conv4, self.conv5 = conv(c, 2 * c, 1), conv(c, c, 1)
            self.beta, self.gamma = (torch.nn.Parameter(torch.zeros(1, c, 1, 1)) for _ in range(2))

        def normalize(self, norm, x):  # channels_last memory makes both permutes free
            return norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

        def gate(self, x):
            a, b = x.chunk(2, dim=1)
            return a * b

        def forward(self, x):
            y = self.gate(self.conv2(self.conv1(self.normalize(self.norm1, x))))
            y = y * self.attention(functional.adaptive_avg_pool2d(y, 1))
            x = x + self.beta * self.conv3(y)
            return x + self.gamma * self.conv5(self.gate(self.conv4(self.normalize(self.norm2, x))))

    block = Block(WIDTH)
    with torch.no_grad():
        for name, parameter in block.named_parameters():
            parameter.copy_(torch.from_numpy(to_torch(find(params, name))).reshape(parameter.shape))
    return block.to(memory_format=torch.channels_last)


def find(params, name):
    """Our parameter of PyTorch's `name`: its weight is our kernel, or the scale of a norm."""
    layer, _, leaf = name.partition(".")
    if not leaf:
        return params[layer]
    return params[layer][{"weight": "scale" if layer.startswith("norm") else "kernel", "bias": "bias"}[leaf]]


def to_torch(leaf):
    """h w i o -> o i h w; (i, o) -> (o, i)."""
    leaf = np.asarray(leaf)
    return leaf.transpose((3, 2, 0, 1) if leaf.ndim == 4 else range(leaf.ndim)[::-1]).copy()


def seconds(function) -> float:
    """A call, the mean of some."""
    time.sleep(PAUSE_S)
    function()
    start = time.perf_counter()
    for _ in range(CALLS):
        function()
    return (time.perf_counter() - start) / CALLS


def interleaved(ours, theirs) -> tuple[float, float, float]:
    """Median seconds of each, and the median ratio of neighbouring rounds, A B A B."""
    seconds(ours), seconds(theirs)
    rounds = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
    a, b = (statistics.median(column) for column in zip(*rounds))
    return a, b, statistics.median(x / y for x, y in rounds)


def agree(ours, theirs, what: str) -> None:
    """Stops if the two sides do not compute the same."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    error = np.abs(ours - theirs).max() / max(1.0, np.abs(ours).max())
    if not error < 1e-4:
        raise SystemExit(f"{what}: JAX and PyTorch differ by {error:.1e}, more than 1e-4.")


def measure(keep: bool) -> dict[str, float]:
    """Checks both sides against each other, then times them."""
    if keep:
        keep_freed_memory()
    try:
        import torch
    except ImportError:
        sys.exit(
            "PyTorch is not installed: `pip install -e .[bench]`, or only its CPU build with "
            "`pip install torch --index-url https://download.pytorch.org/whl/cpu`."
        )
    torch.set_num_threads(THREADS)

    block, rng = NafBlock(), np.random.default_rng(0)
    image, target = rng.standard_normal((2, 1, SIZE, SIZE, WIDTH), np.float32)
    shapes = jax.eval_shape(lambda: block.init(jax.random.key(0), image))["params"]
    params = jax.tree.map(lambda leaf: jnp.asarray(0.3 * rng.standard_normal(leaf.shape, np.float32)), shapes)
    module = torch_block(params, torch)

    def channels_last(array):
        return torch.from_numpy(array).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)

    x, y = jnp.asarray(image), jnp.asarray(target)
    x_torch, y_torch = channels_last(image).requires_grad_(), channels_last(target)
    forward = jax.jit(lambda params, x: block.apply({"params": params}, x))

    @jax.jit
    def step(params, x):
        def loss(params, x):
            return jnp.square(block.apply({"params": params}, x) - y).mean()

        value, (d_params, d_x) = jax.value_and_grad(loss, (0, 1))(params, x)
        return value, jax.tree.map(lambda p, d: p - RATE * d, params, d_params), d_params, d_x

    optimizer = torch.optim.SGD(module.parameters(), lr=RATE)

    def forward_torch():
        with torch.no_grad():
            return module(x_torch)

    def backward_torch():
        optimizer.zero_grad()
        x_torch.grad = None
        torch.nn.functional.mse_loss(module(x_torch), y_torch).backward()

    def step_torch():
        backward_torch()
        optimizer.step()

    agree(forward(params, x), forward_torch().permute(0, 2, 3, 1), "forward")
    _, _, d_params, d_x = step(params, x)
    backward_torch()
    # Gradients of a mean over millions of numbers are small: compare them in their own size.
    size = x.size / 2
    agree(size * d_x, size * x_torch.grad.permute(0, 2, 3, 1), "gradient of the input")
    for name, parameter in module.named_parameters():
        mine = to_torch(find(d_params, name)).reshape(parameter.shape)
        unit = np.abs(mine).max()
        agree(mine / unit, parameter.grad.numpy() / unit, f"gradient of {name}")

    figures = {}
    for what, ours, theirs in (
        ("forward", lambda: forward(params, x).block_until_ready(), forward_torch),
        ("step", lambda: jax.block_until_ready(step(params, x)), step_torch),
    ):
        ours_s, torch_s, ratio = interleaved(ours, theirs)
        figures |= {f"{what}_s": ours_s, f"{what}_torch_s": torch_s, f"{what}_ratio": ratio}
    return {name: round(value, 5) for name, value in figures.items()}


def main() -> None:
    """Measures with memory kept and with memory given back, and records both."""
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1] == "keep")))
        return
    figures = {}
    for policy, suffix in (("keep", ""), ("default", "_default_malloc")):
        command = [sys.executable, "-m", "benchmarks.nafnet", policy]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(done.returncode)
        figures |= {name + suffix: value for name, value in json.loads(done.stdout.splitlines()[-1]).items()}
    record("nafnet", figures, " ".join(__doc__.split()))


if __name__ == "__main__":
    main()
