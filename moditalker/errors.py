"""Errors for people: one line that says what was wrong, the value, and what to do.

The command line prints the message of a `MoDiTalkerError` and leaves with exit code 2; every other
exception is a fault of the program.
"""

from __future__ import annotations


class MoDiTalkerError(Exception):
    """Base of all errors that a person can mend."""

    exit_code = 2


class SettingsError(MoDiTalkerError):
    """A setting or an option is misspelt, out of range, or contradicts another."""


class MediaError(MoDiTalkerError):
    """A file is missing, is damaged, or cannot be decoded."""


class AudioError(MediaError):
    """There is no audio track, or it is too short or silent."""


class ReferenceVideoError(MediaError):
    """The reference video or image cannot serve as a reference."""


class FaceError(MoDiTalkerError):
    """No face, or more faces than one to choose from."""


class MotionFileError(MoDiTalkerError):
    """A motion or landmark file has the wrong shape, space or content."""


class WeightsError(MoDiTalkerError):
    """Weights are missing, damaged, or do not fit the preset."""


class DatasetError(MoDiTalkerError):
    """A data set folder is missing, empty, or lacks what a stage needs."""


class OutputError(MoDiTalkerError):
    """The result cannot be written: disk full, folder missing, no permission."""


class MissingExtraError(MoDiTalkerError):
    """A package of an optional extra is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"{package} is not installed. Install the extra: pip install 'moditalker[{extra}]'."
        )
