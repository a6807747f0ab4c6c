"""The page over HTTP: a photograph goes up and comes down with its metadata; strangers and bad files are refused."""

import io
import time

import pytest
from PIL import Image

from restore_jax import zoo
from restore_jax.app.jobs import Limits
from restore_jax.app.server import HEADERS, PAGE, app, named

pytest.importorskip("starlette", reason='the extra "app" is not installed')
pytest.importorskip("httpx2", reason="httpx2, which calls the page, is not installed")

HERE = "http://localhost"


@pytest.fixture(scope="module")
def client(model):
    from starlette.testclient import TestClient

    with TestClient(app(named([model]), Limits(max_mb=0.1)), base_url=HERE) as client:
        yield client


def sent(client, content, name, model="tiny"):
    return client.post("/jobs", params={"name": name, "model": model}, content=content)


def state_of(client, id):
    end = time.monotonic() + 120
    while True:
        state = client.get(f"/jobs/{id}").json()
        if state["state"] in ("done", "failed"):
            return state
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture(scope="module")
def done(client, holiday):
    answer = sent(client, holiday.read_bytes(), "holiday.jpg")
    assert answer.status_code == 201
    state = state_of(client, answer.json()["id"])
    assert (state["state"], state["progress"], state["height"], state["width"]) == ("done", 1.0, 24, 40)
    assert state["suffix"] == ".jpg"
    return answer.json()["id"]


def test_a_photograph_comes_back_with_its_metadata(client, done, holiday):
    answer = client.get(f"/jobs/{done}/photo", params={"strength": "0.5", "suffix": ".jpg"})
    assert 'filename="holiday_restored.jpg"' in answer.headers["content-disposition"]
    with Image.open(io.BytesIO(answer.content)) as back, Image.open(holiday) as original:
        assert back.size == original.size
        assert back.getexif()[0x010F] == "A camera"
        assert back.getexif().get_ifd(0x8825)[1] == "N"
        assert back.info["icc_profile"] == original.info["icc_profile"]


def test_the_place_is_left_out_where_that_is_wanted(client, done):
    answer = client.get(f"/jobs/{done}/photo", params={"gps": "strip"})
    with Image.open(io.BytesIO(answer.content)) as back:
        assert back.getexif()[0x010F] == "A camera"
        assert not back.getexif().get_ifd(0x8825)


def test_strength_0_gives_the_pixels_back(client, done, holiday):
    answer = client.get(f"/jobs/{done}/photo", params={"strength": "0", "suffix": ".png"})
    with Image.open(io.BytesIO(answer.content)) as back, Image.open(holiday) as original:
        assert back.format == "PNG"
        assert back.tobytes() == original.tobytes()


@pytest.mark.parametrize("which", ["before", "after"])
def test_there_are_pictures_to_look_at(client, done, which):
    answer = client.get(f"/jobs/{done}/{which}")
    assert answer.headers["content-type"] == "image/jpeg"
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.size == (40, 24)


@pytest.mark.parametrize(
    ("content", "name", "asked", "status", "said"),
    [
        (b"x", "a.jpg", "nothing", 404, "There is no model called 'nothing'"),
        (b"x" * 100_001, "a.jpg", "tiny", 413, "a.jpg: the limit here is 0.1 MB"),
        (iter([b"x" * 60_000] * 2), "a.jpg", "tiny", 413, "a.jpg: the limit here is 0.1 MB"),
    ],
)
def test_uploads_that_are_refused(client, content, name, asked, status, said):
    answer = sent(client, content, name, asked)
    assert answer.status_code == status
    assert answer.json()["error"].startswith(said)


def test_a_bad_file_is_one_line(client, holiday):
    state = state_of(client, sent(client, holiday.read_bytes()[:700], "cut.jpg").json()["id"])
    assert state["state"] == "failed"
    assert state["error"].startswith("cut.jpg: ")
    assert "\n" not in state["error"]


def test_what_is_deleted_is_gone(client, holiday):
    id = sent(client, holiday.read_bytes(), "b.jpg").json()["id"]
    assert client.delete(f"/jobs/{id}").status_code == 204
    assert client.get(f"/jobs/{id}").status_code == 404
    assert client.get(f"/jobs/{id}/photo").json()["error"].startswith("This photograph is no longer here")


@pytest.mark.parametrize("query", [{"strength": "much"}, {"strength": "2"}, {"suffix": ".exe"}])
def test_a_download_that_is_refused(client, done, query):
    answer = client.get(f"/jobs/{done}/photo", params=query)
    assert answer.status_code == 400
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize("file", ["", "page.css", "page.js"])
def test_the_page_asks_no_other_host(client, file):
    answer = client.get(f"/{file}")
    assert answer.status_code == 200
    assert "http://" not in answer.text
    assert "https://" not in answer.text
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "http" not in HEADERS["content-security-policy"]
    assert answer.text == (PAGE / (file or "index.html")).read_text()


def test_other_files_are_not_served(client):
    assert client.get("/server.py").status_code == 404
    assert client.get("/../server.py").status_code == 404


def test_strangers_are_refused(client, holiday):
    """Another site's page that posts here, and another name that was made to point here."""
    foreign = client.post("/jobs?model=tiny&name=a.jpg", content=b"x", headers={"origin": "https://elsewhere.example"})
    assert foreign.status_code == 403
    own = client.post("/jobs?model=tiny&name=a.jpg", content=holiday.read_bytes(), headers={"origin": HERE})
    assert own.status_code == 201
    assert client.get("/models", headers={"host": "elsewhere.example"}).status_code == 400
    assert all(client.get("/models", headers={"host": host}).status_code == 200 for host in ("[::1]:1", "127.0.0.1:1"))


def test_models_are_called_after_their_folders(model, tmp_path):
    assert list(named([model])) == ["tiny"]
    assert named([zoo.names()[0]]) == {zoo.names()[0]: zoo.FOLDER / zoo.names()[0]}
    with pytest.raises(ValueError, match="give at least one --model"):
        named([])
    with pytest.raises(ValueError, match="is no model"):
        named([tmp_path])
    with pytest.raises(ValueError, match="two models are called tiny"):
        named([model, model])


def test_files_go_with_the_server(model, holiday, tmp_path, monkeypatch):
    from starlette.testclient import TestClient

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with TestClient(app(named([model])), base_url=HERE) as client:
        id = sent(client, holiday.read_bytes(), "a.jpg").json()["id"]
        state_of(client, id)
        files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
        assert files == {"upload", "x_hat.npy", "before.jpg", "after.jpg"}
        client.get(f"/jobs/{id}/photo")
        assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == files  # the download was deleted
    assert list(tmp_path.iterdir()) == []
