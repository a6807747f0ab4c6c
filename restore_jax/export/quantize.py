"""Fewer bits in a TFLite file: float16 or 8-bit weights, and 8-bit arithmetic, by LiteRT's quantizer.

    fp16            weights in 16 bits but for those that are too small for them, arithmetic in float32
    int8-weights    weights in 8 bits, a scale a channel; arithmetic in float32
    int8-dynamic    the same weights; convolutions round what they read to 8 bits, by its range at that moment
    int8-static     convolutions and products in 8 bits, by ranges that photographs showed; all else in float32
    int16x8         the same with 16 bits for what is read and answered, 8 for weights; LiteRT has slow kernels for it

Norms, gates and sums stay in float32: a LayerNorm in 8 bits leaves 10 to 15 dB.
"""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from restore_jax.export.graph import ExportError

MISSING = 'Quantising needs the extra "export": pip install "restore-jax[export]".'
STATIC = {"int8-static": 8, "int16x8": 16}  # bits of what convolutions and products read and answer
PRECISIONS = ("fp16", "int8-weights", "int8-dynamic", *STATIC)
PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "CONV_2D_TRANSPOSE", "FULLY_CONNECTED")


def quantized(
    content: bytes,
    precision: str,
    pictures: Mapping[str, Iterable[Mapping[str, Any]]] | None = None,
    halves: tuple[str, ...] = (),
    exact: tuple[str, ...] = (),
) -> bytes:
    """A TFLite file's content in another precision; `pictures` are inputs of each signature, for STATIC.

    `halves` are modules whose weights have 16 bits instead of 8, and which compute in float32 then, by their paths:
    "NAFNet/intro"; `exact` are operations that keep 32, by what they answer. Seconds a million parameters, and a
    run of every picture for the precisions of STATIC.

    Raises:
        ImportError: the extra is not installed.
        ValueError: an unknown precision, or one of STATIC without pictures.
        ExportError: the quantizer refuses the file.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"quantized: precision must be one of {', '.join(PRECISIONS)}, not {precision!r}.")
    if precision in STATIC and not pictures:
        raise ValueError(f'quantized: "{precision}" chooses its ranges by photographs; give pictures.')
    try:
        from litert_quantizer import qtyping, quantizer
    except ImportError as error:
        raise ImportError(MISSING) from error

    with quietly():
        work = quantizer.Quantizer(bytearray(content))
        for name in PRODUCTS:
            op = qtyping.TFLOperationName(name)
            if precision == "int8-weights":
                work.add_weight_only_config(".*", op, 8)
            elif precision == "int8-dynamic":
                work.add_dynamic_config(".*", op, 8)
            elif precision in STATIC:
                work.add_static_config(".*", op, STATIC[precision], 8)
            for scope in [".*"] if precision == "fp16" else map(within, halves):
                bits = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
                config = qtyping.OpQuantizationConfig(
                    weight_tensor_config=bits,
                    compute_precision=qtyping.ComputePrecision.FLOAT,
                    explicit_dequantize=True,
                )
                work.update_quantization_recipe(scope, op, config, "float_casting")
            for answer in exact:
                work.update_quantization_recipe(rf"^{re.escape(answer)};", op, algorithm_key="no_quantize")
        try:
            seen = extremes(work, pictures or {}) if precision in STATIC else None
            result = work.quantize(seen, enable_progress_bar=False, enable_progress_report=False)
        except (ValueError, RuntimeError) as error:
            raise ExportError(f"TFLite cannot hold this graph as {precision}: {error}") from error
    return bytes(result.quantized_model or b"")


def extremes(work: Any, pictures: Mapping[str, Iterable[Mapping[str, Any]]]) -> dict[str, Any]:
    """The least and the largest value of each array in all pictures, for the quantizer `work`.

    Its own statistics over several pictures are a moving average, 0.95 of what was: after eight they are still those of
    the first, and what is brighter in the others is clipped. So it sees one at a time.
    """
    seen: dict[str, Any] = {}
    for signature, some in pictures.items():
        for one in some:
            for name, new in work.calibrate({signature: [dict(one)]}, num_threads=2).items():
                old = seen.setdefault(name, new)
                if "min" in new:
                    bounds = {"min": np.minimum(old["min"], new["min"]), "max": np.maximum(old["max"], new["max"])}
                    seen[name] = {**old, **bounds}
    return seen


def within(module: str) -> str:
    """The regular expression of a module's path that the quantizer looks for among the names of what it writes."""
    return rf"(^|[/;]){re.escape(module)}([/;]|$)"


@contextlib.contextmanager
def quietly() -> Any:
    """Keep the quantizer's progress and remarks off the user's screen; errors are exceptions, and pass."""
    logging.getLogger("absl").setLevel(logging.ERROR)
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keeping all activations in memory, which is what calibration does
        yield
