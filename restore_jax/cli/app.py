"""A web page on this machine for restoring photographs: upload, compare, choose the strength, download.

    restore-jax app
    restore-jax app --model denoise models/sharpen

It listens to this machine alone unless --host says otherwise, and deletes what was uploaded when it ends.
"""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument(
        "--model",
        nargs="+",
        default=[],
        metavar="MODEL",
        help="workdirs of runs, imported or shipped models (all shipped)",
    )
    parser.add_argument("--port", type=int, default=7860, help="0 for any that is free (7860)")
    parser.add_argument("--host", default="127.0.0.1", help="the address it listens to (127.0.0.1)")
    parser.add_argument("--max-mb", type=float, default=64.0, help="of an upload (64)")
    parser.add_argument("--max-megapixels", type=float, default=64.0, help="of a restored photograph (64)")


def run(args: argparse.Namespace) -> None:
    """Serves it until Ctrl-C."""
    import contextlib
    import socket

    from restore_jax import zoo
    from restore_jax.app.jobs import Limits
    from restore_jax.app.server import LOOPBACK, MISSING, app, named
    from restore_jax.evaluate.demo import PRIOR
    from restore_jax.infer.task import card_of, task_of

    try:
        import uvicorn
    except ImportError as error:
        raise ImportError(MISSING) from error

    shipped = [name for name in zoo.names() if task_of(card_of(zoo.FOLDER / name)) != PRIOR]
    models, limits = named(args.model or shipped), Limits(max_mb=args.max_mb, max_megapixels=args.max_megapixels)
    own = args.host in LOOPBACK
    family = socket.AF_INET6 if ":" in args.host else socket.AF_INET
    with socket.create_server((args.host, args.port), family=family) as listening:
        host = f"[{args.host}]" if ":" in args.host else args.host
        print(f"The page is at http://{host}:{listening.getsockname()[1]} ; Ctrl-C ends it.", flush=True)
        if not own:
            print("Whoever reaches this port can use it: there is no password.", flush=True)
        site = app(models, limits, LOOPBACK if own else ("*",))
        server = uvicorn.Server(uvicorn.Config(site, log_level="warning", server_header=False))
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
