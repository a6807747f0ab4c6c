"""Restores folders of millions of photographs on Apache Beam; what is done is not done again.

    restore-jax beam --input 'photos/**' -o restored --model MODEL
    restore-jax beam --input names.txt -o gs://bucket/out --model MODEL --runner DataflowRunner --pipeline --region R

Everything behind --pipeline goes to Beam. What could not be restored is in OUT/dead_letters.jsonl.
"""

import argparse


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("--input", required=True, metavar="GLOB|LIST.txt", help="a pattern, or a list of names in .txt")
    parser.add_argument("-o", "--output", required=True, help="a folder, here or on gs://, s3://, hdfs://")
    parser.add_argument("--model", required=True, metavar="MODEL", help="the workdir of a run, or an imported model")
    parser.add_argument("--tile", type=int, default=256, help="side of a tile, in pixels of the input (256)")
    parser.add_argument("--overlap", type=int, help="overlap of tiles, in pixels of the input (as far as the net sees)")
    parser.add_argument("--strength", type=float, default=1.0, help="0 gives the input back, 1 is the restorer (1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--suffix", default="", help="of the outputs: .png, .jpg ... (that of the input)")
    parser.add_argument("--tries", type=int, default=4, help="of reading or writing a file (4)")
    parser.add_argument("--restarts", type=int, default=2, help="of a pipeline on this machine (2)")
    parser.add_argument(
        "--runner", default="DirectRunner", help="DirectRunner, DataflowRunner, FlinkRunner, SparkRunner"
    )
    parser.add_argument("--pipeline", nargs=argparse.REMAINDER, default=[], help="the rest goes to Beam")


def run(args: argparse.Namespace) -> None:
    """Restores them."""
    import json
    import os

    from restore_jax.infer.beam import DEAD_LETTERS, Settings, model_hash, root_of, scale_out

    def whole(path: str) -> str:
        return path if "://" in path else os.path.abspath(path)

    source = whole(os.path.join(args.input, "**") if os.path.isdir(args.input) else args.input)
    settings = Settings(
        model=os.path.abspath(args.model),
        model_hash=model_hash(args.model),
        output=whole(args.output).rstrip("/"),
        root="" if source.endswith(".txt") else root_of(source),
        tile_px=args.tile,
        overlap_px=args.overlap,
        strength=args.strength,
        seed=args.seed,
        suffix=args.suffix,
        tries=args.tries,
    )
    counts = scale_out(settings, source, args.runner, args.pipeline, args.restarts)
    print(json.dumps(counts))
    if counts["failed"]:
        total = counts["done"] + counts["skipped"] + counts["failed"]
        raise SystemExit(
            f"{counts['failed']} of {total} photographs could not be restored: see {settings.output}/{DEAD_LETTERS}."
        )
