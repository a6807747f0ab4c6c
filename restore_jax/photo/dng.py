"""Linear DNG: the fields that tell a raw converter that a TIFF of 16 bits holds light, in sRGB's primaries.

A converter shows it as it is: as-shot neutral is (1, 1, 1), the tone curve straight, no further exposure.

Reference: Adobe, Digital Negative Specification 1.4, chapters 4 and 6.
"""

import numpy as np
from jaxtyping import Float32, UInt16

from restore_jax.photo import tiff

# XYZ under D65 to linear sRGB (IEC 61966-2-1): the "camera" whose colours the samples are.
XYZ_TO_CAMERA = ((32406, -15372, -4986), (-9689, 18758, 415), (557, -2040, 10570))
LINEAR_RAW, D65 = 34892, 21


def linear(x: Float32[np.ndarray, "h w 3"]) -> UInt16[np.ndarray, "h w 3"]:
    """sRGB as light, black 0 and white 65535.

    16 bits of light hold 8 bits of sRGB exactly and 16 bits of it in all but the darkest two hundredths.
    """
    x = np.clip(x, 0, 1)
    light = np.where(x > 0.04045, ((np.maximum(x, 0.04045) + 0.055) / 1.055) ** np.float32(2.4), x / 12.92)
    return np.floor(light * 65535 + 0.5).astype(np.uint16)


def fields(order: str, model: str) -> dict[int, tuple[int, int, bytes] | bytes]:
    """The fields beyond those of a TIFF of 16-bit RGB."""
    byte, text, short, ratio, signed = 1, tiff.ASCII, tiff.SHORT, tiff.RATIONAL, tiff.SRATIONAL

    def pack(kind: int, values: tuple | bytes) -> tuple[int, int, bytes]:
        return tiff.packed(kind, values, order)

    return {
        254: pack(tiff.LONG, (0,)),
        262: pack(short, (LINEAR_RAW,)),
        274: pack(short, (1,)),
        50706: pack(byte, (1, 4, 0, 0)),
        50707: pack(byte, (1, 1, 0, 0)),
        50708: pack(text, model.encode("ascii", "replace") + b"\0"),
        50714: pack(short, (0, 0, 0)),  # black
        50717: pack(short, (65535, 65535, 65535)),  # white
        50721: pack(signed, tuple((v, 10000) for row in XYZ_TO_CAMERA for v in row)),
        50728: pack(ratio, ((1, 1),) * 3),
        50730: pack(signed, ((0, 1),)),  # baseline exposure
        50778: pack(short, (D65,)),
        50940: pack(tiff.FLOAT, (0.0, 0.0, 1.0, 1.0)),  # the tone curve
        51110: pack(tiff.LONG, (1,)),  # no black of the converter's own
    }
