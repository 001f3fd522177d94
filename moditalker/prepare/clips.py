"""One video to clips: shot cuts, 25 Hz, tracked face, crops, frontal landmarks, speech features."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from moditalker.aligner import crop_windows, fit_affine, frontalize, shots_of, smooth_affine
from moditalker.errors import AudioError, MediaError, MoDiTalkerError
from moditalker.faces import FaceDetector, track_face
from moditalker.media import FrameSource, atomic_output, read_audio, write_video
from moditalker.prepare.sources import Source
from moditalker.speech import SpeechEncoder, file_name

RATE = 25.0
SIZE = 256
LEAST_SECONDS = 1.0
CUT = 40.0  # mean change of a small picture, in levels, from one frame to the next
CUT_OVER_MEDIAN = 6.0


@dataclass(frozen=True)
class Entry:
    """One line of the manifest."""

    id: str
    source: str
    status: str
    "kept or left_out."
    reason: str
    frames: int
    seconds: float
    has_audio: bool
    size: int
    person: str


def left_out(source: Source, name: str, reason: str, frames: int = 0) -> Entry:
    """The entry of a clip that is not used."""
    return Entry(
        name,
        str(source.path),
        "left_out",
        reason,
        frames,
        frames / RATE,
        False,
        SIZE,
        source.person,
    )


def prepare_source(
    source: Source, out: Path, detector: FaceDetector, encoder: SpeechEncoder, face: str
) -> list[Entry]:
    """All clips of one video, written under `out`. What cannot be used is said in the entries."""
    try:
        with FrameSource(source.path) as frames:
            frames.info.require_moving()
            places = at_25_hz(np.asarray(frames.info.times), frames.info.duration)
            shots = split_shots(small_pictures(frames, places))
            sound = sound_of(source.path, frames.info.start)
            entries = []
            for number, (start, stop) in enumerate(shots, start=1):
                name = source.name if len(shots) == 1 else f"{source.name}-{number}"
                part = Shot(source, name, places[start:stop], start)
                entries.append(prepare_shot(part, frames, sound, out, detector, encoder, face))
            return entries
    except MediaError as error:
        return [left_out(source, source.name, str(error))]


@dataclass(frozen=True)
class Shot:
    """Some consecutive frames of a video."""

    source: Source
    name: str
    places: np.ndarray
    "(T,) numbers of the source's frames, one each 1/25 s."
    start: int
    "How many 1/25 s of the source lie before."


def at_25_hz(times: np.ndarray, duration: float) -> np.ndarray:
    """The number of the nearest frame for every 1/25 s."""
    wanted = np.arange(max(1, round(duration * RATE))) / RATE
    middle = (times[1:] + times[:-1]) / 2
    return np.searchsorted(middle, wanted, side="right")


def small_pictures(frames: FrameSource, places: np.ndarray) -> np.ndarray:
    """Grey pictures (T, h, w) of a few pixels, to find cuts."""
    small = []
    for image in frames.read(places.tolist()):
        step = max(1, min(image.shape[:2]) // 32)
        small.append(image[::step, ::step].mean(axis=2).astype(np.float32))
    return np.stack(small)


def split_shots(pictures: np.ndarray) -> list[tuple[int, int]]:
    """First and past-last frames of the shots of pictures (T, h, w)."""
    change = np.abs(np.diff(pictures, axis=0)).mean(axis=(1, 2))
    usual = float(np.median(change)) if len(change) else 0.0
    cuts = np.flatnonzero((change > CUT) & (change > CUT_OVER_MEDIAN * usual)) + 1
    edges = [0, *cuts.tolist(), len(pictures)]
    return list(itertools.pairwise(edges))


def sound_of(path: Path, start: float) -> np.ndarray | None:
    """The video's sound (N,), 16 kHz, in step with its frames; None where it has none to use."""
    try:
        return read_audio(path, start=start).samples
    except AudioError:
        return None


def prepare_shot(
    shot: Shot,
    frames: FrameSource,
    sound: np.ndarray | None,
    out: Path,
    detector: FaceDetector,
    encoder: SpeechEncoder,
    face: str,
) -> Entry:
    """One clip, in a folder that takes its name when it is whole."""
    count = len(shot.places)
    if count < LEAST_SECONDS * RATE:
        return left_out(shot.source, shot.name, f"shorter than {LEAST_SECONDS:g} s", count)
    try:
        track = track_face(frames.read(shot.places.tolist()), detector, select=face)
    except MoDiTalkerError as error:
        return left_out(shot.source, shot.name, str(error), count)
    folder, part = out / "clips" / shot.name, out / "clips" / f".{shot.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        cut = write_face(track.landmarks, frames, shot, part)
        if cut:
            return left_out(shot.source, shot.name, cut, count)
        write_speech(sound, shot, part, encoder)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Entry(
        shot.name, str(shot.source.path), "kept", "", count, count / RATE, sound is not None, SIZE,
        shot.source.person,
    )  # fmt: skip


def write_face(landmarks: np.ndarray, frames: FrameSource, shot: Shot, part: Path) -> str:
    """Crops and motion of one shot; or the reason why it cannot be used."""
    frontal = frontalize(landmarks)
    affine = fit_affine(frontal, landmarks)
    if shots_of(affine)[-1]:
        return "the face jumps: a cut that the pictures do not show, or another face"
    affine = smooth_affine(affine, RATE)
    windows = crop_windows(affine, RATE)
    times = np.arange(len(landmarks)) / RATE
    images = frames.read(shot.places.tolist())
    crops: Iterator[np.ndarray] = (windows.extract(im, i, SIZE) for i, im in enumerate(images))
    write_video(part / "crop.mp4", crops, times, crf=10)
    with atomic_output(part / "motion.npz") as path, path.open("wb") as file:
        np.savez(
            file,
            landmarks=windows.to_crop(landmarks, SIZE),
            frontal=frontal,
            affine=windows.affine_to_crop(affine, SIZE).astype(np.float32),
            times=times,
        )
    return ""


def write_speech(sound: np.ndarray | None, shot: Shot, part: Path, encoder: SpeechEncoder) -> None:
    """The shot's sound and its features, where the video has sound."""
    if sound is None:
        return
    import av

    count, per_frame = len(shot.places), round(16000 / RATE)
    first = shot.start * per_frame
    samples = sound[first : first + count * per_frame]
    samples = np.pad(samples, (0, count * per_frame - len(samples)))
    features = encoder.encode(samples).numpy().astype(np.float16)
    with (part / f"speech-{file_name(encoder.name)}.npy").open("wb") as file:
        np.save(file, features)
    with av.open(str(part / "audio.flac"), "w") as container:
        stream = container.add_stream("flac", rate=16000)
        levels = (samples.clip(-1, 1) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(levels, format="s16", layout="mono")
        frame.sample_rate = 16000
        container.mux([*stream.encode(frame), *stream.encode(None)])


def entry_line(entry: Entry) -> str:
    """One line of the manifest."""
    return json.dumps(asdict(entry), ensure_ascii=False) + "\n"
