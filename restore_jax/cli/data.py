"""Looks through a folder of photographs for what should not be trained on."""

import argparse
import json
from pathlib import Path


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    parser.add_argument("what", choices=("check",))
    parser.add_argument("folder", type=Path, help="the photographs, read recursively")
    parser.add_argument(
        "--against", type=Path, nargs="+", default=[], metavar="EVAL_FOLDER", help="photographs to be measured on"
    )
    parser.add_argument("--least-px", type=int, default=64, help="a shorter side is called tiny (%(default)s)")
    parser.add_argument(
        "--threshold", type=int, default=8, help="bits of 64 in which near duplicates may differ (%(default)s)"
    )
    parser.add_argument("--workers", type=int, default=0, help="threads (as many as there are cores)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> None:
    """Checks; status 1 if anything is found."""
    from restore_jax.data.check import as_dict, check

    report = check(args.folder, args.against, args.least_px, args.threshold, args.workers)
    print(json.dumps(as_dict(report), indent=2) if args.json else report)
    if not report.is_clean:
        raise SystemExit(1)
