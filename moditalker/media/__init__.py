"""Media in and out: frames, sound, and the finished video. Everything goes through PyAV."""

from moditalker.media.audio import Audio, check_audio, read_audio
from moditalker.media.frames import FrameSource
from moditalker.media.info import VideoInfo, probe
from moditalker.media.metadata import SYNTHETIC_METADATA, read_metadata
from moditalker.media.output import atomic_output, check_output
from moditalker.media.video import write_video

__all__ = [
    "SYNTHETIC_METADATA",
    "Audio",
    "FrameSource",
    "VideoInfo",
    "atomic_output",
    "check_audio",
    "check_output",
    "probe",
    "read_audio",
    "read_metadata",
    "write_video",
]
