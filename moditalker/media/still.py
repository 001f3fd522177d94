"""Still pictures as a reference."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from moditalker.errors import MediaError
from moditalker.media.opening import check_readable

# The motion rate inside AToM, so a still becomes a video without resampling.
IMAGE_RATE = Fraction(25)

_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "TIFF", "PPM", "AVIF", "GIF")


def open_image(path: str | Path) -> np.ndarray | None:
    """Read a still, upright, as `(H, W, 3)` uint8 RGB; None where the file is no still.

    The EXIF orientation is applied; transparent parts become white.

    Raises:
        MediaError: the file is missing, or is a damaged image.
    """
    path = check_readable(path)
    try:
        with Image.open(path, formats=[name for name in _FORMATS if _known(name)]) as image:
            if getattr(image, "is_animated", False) and image.format in ("GIF", "WEBP", "AVIF"):
                return None
            return _to_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        return None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MediaError(f"{path} is a damaged or oversized image ({error}).") from error


def _known(name: str) -> bool:
    Image.init()
    return name in Image.OPEN


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I;16"):
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(ground, image)
    return np.array(image.convert("RGB"))
