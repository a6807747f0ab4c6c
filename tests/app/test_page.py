"""The page in a browser."""

import socket
import threading
import time

import pytest
from PIL import Image

from restore_jax.app.server import app, named
from tests.app.chromium import browser  # noqa: F401

uvicorn = pytest.importorskip("uvicorn", reason='the extra "app" is not installed')


@pytest.fixture
def site(model):
    """The server, in a thread."""
    server = uvicorn.Server(uvicorn.Config(app(named([model])), log_level="warning"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()


def test_a_photograph_goes_up_is_compared_and_comes_down(site, browser, holiday, tmp_path):  # noqa: F811
    browser.ask("/url", {"url": f"{site}/"})
    browser.until("document.querySelector('#model').length == 1")

    bad = tmp_path / "bad.jpg"
    bad.write_bytes(holiday.read_bytes()[:700])
    browser.type("#file", str(bad))
    said = browser.until("!document.querySelector('#error').hidden && document.querySelector('#error').textContent")
    assert said.startswith("bad.jpg: ")
    assert "\n" not in said

    browser.type("#file", str(holiday))
    browser.until("!document.querySelector('#result').hidden && document.querySelector('#after').naturalWidth")
    assert browser.run("document.querySelector('#error').hidden")
    assert browser.run("[before, after].map(image => [image.naturalWidth, image.naturalHeight])") == [[40, 24]] * 2
    for slider, value in (("at", 25), ("strength", 60)):
        browser.run(f"({slider}.value = {value}, {slider}.dispatchEvent(new Event('input')))")
    assert browser.run("document.querySelector('#clip').style.clipPath") == "inset(0px 0px 0px 25%)"
    assert browser.run("getComputedStyle(after).opacity") == "0.6"

    browser.click("#download")
    browser.until("document.querySelector('#saving').textContent.startsWith('Saved as holiday_restored.jpg')")
    saved = tmp_path / "holiday_restored.jpg"
    for _ in range(200):
        if saved.exists():
            break
        time.sleep(0.05)
    with Image.open(saved) as picture:
        assert picture.getexif()[0x010F] == "A camera"

    browser.ask("/refresh", {})  # the address names the result
    browser.until("!document.querySelector('#result').hidden && document.querySelector('#after').naturalWidth")
    asked = browser.run("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert len(asked) >= 4
    assert all(name.startswith(site) or name.startswith("data:") for name in asked)
    assert browser.ask("/se/log", {"type": "browser"}) == []  # no error, and nothing that the policy forbids

    browser.click("#again")
    assert browser.run("document.querySelector('#result').hidden && location.hash == ''")
