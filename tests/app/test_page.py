"""The page in a browser: Chromium, driven by the W3C's WebDriver protocol."""

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request

import pytest
from PIL import Image

from restore_jax.app.server import app, named

uvicorn = pytest.importorskip("uvicorn", reason='the extra "app" is not installed')
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name for a reference


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


class Browser:
    """A session of Chromium."""

    def __init__(self, port, folder):
        self.root = f"http://127.0.0.1:{port}"
        prefs = {"download.default_directory": str(folder)}
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {**options, "prefs": prefs},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        self.root += f"/session/{self.ask('/session', {'capabilities': {'alwaysMatch': wanted}})['sessionId']}"

    def ask(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data, {"content-type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def run(self, script):
        return self.ask("/execute/sync", {"script": f"return {script}", "args": []})

    def type(self, selector, text):
        found = self.ask("/element", {"using": "css selector", "value": selector})[ELEMENT]
        self.ask(f"/element/{found}/value", {"text": text})

    def click(self, selector):
        found = self.ask("/element", {"using": "css selector", "value": selector})[ELEMENT]
        self.ask(f"/element/{found}/click", {})

    def until(self, script, seconds=60.0):
        end = time.monotonic() + seconds
        while not (answer := self.run(script)):
            assert time.monotonic() < end, (script, self.run("document.body.innerText"))
            time.sleep(0.05)
        return answer


@pytest.fixture
def browser(tmp_path):
    driver = shutil.which("chromedriver")
    if driver is None or shutil.which("chromium") is None:
        pytest.skip("Chromium and its driver are not installed (Debian: chromium, chromium-driver)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL) as started:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.05)
        session = Browser(port, tmp_path)
        yield session
        session.ask("", method="DELETE")
        started.terminate()


def test_a_photograph_goes_up_is_compared_and_comes_down(site, browser, holiday, tmp_path):
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
