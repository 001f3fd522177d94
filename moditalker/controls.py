"""What a user may change of drawn motion."""

from __future__ import annotations

from dataclasses import dataclass

from moditalker.media import Audio
from moditalker.motion import Motion, close_when_silent, scale_lips, smooth
from moditalker.speech import voice_activity


@dataclass(frozen=True)
class Controls:
    """Controls over frontal motion; lip scale 1, smoothing 0 and no gate change nothing."""

    lip_scale: float = 1.0
    "How far lips and jaw move."
    smooth: float = 0.0
    "Smoothing in seconds."
    silence_gate: bool = True
    "Close the mouth where nobody speaks."

    def apply(self, motion: Motion, speech: Audio) -> Motion:
        """The motion under the controls. Raises MotionFileError for a control below 0."""
        motion = smooth(scale_lips(motion, self.lip_scale), self.smooth)
        if not self.silence_gate:
            return motion
        return close_when_silent(motion, voice_activity(speech.samples, speech.rate, motion.times))
