"""Restores a video: audio, time stamps, rotation and colours stay; goes on where it was stopped."""

import argparse
from pathlib import Path
from typing import Any

from restore_jax import zoo
from restore_jax.cli.arguments import level


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("input", type=Path, metavar="IN")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, help="a file: .mp4, .mov, .mkv or what FFmpeg writes"
    )
    parser.add_argument("--model", metavar="MODEL", help="the workdir of a run, or an imported model")
    tasks = ("auto", "photo", "denoise", "sr2", "sr4", "photo-sr4", "deblur", "jpeg")
    parser.add_argument("--task", choices=tasks, default="auto", help="auto looks at the first frame (auto)")
    parser.add_argument("--models", default=str(zoo.FOLDER), metavar="FOLDER", help="where tasks find their models")
    parser.add_argument("--strength", type=float, default=1.0, help="0 the input, 1 the restorer (1)")
    parser.add_argument("--grain", type=level, default=0.0, metavar="STD", help="grain on top, such as 3/255 (0)")
    parser.add_argument("--seed", type=int, default=0, help="of the noise (0)")
    parser.add_argument("--fresh-noise", action="store_true", help="other noise in each frame; it is fixed otherwise")
    parser.add_argument("--codec", default="h264", choices=("h264", "hevc", "av1", "ffv1", "prores"))
    parser.add_argument("--crf", type=int, help="constant rate factor: lower is better and larger")
    parser.add_argument("--start", type=float, metavar="SECONDS", help="from here on")
    parser.add_argument("--end", type=float, metavar="SECONDS", help="up to here, in seconds of the input")
    parser.add_argument("--no-audio", action="store_true")
    parser.add_argument("--segment-seconds", type=float, default=10.0, help="a finished piece is never done again (10)")
    parser.add_argument("--batch", type=int, default=4, help="frames at a time (4)")
    parser.add_argument("--tile", type=int, help="side of a tile, in pixels of the input; whole frames otherwise")
    parser.add_argument("--no-report", action="store_true", help="do not measure flicker afterwards")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the report as JSON, frame by frame")
    parser.add_argument("--overwrite", action="store_true", help="an output that is there already")


def run(args: argparse.Namespace) -> None:
    """Restores it, and says whether it flickers."""
    import json
    import sys

    import jax
    from tqdm import tqdm

    from restore_jax.evaluate.flicker import flicker
    from restore_jax.infer.clip import Clip
    from restore_jax.infer.film import Cut, restore_film
    from restore_jax.infer.load import load
    from restore_jax.infer.task import Finish, stamp
    from restore_jax.infer.tile import Tile
    from restore_jax.photo.mux import Encoding
    from restore_jax.photo.video import open_video

    if args.output.exists() and not args.overwrite:
        raise ValueError(f"{args.output} exists already: give --overwrite, or another name.")
    encoding, cut = Encoding(args.codec, args.crf), Cut(args.start, args.end, args.segment_seconds)
    video = open_video(args.input)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    model = chosen(args, video)
    restorer = Finish(strength=args.strength, grain=args.grain)(load(model))
    if args.tile or video.width * video.height > 2**20:
        restorer = Tile(restorer, args.tile)
    clip = Clip(restorer, args.batch, args.fresh_noise)
    say = lambda text: tqdm.write(text, file=sys.stderr)  # noqa: E731
    seconds = float(video.count / video.rate)
    part = max(0.0, min(args.end or seconds, seconds) - (args.start or 0.0))
    with tqdm(total=max(1, round(part * video.rate)), desc=args.input.name, unit="frame") as bar:
        try:
            made = restore_film(
                jax.random.key(args.seed), clip, args.input, args.output,
                encoding=encoding, cut=cut, audio=not args.no_audio, say=say,
                settings={"model": stamp(model), "strength": args.strength, "grain": args.grain, "tile": args.tile},
                progress=lambda done, restored: bar.update(done - bar.n),
            )  # fmt: skip
        except KeyboardInterrupt:
            bar.close()
            print(f"restore-jax: stopped; the same command goes on with {args.output}.", file=sys.stderr)
            raise SystemExit(130) from None
        bar.total = bar.n
    report = {"input": str(args.input), "output": str(args.output), "model": str(model), "frames": bar.n}
    if not args.no_report and bar.n >= 2:
        before = (video.shown(frame) for frame in video.frames(args.start, args.end))
        found = flicker(before, (made.shown(frame) for frame in made.frames()), bar.n)
        print(found.line())
        report["flicker"] = found.json()
    if args.json:
        partial = args.json.with_name(f".{args.json.name}.partial")
        partial.write_text(json.dumps(report, indent=1) + "\n")
        partial.replace(args.json)


def chosen(args: argparse.Namespace, video: Any) -> Path:
    """The model: the given one, that of the task, or that of what the first frame suffers from."""
    from restore_jax.infer.task import Damage, NoModel, model_for, models_in

    if args.model:
        return Path(args.model)
    if args.task != "auto":
        return model_for(args.task, args.models)
    damage = Damage.of(video.shown(next(video.frames(args.start, args.end))))
    found = models_in(args.models)
    task = next((task for task in damage.tasks if task in found), None)
    if task is None:
        wanted = ", ".join(damage.tasks) or "nothing"
        raise NoModel(
            f"{args.input}: its first frame asks for {wanted} ({damage}), and {args.models} has models for "
            f"{', '.join(found) or 'nothing'}: give --model, or a --task."
        )
    print(f"{args.input}: {damage}: {task}")
    return found[task]
