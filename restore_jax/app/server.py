"""The page over HTTP, on Starlette: uploads are raw bodies, answers JSON, errors one line in {"error": ...}.

    GET    /                          the page; /page.css and /page.js
    GET    /models                    names of the models, formats, limits
    POST   /jobs?model=...&name=...   the file as the body -> {"id"}
    GET    /jobs/ID                   state, progress, error
    GET    /jobs/ID/before, /after    JPEG to look at
    GET    /jobs/ID/photo?strength=0.7&suffix=.jpg&gps=keep
    DELETE /jobs/ID                   deletes its files

The page asks nothing of other hosts and its policy forbids it to; a page of another host that posts here is refused.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from restore_jax.app.jobs import Job, Jobs, Limits, Refused
from restore_jax.methods.model import is_model, located
from restore_jax.photo.photo import SUFFIXES

PAGE = Path(__file__).parent / "page"
MISSING = 'The web page needs the extra "app": pip install "restore-jax[app]".'
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
MB = 10**6


class Guard:
    """Refuses what other hosts' pages post, and adds the headers to every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        from starlette.responses import JSONResponse

        given = {name: value.decode("latin-1") for name, value in scope["headers"]}

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in HEADERS.items())]
            await send(message)

        origin = given.get(b"origin")
        if origin and scope["method"] not in ("GET", "HEAD") and urlsplit(origin).netloc != given.get(b"host"):
            refusal = JSONResponse({"error": "Only this server's own page may do that."}, 403)
            return await refusal(scope, receive, answer)
        return await self.app(scope, receive, answer)


def app(models: Mapping[str, str | Path], limits: Limits | None = None, hosts: Sequence[str] = LOOPBACK) -> Any:
    """The ASGI application; its files lie in a folder of its own, which goes with it.

    `hosts` are the names under which it may be called: another one, made to point here, would let a stranger's page
    read the answers.

    Raises:
        ImportError: Starlette is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.background import BackgroundTask
        from starlette.concurrency import run_in_threadpool
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.requests import ClientDisconnect, Request
        from starlette.responses import FileResponse, JSONResponse, Response
        from starlette.routing import Route
    except ImportError as error:
        raise ImportError(MISSING) from error

    jobs = Jobs(models, limits or Limits(), Path(tempfile.mkdtemp(prefix="restore_jax-")))

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async def sweeping() -> None:
            while True:
                await asyncio.sleep(60)
                jobs.sweep()

        task = asyncio.create_task(sweeping())
        try:
            yield
        finally:
            task.cancel()
            await run_in_threadpool(jobs.close)

    async def page(request: Request) -> Response:
        return FileResponse(PAGE / (request.url.path.strip("/") or "index.html"))

    async def about(request: Request) -> Response:
        return JSONResponse(
            {"models": list(jobs.models), "suffixes": list(SUFFIXES), "max_mb": jobs.limits.max_mb},
        )

    async def add(request: Request) -> Response:
        name, model = request.query_params.get("name", ""), request.query_params.get("model", "")
        jobs.room(model)
        too_large = Refused(f"{name}: the limit here is {jobs.limits.max_mb:g} MB. Choose a smaller file.", 413)
        if int(request.headers.get("content-length", "0")) > jobs.limits.max_mb * MB:
            raise too_large
        with tempfile.NamedTemporaryFile(dir=jobs.folder, delete=False) as file:
            upload = Path(file.name)
            try:
                async for chunk in request.stream():
                    file.write(chunk)
                    if file.tell() > jobs.limits.max_mb * MB:  # a length may be left out, or lie
                        raise too_large
                file.flush()
                return JSONResponse({"id": jobs.add(name, model, upload).id}, 201)
            except ClientDisconnect:
                return Response(status_code=400)
            finally:
                upload.unlink(missing_ok=True)

    async def state(request: Request) -> Response:
        job = jobs.find(request.path_params["id"])
        shown = ("name", "model", "state", "progress", "error", "height", "width", "suffix")
        return JSONResponse({**{what: getattr(job, what) for what in shown}, "ahead": jobs.ahead(job)})

    async def forget(request: Request) -> Response:
        jobs.forget(jobs.find(request.path_params["id"]))
        return Response(status_code=204)

    async def view(request: Request) -> Response:
        job = _done(jobs.find(request.path_params["id"]))
        return FileResponse(job.folder / f"{request.url.path.rpartition('/')[2]}.jpg", media_type="image/jpeg")

    async def photo(request: Request) -> Response:
        job = _done(jobs.find(request.path_params["id"]))
        suffix = request.query_params.get("suffix", job.suffix)
        try:
            strength = float(request.query_params.get("strength", "1"))
        except ValueError as error:
            raise Refused("Strength is a number between 0 and 1.") from error
        path = await run_in_threadpool(jobs.download, job, strength, suffix, request.query_params.get("gps") == "strip")
        name = f"{Path(job.name).stem}_restored{suffix}"
        return FileResponse(path, filename=name, background=BackgroundTask(path.unlink, missing_ok=True))

    async def refused(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, getattr(error, "status", 500))

    routes = [
        Route("/", page),
        *(Route(f"/{file}", page) for file in ("page.css", "page.js")),
        Route("/models", about),
        Route("/jobs", add, methods=["POST"]),
        Route("/jobs/{id}", state),
        Route("/jobs/{id}", forget, methods=["DELETE"]),
        Route("/jobs/{id}/photo", photo),
        Route("/jobs/{id}/before", view),
        Route("/jobs/{id}/after", view),
    ]
    allowed = Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
    return Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(Guard), allowed],
        exception_handlers={Refused: refused},
    )


def _done(job: Job) -> Job:
    if job.state != "done":
        raise Refused(job.error or "This photograph is not restored yet.", 409)
    return job


def named(paths: Sequence[str | Path]) -> dict[str, Path]:
    """Models by the names of their folders.

    Raises:
        ValueError: none is given, one is no model, or two are called the same.
    """
    if not paths:
        raise ValueError(
            "give at least one --model: a shipped one, a run's workdir, or the folder that `restore-jax import` wrote."
        )
    found: dict[str, Path] = {}
    for path in (located(path).resolve() for path in paths):
        if not is_model(path) and not (path / "checkpoints").is_dir():
            raise ValueError(
                f"{path} is no model: give a shipped one's name, a run's workdir, or the folder of an import."
            )
        if path.name in found:
            raise ValueError(f"two models are called {path.name}: rename one of the folders.")
        found[path.name] = path
    return found
