"""Degradations in figures: exactness, speed and gain.

    python -m benchmarks.degrade            about twenty minutes on two cores; most of it are the laws and the mutants
    python -m benchmarks.degrade speed jpeg     these parts anew; `commits` says when each was measured

matlab_x4       our uint8 cubic reduction by 4 of Set5, Set14 and BSD100, against the stored files (made with MATLAB)
jpeg_psnr_db    the lowest PSNR between our decode and Pillow's, 4:4:4, over the embedded photographs (a centre crop of
                256 px) and qualities 10, 25, 50, 75, 90, 95; and at 4:2:0
blind_speedup   images a second of `degrade.blind.RealEsrgan`, jitted, 16 crops of 256 px to 64 px at once, over those
                of the same recipe written with NumPy, SciPy and OpenCV, crop by crop (OpenCV's own threads on); the
                batch on a mesh of one host device a core, and (`_one_device`) all on one; rounds alternate, after a
                pause, and the figure is the median of the rounds' ratios
share_of_step   the time of that degradation over that of a training step of `configs/blind.py` (NAFNet) with it inside
burst_gain_db   PSNR of 8 raw frames of a photograph merged by least squares, less that of one frame demosaicked
law_examples, law_seconds      the examples that `tests/degrade/test_laws.py` finds, and its time, two processes
mutants         bugs planted one by one in copies of the operators (`tests/mutants`), and how many the laws catch
"""

import json
import os
import re
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.record import ROOT, commit, record
from restore_jax.build import build, examples
from restore_jax.cpu import prepare
from restore_jax.data.sets.embedded import Embedded

EVAL = ROOT.parent / "shared" / "data" / "eval"
BATCH, CROP, ROUNDS, PAUSE_S = 16, 256, 7, 0.3
QUALITIES = (10, 25, 50, 75, 90, 95)


def crops(n: int, px: int = CROP) -> np.ndarray:
    """The centres of the embedded photographs in turn, [0, 1]."""
    photographs = [p for p in (Embedded("train")[i] for i in range(len(Embedded("train")))) if min(p.shape[:2]) >= px]
    cut = [p[(p.shape[0] - px) // 2 :, (p.shape[1] - px) // 2 :][:px, :px] for p in photographs]
    return np.stack([cut[i % len(cut)] for i in range(n)]).astype(np.float32) / 255


# ---------------------------------------------------------------------------------------------
# The recipe of Real-ESRGAN as one writes it with NumPy and OpenCV
# ---------------------------------------------------------------------------------------------


class Recipe:
    """`degrade.blind.RealEsrgan` crop by crop, at the sizes that are drawn; the same ranges and chances."""

    def __init__(self, seed: int) -> None:
        import cv2
        from scipy.special import j1

        self.cv2, self.j1, self.rng = cv2, j1, np.random.default_rng(seed)

    def kernel(self, stage) -> np.ndarray:
        """A blur kernel."""
        rng, size = self.rng, 2 * self.rng.integers(3, 11) + 1
        if rng.random() < stage.sinc_probability:
            return self.sinc(size, rng.uniform(np.pi / 3 if size < 13 else np.pi / 5, np.pi))
        u, (a, b) = rng.random(), rng.uniform(*stage.std, 2)
        b = a if u < 0.45 or 0.7 <= u < 0.82 or 0.85 <= u < 0.97 else b
        angle = rng.uniform(-np.pi, np.pi)
        dy, dx = np.mgrid[-(size // 2) : size // 2 + 1, -(size // 2) : size // 2 + 1]
        along, across = np.cos(angle) * dx + np.sin(angle) * dy, np.cos(angle) * dy - np.sin(angle) * dx
        q = (along / a) ** 2 + (across / b) ** 2
        if u >= 0.85:
            k = 1 / (1 + q ** rng.uniform(1, 2))
        else:
            k = np.exp(-0.5 * q ** (1.0 if u < 0.7 else rng.uniform(0.5, 4)))
        return (k / k.sum()).astype(np.float32)

    def sinc(self, size: int, cutoff: float) -> np.ndarray:
        """A circular low-pass."""
        d = np.arange(size) - size // 2
        r = np.hypot(d[:, None], d[None])
        r[size // 2, size // 2] = 1
        k = cutoff * self.j1(cutoff * r) / (2 * np.pi * r)
        k[size // 2, size // 2] = cutoff**2 / (4 * np.pi)
        return (k / k.sum()).astype(np.float32)

    def size(self, stage) -> float:
        """A factor of resizing."""
        up, down, none = stage.resize_probabilities
        way = self.rng.choice(3, p=np.array((up, down, none)) / (up + down + none))
        return (self.rng.uniform(1, stage.resize[1]), self.rng.uniform(stage.resize[0], 1), 1.0)[way]

    def resize(self, x: np.ndarray, h: int, w: int) -> np.ndarray:
        """In one of three ways."""
        cv2 = self.cv2
        mode = (cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)[self.rng.integers(3)]
        return cv2.resize(x, (max(1, w), max(1, h)), interpolation=mode)

    def noise(self, x: np.ndarray, stage) -> np.ndarray:
        """White or shot, in colour or grey."""
        rng, grey = self.rng, self.rng.random() < stage.grey
        if rng.random() < 0.5:
            n = rng.uniform(*stage.gaussian) * rng.standard_normal((*x.shape[:2], 1 if grey else 3), np.float32)
        else:
            light = np.clip(x, 0, 1)
            light = self.cv2.cvtColor(light, self.cv2.COLOR_RGB2GRAY)[..., None] if grey else light
            n = rng.uniform(*stage.poisson) * (rng.poisson(light * 256) / 256 - light)
        return np.clip(x + n, 0, 1).astype(np.float32)

    def jpeg(self, x: np.ndarray, stage) -> np.ndarray:
        """Encoded and decoded by OpenCV."""
        cv2, quality = self.cv2, int(self.rng.uniform(*stage.quality))
        _, file = cv2.imencode(
            ".jpg", np.round(x[..., ::-1] * 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, quality]
        )
        return cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255

    def blur(self, x: np.ndarray, k: np.ndarray) -> np.ndarray:
        """Mirrored at the border."""
        return self.cv2.filter2D(x, -1, k, borderType=self.cv2.BORDER_REFLECT)

    def __call__(self, x: np.ndarray, spec) -> np.ndarray:
        """One crop."""
        rng, (h, w) = self.rng, x.shape[:2]
        small = h // spec.scale, w // spec.scale
        x = self.blur(x, self.kernel(spec.first))
        factor = self.size(spec.first)
        x = self.jpeg(self.noise(self.resize(x, int(h * factor), int(w * factor)), spec.first), spec.first)
        if rng.random() < spec.second.blur_probability:
            x = self.blur(x, self.kernel(spec.second))
        factor = self.size(spec.second)
        x = self.noise(self.resize(x, int(small[0] * factor), int(small[1] * factor)), spec.second)
        ringing = None
        if rng.random() < spec.sinc_probability:
            ringing = self.sinc(2 * rng.integers(3, 11) + 1, rng.uniform(np.pi / 3, np.pi))

        def finish(x):
            x = np.clip(self.resize(x, *small), 0, 1)
            return x if ringing is None else np.clip(self.blur(x, ringing), 0, 1)

        if rng.random() < 0.5:
            return self.jpeg(finish(x), spec.second)
        return np.round(finish(self.jpeg(x, spec.second)) * 255) / 255


def seconds(function) -> float:
    """One call, after a pause."""
    time.sleep(PAUSE_S)
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def blind() -> dict[str, float]:
    """Images a second of both, and their ratio; the batch is divided among the devices that there are."""
    degrade = build({"name": "degrade.blind.RealEsrgan", "scale": 4})
    recipe, x = Recipe(0), crops(BATCH)
    mesh = jax.make_mesh((len(jax.devices()),), ("batch",))
    share = jax.NamedSharding(mesh, jax.P("batch"))
    batch = jax.jit(
        jax.shard_map(
            lambda key, x: jax.vmap(degrade)(key, x).y,
            mesh=mesh,
            in_specs=(jax.P("batch"), jax.P("batch")),
            out_specs=jax.P("batch"),
            check_vma=False,
        )
    )
    x_device = jax.device_put(x, share)
    keys = [jax.device_put(jax.random.split(jax.random.key(i), BATCH), share) for i in range(ROUNDS + 1)]

    def theirs():
        for one in x:
            recipe(one, degrade)

    def ours(i):
        batch(keys[i], x_device).block_until_ready()

    ours(ROUNDS), theirs()
    rounds = [(seconds(lambda i=i: ours(i)), seconds(theirs)) for i in range(ROUNDS)]
    mine, other = (statistics.median(column) for column in zip(*rounds))
    return {
        "blind_images_per_s": BATCH / mine,
        "blind_images_per_s_opencv": BATCH / other,
        "blind_speedup": statistics.median(b / a for a, b in rounds),
    }


def blind_on(devices: int) -> dict[str, float]:
    """`blind` in a process with so many devices: the CPU is cut up when JAX starts."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    command = [sys.executable, "-m", "benchmarks.degrade", "blind"]
    done = subprocess.run(command, env=os.environ | {"XLA_FLAGS": flags}, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    return json.loads(done.stdout.splitlines()[-1])


def training_step() -> float:
    """Seconds of a step of `configs/blind.py`, degradation included."""
    from configs.blind import get_config
    from restore_jax.train.config import Config
    from restore_jax.train.step import create_state, make_step

    config = Config.parse(get_config())
    method, degrade = build(config.method), build(config.degrade)
    optimizer = build(config.optim).transform(config.batch_size, config.images)
    state = create_state(method, degrade, optimizer, jax.random.key(0), (CROP, CROP, 3))
    step = jax.jit(make_step(method, degrade, optimizer, config.ema_half_life_images))
    images = np.round(crops(config.batch_size) * 255).astype(np.uint8)
    step(state, images)[1]["loss"].block_until_ready()
    return statistics.median(seconds(lambda: step(state, images)[1]["loss"].block_until_ready()) for _ in range(3))


def jpeg() -> dict[str, float]:
    """The lowest PSNR to Pillow's decode, and the share of numbers that are the same."""
    import io

    from PIL import Image

    from restore_jax.ops.jpeg import hard

    figures = {}
    ours = {s: jax.jit(lambda x, q, s=s: hard(x, q, s)) for s in ("4:4:4", "4:2:0")}
    for subsampling, code in (("4:4:4", 0), ("4:2:0", 2)):
        psnr, same, worst = [], [], 0
        for x in crops(8):
            for quality in QUALITIES:
                file = io.BytesIO()
                Image.fromarray(np.round(x * 255).astype(np.uint8)).save(
                    file, "jpeg", quality=quality, subsampling=code
                )
                theirs = np.asarray(Image.open(file)).astype(float)
                mine = np.round(np.asarray(ours[subsampling](x, float(quality))) * 255)
                difference = np.abs(mine - theirs)
                psnr.append(10 * np.log10(255**2 / max(np.mean(difference**2), 1e-4)))  # 1e-4: the same, 88 dB
                same.append(np.mean(difference == 0))
                worst = max(worst, int(difference.max()))
        suffix = "" if subsampling == "4:4:4" else "_420"
        figures[f"jpeg_psnr_db{suffix}"] = float(min(psnr))
        figures[f"jpeg_exact_share{suffix}"] = float(np.mean(same))
        figures[f"jpeg_max_diff{suffix}"] = worst
    return figures


def pairs(folder) -> list:
    """The large files of an evaluation set, each with its reduction by 4."""
    if not folder.is_dir():
        return []
    if folder.name == "BSD100":
        lines = [line.split() for line in (folder / "B100_index.txt").read_text().splitlines() if line]
        return [(folder / f"original_jpg/{b}.jpg", folder / f"LR_bicubic/X4/{a}_SRF_4_LR.png") for a, b in lines]
    large, small = (sorted((folder / part).glob("*.png")) for part in ("HR", "LR_bicubic/X4"))
    return list(zip(large, small, strict=True))


def matlab() -> dict[str, float]:
    """Our uint8 reduction against MATLAB's, over all stored pictures."""
    from PIL import Image

    from restore_jax.ops.resize import imresize_uint8

    same, total, worst, pictures = 0, 0, 0, 0
    # Set5's small files were made with MATLAB's mirrored border, the others' with the edge repeated.
    for name, boundary in (("Set5", "mirror"), ("Set14", "edge"), ("BSD100", "edge")):
        for path, small in pairs(EVAL / name):
            theirs = np.asarray(Image.open(small)).astype(int)
            x = np.asarray(Image.open(path))
            x = x[: x.shape[0] // 4 * 4, : x.shape[1] // 4 * 4]
            x, theirs = (a if a.ndim == 3 else a[..., None] for a in (x, theirs))
            mine = np.asarray(imresize_uint8(x, x.shape[0] // 4, x.shape[1] // 4, boundary)).astype(int)
            difference = np.abs(mine - theirs)
            same, total, worst = same + np.sum(difference == 0), total + difference.size, max(worst, difference.max())
            pictures += 1
    return {"exact_share": float(same / total), "max_diff": int(worst), "pictures": pictures} if pictures else {}


def laws() -> dict[str, float]:
    """The law-suite, from its own lips."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "tests/degrade/test_laws.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stdout[-3000:])
    return {
        "law_examples": len(examples("restore_jax.degrade")),
        "law_tests": int(re.findall(r"(\d+) passed", done.stdout)[-1]),
        "law_seconds": time.perf_counter() - start,
    }


def mutants() -> dict[str, int]:
    """Planted and caught."""
    done = subprocess.run([sys.executable, "-m", "tests.mutants.degrade"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def burst() -> float:
    """Decibels that 8 mosaicked frames, merged, have over the first, demosaicked; linear light, mean of 4 draws."""
    from restore_jax.degrade.burst import merge
    from restore_jax.ops.bayer import demosaic

    degrade = build({"name": "degrade.burst.Burst", "frames": 8, "pattern": "rggb", "shot": 0.01, "read": 0.02})
    x = jnp.asarray(crops(1, 128)[0])

    def psnr(x_hat):
        return -10 * jnp.log10(jnp.square(jnp.clip(x_hat, 0, 1) - x)[8:-8, 8:-8].mean())

    def gain(key):
        obs = degrade(key, x)
        return psnr(merge(obs)) - psnr(demosaic(obs.y[0], "rggb"))

    return float(jnp.mean(jax.jit(jax.vmap(gain))(jax.random.split(jax.random.key(0), 4))))


def speed() -> dict[str, float]:
    """The blind pipeline on all cores and on one device, and its share of a training step."""
    alone, figures = blind_on(1), blind_on(os.cpu_count() or 1)
    step_s = training_step()
    figures |= {f"{name}_one_device": value for name, value in alone.items()}
    return figures | {"share_of_step": BATCH / alone["blind_images_per_s"] / step_s, "step_s": step_s}


PARTS = {
    "speed": speed,
    "jpeg": jpeg,
    "matlab": lambda: {"matlab_x4": matlab()},
    "burst": lambda: {"burst_gain_db": burst()},
    "laws": laws,
    "mutants": lambda: {"mutants": mutants()},
}


def main() -> None:
    """Measures the parts that are named, or all; prints and records."""
    prepare()
    if sys.argv[1:] == ["blind"]:
        print(json.dumps(blind()))
        return
    path, figures = ROOT / "results" / "degrade.json", {}
    if sys.argv[1:] and path.exists():
        figures = json.loads(path.read_text())["figures"]
    for name in sys.argv[1:] or PARTS:
        measured = PARTS[name]()
        figures |= {k: round(v, 4) if isinstance(v, float) else v for k, v in measured.items()}
        figures["commits"] = {**figures.get("commits", {}), name: commit()}
    record("degrade", figures, " ".join(__doc__.split()))


if __name__ == "__main__":
    main()
