"""Chromium, driven by the W3C's WebDriver protocol."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request

import pytest

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name for a reference


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
