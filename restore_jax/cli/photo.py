"""Restores photographs: files, folders, patterns, or the standard input; done files are skipped, bad ones named.

Exit status: 0 all done, 1 some failed, 2 nothing to do or a mistake in the command, 130 stopped by Ctrl-C.
"""

import argparse
import sys

from restore_jax import zoo
from restore_jax.cli.arguments import level, tiles


def arguments(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    tasks = ("auto", "photo", "denoise", "sr2", "sr4", "photo-sr4", "deblur", "jpeg", "inpaint")
    parser.add_argument("inputs", nargs="+", metavar="IN", help="files, folders, patterns; - for the standard input")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="a file, a folder, or - (with --format)")
    model = parser.add_argument_group("what is done")
    model.add_argument("--task", choices=tasks, default="auto", help="auto looks at the damage (auto)")
    model.add_argument("--model", metavar="MODEL", help="a run's workdir, an imported or shipped model, a .tflite")
    model.add_argument("--models", default=str(zoo.FOLDER), metavar="FOLDER", help="where tasks find their models")
    model.add_argument("--mask", metavar="FILE", help="for inpaint: white is missing")
    model.add_argument("--strength", type=float, default=1.0, help="0 gives the input back, 1 the restoration (1)")
    model.add_argument("--samples", type=int, default=1, metavar="K", help="the mean of K samples (1)")
    model.add_argument("--ensemble", action="store_true", help="the mean over eight turned and mirrored pictures")
    model.add_argument("--colour", action="store_true", help="keeps the input's colours and shading")
    model.add_argument("--grain", type=level, default=0.0, metavar="STD", help="grain on top, such as 3/255 (0)")
    model.add_argument("--seed", type=int, default=0, help="of everything that is drawn (0)")
    files = parser.add_argument_group("files")
    files.add_argument("--suffix", default="", help="added to the names: _restored")
    files.add_argument("--format", default="", metavar="KIND", help="jpg, png, tif, webp, avif, heic, dng")
    files.add_argument("--quality", type=int, default=95, help="of JPEG, AVIF and HEIC, 1 to 100 (95)")
    files.add_argument("--strip-gps", action="store_true", help="without the place")
    files.add_argument("--strip-all", action="store_true", help="without EXIF and XMP; the colour profile stays")
    files.add_argument("--overwrite", action="store_true", help="replaces what is there, done or not")
    files.add_argument("--report", metavar="FILE.html", help="a page that shows what was done, of the first 20 files")
    machine = parser.add_argument_group("machine")
    machine.add_argument("--runtime", choices=("jax", "tflite"), default="jax", help="tflite: XNNPACK on the CPU (jax)")
    machine.add_argument("--device", metavar="KIND[:N]", help="cpu, gpu or tpu, and which; as JAX chooses")
    machine.add_argument("--jobs", type=int, default=2, metavar="N", help="threads that read, and that write (2)")
    machine.add_argument("-v", "--verbose", action="store_true", help="says of each file what was found and done")
    tiles(machine)


def run(args: argparse.Namespace) -> None:
    """Restores them."""
    from restore_jax.evaluate.photographs import Photographs

    try:
        work = Photographs.of(vars(args))
    except ValueError as error:
        print(f"restore-jax photo: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    status = work.run()
    if status:
        raise SystemExit(status)
