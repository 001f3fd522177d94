"""Between decoded frames and upright RGB images."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace

# AVColorSpace values that the decoder reports (libavutil/pixfmt.h).
_RGB, _UNSPECIFIED = 0, 2
# From this height on, players take unlabelled video for BT.709.
_HD_LINES = 720


@dataclass(frozen=True)
class Geometry:
    """How a decoded frame becomes an upright image of square pixels.

    Attributes:
        scaled: (width, height) of the decoded frame in square pixels, before it is turned.
        transpose: swap rows and columns first.
        flip_x: then mirror left and right.
        flip_y: then mirror top and bottom.
        rotation: the same as degrees counter-clockwise, mirroring aside.
    """

    scaled: tuple[int, int]
    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False
    rotation: int = 0

    @classmethod
    def of(cls, frame: VideoFrame, aspect: Fraction | None) -> Geometry:
        """Read the geometry from a frame and its stream's pixel aspect ratio."""
        a, b, c, d = _display_matrix(frame)
        # (x, y) goes to (a x + c y, b x + d y), y down: see FFmpeg's libavutil/display.h.
        transpose = abs(b) > abs(a)
        flip_x, flip_y = (c < 0, b < 0) if transpose else (a < 0, d < 0)
        width = max(1, round(frame.width * (aspect or 1)))
        return cls(
            (width, frame.height), transpose, flip_x, flip_y, round(frame.rotation / 90) * 90 % 360
        )

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the upright image."""
        return (self.scaled[1], self.scaled[0]) if self.transpose else self.scaled

    def upright(self, frame: VideoFrame) -> np.ndarray:
        """Convert a decoded frame to `(H, W, 3)` uint8 RGB."""
        image = frame.to_ndarray(
            format="rgb24",
            width=self.scaled[0],
            height=self.scaled[1],
            src_colorspace=_source_colorspace(frame),
        )
        if self.transpose:
            image = image.transpose(1, 0, 2)
        if self.flip_x:
            image = image[:, ::-1]
        if self.flip_y:
            image = image[::-1]
        return np.ascontiguousarray(image)


def _display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    if Type.DISPLAYMATRIX not in frame.side_data:
        return 1, 0, 0, 1
    # The library's type stub names motion vectors only.
    matrix = frame.side_data[Type.DISPLAYMATRIX]  # type: ignore[typeddict-item]
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5]
    return int(a), int(b), int(c), int(d)


def _source_colorspace(frame: VideoFrame) -> Colorspace | None:
    """What an unlabelled frame is meant to be; None leaves a label in force."""
    if frame.colorspace != _UNSPECIFIED:
        return None
    return Colorspace.ITU709 if frame.height >= _HD_LINES else Colorspace.ITU601


def from_rgb(image: np.ndarray) -> VideoFrame:
    """Convert `(H, W, 3)` uint8 RGB to a BT.709 `yuv420p` frame of even size.

    H.264 that plays everywhere has colour at half resolution, so an odd width or height cannot
    be stored; the last column or row is repeated once.
    """
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
    return frame.reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
    )
