"""Random and running access to the frames of a video, forwards and backwards, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import av
import numpy as np

from moditalker.errors import MediaError
from moditalker.media.info import (
    VideoIndex,
    VideoInfo,
    image_info,
    index_frames,
    read_info,
    video_stream,
)
from moditalker.media.opening import decode, describe, open_input
from moditalker.media.pixels import Geometry
from moditalker.media.still import open_image

if TYPE_CHECKING:
    from av.container import InputContainer
    from typing_extensions import Self

# Images kept for running backwards: enough to make seeking rare; 27 frames of 1080p.
_PIECE_BYTES = 160 * 2**20
_PIECE_FRAMES = (4, 64)


class FrameSource:
    """The frames of a video or of an image, upright, `(H, W, 3)` uint8 RGB.

    Frames are decoded when asked for. Forward and backward runs are both cheap: a backward run
    decodes a piece from the key frame before it and keeps the piece, at most 160 MB (or 4 frames).

    Args:
        path: a video or an image.
        tolerant: accept a damaged file for the frames that it still has.

    Raises:
        MediaError: missing or damaged.
        ReferenceVideoError: no video track.
    """

    def __init__(self, path: str | Path, *, tolerant: bool = False) -> None:
        self._closing = ExitStack()
        self._frames: _Frames
        image = open_image(path)
        if image is not None:
            self._frames = _Still(image)
            self.info: VideoInfo = image_info(Path(path), image.shape[1], image.shape[0])
            return
        with ExitStack() as stack:
            container = stack.enter_context(open_input(path))
            index = index_frames(path, container, tolerant)
            self.info = read_info(Path(path), container, index)
            decoder = _Decoder(container, video_stream(path, container), index)
            self._frames = _Decoded(self.info, decoder)
            self._closing = stack.pop_all()

    def __len__(self) -> int:
        return self.info.frame_count

    def __getitem__(self, index: int) -> np.ndarray:
        """Frame `index`, `(H, W, 3)` uint8 RGB; negative counts from the end."""
        count = len(self)
        if not -count <= index < count:
            raise IndexError(f"frame {index} of {count}")
        return self._frames.get(index % count)

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.read(range(len(self)))

    def read(self, indices: Iterable[int]) -> Iterator[np.ndarray]:
        """Yield frames in the order of `indices`, which may run back and forth."""
        for index in indices:
            yield self[int(index)]

    def close(self) -> None:
        """Close the file and let its frames go."""
        self._frames.close()
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Frames(Protocol):
    def get(self, index: int) -> np.ndarray: ...

    def close(self) -> None: ...


class _Still:
    """An image, as a video of one frame."""

    def __init__(self, image: np.ndarray) -> None:
        self._image = image

    def get(self, index: int) -> np.ndarray:
        return self._image.copy()

    def close(self) -> None:
        """Nothing is open."""


class _Decoded:
    """The frames of a video, with a piece of them kept as images.

    The piece is one array for the whole life: holding the decoder's own frames instead makes the
    heap grow without bound, for every seek leaves holes in it.
    """

    def __init__(self, info: VideoInfo, decoder: _Decoder) -> None:
        self._path = info.path
        self._decoder = decoder
        self._geometry: Geometry | None = None
        size = info.height * info.width * 3
        length = int(np.clip(_PIECE_BYTES // size, *_PIECE_FRAMES))
        self._piece = np.empty((length, info.height, info.width, 3), np.uint8)
        self._kept = range(0)

    def get(self, index: int) -> np.ndarray:
        if index not in self._kept:
            self._fill(index)
        return self._piece[index - self._kept.start].copy()

    def close(self) -> None:
        """Free the decoder's frames: they sit in a cycle that only the collector would find."""
        self._decoder.stop()
        self._piece = self._piece[:0].copy()
        self._kept = range(0)

    def _fill(self, index: int) -> None:
        """Decode `index`, and where it lies before the last piece, what comes before it too."""
        backward = index < self._kept.start
        first = max(0, index - len(self._piece) + 1) if backward else index
        self._kept = range(0)
        try:
            for slot, image in enumerate(self._images(first, index)):
                self._piece[slot] = image
        except av.error.FFmpegError as error:
            raise MediaError(f"{self._path} cannot be decoded ({describe(error)}).") from error
        self._kept = range(first, index + 1)

    def _images(self, first: int, last: int) -> Iterator[np.ndarray]:
        """Yield one image for each number; one that a damaged file lacks is the one before."""
        nearest: av.VideoFrame | None = None
        due = first
        for number, frame in self._decoder.run(first, last):
            for _ in range(due, min(number, last + 1)):
                yield self._upright(nearest or frame)
            if first <= number <= last:
                yield self._upright(frame)
            nearest, due = frame, max(due, number + 1)
        if nearest is None:
            # The file ends early, and the decoder stood there: start again from the key frame.
            for _, frame in self._decoder.run(first, last):
                nearest = frame
        for missing in range(due, last + 1):
            if nearest is None:
                raise MediaError(f"{self._path} is damaged: frame {missing} cannot be decoded.")
            yield self._upright(nearest)

    def _upright(self, frame: av.VideoFrame) -> np.ndarray:
        if self._geometry is None:
            self._geometry = Geometry.of(frame, self._decoder.stream.sample_aspect_ratio)
        return self._geometry.upright(frame)


class _Decoder:
    """A decoder that knows which frame it will give next."""

    def __init__(
        self, container: InputContainer, stream: av.VideoStream, index: VideoIndex
    ) -> None:
        self.stream = stream
        self._container = container
        self._index = index
        self._keys = np.flatnonzero(index.keys)
        self._next = 0
        self._frames: Iterator[av.VideoFrame]
        self.stop()

    def run(self, first: int, last: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield (number, frame) from at or before `first` up to `last`."""
        if self._key_before(first) > self._next or self._next > first:
            yield from self._seek(first)
        while self._next <= last:
            step = self._step()
            if step is None:
                return
            yield step

    def stop(self) -> None:
        """Forget where the decoder stands."""
        self._next = len(self._index.stamps)
        self._frames = iter(())

    def _key_before(self, number: int) -> int:
        position = int(np.searchsorted(self._keys, number, side="right")) - 1
        return int(self._keys[position]) if position >= 0 else 0

    def _seek(self, number: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Jump to a key frame from which `number` can be decoded, and yield what comes first.

        Seeking is only as good as the container's index, and frames before an open key frame
        cannot be decoded from it; so go back until the first frame is early enough.
        """
        key = self._key_before(number)
        while True:
            self._restart(key)
            step = self._step()
            if key == 0 or (step is not None and step[0] <= number):
                break
            key = self._key_before(key - 1)
        if step is not None:
            yield step

    def _restart(self, key: int) -> None:
        stamp = int(self._index.stamps[key])
        # The first packets may have to be decoded though they are not shown (edit lists).
        offset = stamp if key else min(stamp, 0)
        self._container.seek(offset, stream=self.stream, backward=True)
        self._frames = decode(self._container, self.stream)

    def _step(self) -> tuple[int, av.VideoFrame] | None:
        for frame in self._frames:
            number = self._number(frame)
            self._next = number + 1
            return number, frame
        self.stop()
        return None

    def _number(self, frame: av.VideoFrame) -> int:
        """Which of the indexed frames this is: the one with the nearest time."""
        stamps = self._index.stamps
        stamp = frame.pts if frame.pts is not None else frame.dts
        if stamp is None:
            return min(self._next, len(stamps) - 1)
        after = int(np.searchsorted(stamps, stamp))
        if after == len(stamps) or (after and stamp - stamps[after - 1] < stamps[after] - stamp):
            after -= 1
        return after
