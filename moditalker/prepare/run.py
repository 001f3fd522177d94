"""The run over all videos: on several processes or machines, resumable, with a manifest."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from moditalker.errors import DatasetError, MissingExtraError, OutputError, SettingsError
from moditalker.prepare.clips import Entry, entry_line, prepare_source
from moditalker.prepare.sources import Source, find_sources
from moditalker.progress import Progress
from moditalker.speech import WHISPER

Work = Callable[[Source], list[Entry]]


def prepare(
    videos: Sequence[str | Path],
    out: str | Path,
    *,
    speech_encoder: str = WHISPER,
    workers: int = 2,
    engine: str = "process",
    face: str = "largest",
    quiet: bool = False,
) -> list[Entry]:
    """Make a data set folder; videos that its manifest already lists are not done again.

    Returns the entries of the manifest. Raises DatasetError where nothing could be kept, SettingsError,
    MissingExtraError for ray.
    """
    out = Path(out)
    done = read_manifest(out)
    listed = {entry.source for entry in done}
    waiting = [source for source in find_sources(videos) if str(source.path) not in listed]
    work = partial(prepare_one, out=str(out), speech_encoder=speech_encoder, face=face)
    progress = Progress(quiet)
    with progress.stage("prepare"):
        for count, entries in enumerate(spread(work, waiting, workers, engine), start=1):
            append(out, entries)
            done += entries
            progress.update(count, len(waiting))
    kept = [entry for entry in done if entry.status == "kept"]
    if not kept:
        raise DatasetError(f"no clip could be kept; {out / 'manifest.jsonl'} says why for each.")
    if not quiet:
        minutes = sum(entry.seconds for entry in kept) / 60
        print(f"{len(kept)} clips, {minutes:.1f} minutes; {len(done) - len(kept)} left out: {out}")
    return done


def prepare_one(source: Source, out: str, speech_encoder: str, face: str) -> list[Entry]:
    """All clips of one video, in whatever process this runs."""
    detector, encoder = tools(speech_encoder)
    return prepare_source(source, Path(out), detector, encoder, face)


@lru_cache(maxsize=1)
def tools(speech_encoder: str) -> tuple[Any, Any]:
    """Detector and encoder, made once per process; each process keeps to one core."""
    import torch

    from moditalker.faces import make_detector
    from moditalker.speech import load_speech_encoder

    torch.set_num_threads(1)
    return make_detector(), load_speech_encoder(speech_encoder)


def spread(work: Work, sources: list[Source], workers: int, engine: str) -> Iterator[list[Entry]]:
    """Results in the order in which they are ready."""
    if engine == "ray":
        return on_ray(work, sources)
    if engine != "process":
        raise SettingsError(f"--engine is '{engine}'. Take process or ray.")
    if workers < 1:
        raise SettingsError(f"--workers is {workers}; the least is 1.")
    if workers == 1 or len(sources) < 2:
        return map(work, sources)
    return on_processes(work, sources, workers)


def on_processes(work: Work, sources: list[Source], workers: int) -> Iterator[list[Entry]]:
    """On processes of this machine; spawned, since torch and FFmpeg do not survive a fork."""
    from concurrent.futures import as_completed

    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(work, source) for source in sources]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def on_ray(work: Work, sources: list[Source]) -> Iterator[list[Entry]]:
    """On the machines of a Ray cluster, which share the folders."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("ray", "scale") from error
    ray.init(ignore_reinit_error=True)
    waiting = [ray.remote(work).remote(source) for source in sources]
    while waiting:
        ready, waiting = ray.wait(waiting)
        yield from ray.get(ready)


def read_manifest(out: Path) -> list[Entry]:
    """The entries of a manifest, without a last line that was cut off."""
    path = out / "manifest.jsonl"
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(Entry(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return entries


def append(out: Path, entries: Iterable[Entry]) -> None:
    """Add entries to the manifest: a video's clips count only from now on."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with (out / "manifest.jsonl").open("a", encoding="utf-8") as file:
            file.write("".join(map(entry_line, entries)))
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror}") from error
