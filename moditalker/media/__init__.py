"""Media in and out: frames, sound, and the finished video. Everything goes through PyAV."""

from moditalker.media.audio import Audio, check_audio, read_audio
from moditalker.media.frames import FrameSource
from moditalker.media.info import VideoInfo, probe

__all__ = [
    "Audio",
    "FrameSource",
    "VideoInfo",
    "check_audio",
    "probe",
    "read_audio",
]
