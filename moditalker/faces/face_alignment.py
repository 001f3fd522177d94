"""The second detector: face-alignment's S3FD and 3D-FAN (Bulat and Tzimiropoulos, ICCV 2017).

Slower than MediaPipe without a GPU, steadier on large yaw. Extra `faces`; it downloads its own
weights when it is first used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from moditalker.errors import MissingExtraError, WeightsError
from moditalker.faces.types import Face

LEAST_SCORE = 0.2  # mean peak of the 68 heat maps


class FaceAlignmentFaces:
    """Faces of S3FD with 3D-FAN's landmarks; `network` is a `face_alignment.FaceAlignment`."""

    def __init__(self, device: str = "cpu", network: Any = None) -> None:
        self.network = network if network is not None else load_network(device)

    def __call__(self, image: np.ndarray) -> list[Face]:
        """Every face of an RGB image (H, W, 3) uint8, the largest first."""
        boxes = self.network.face_detector.detect_from_image(image.copy())
        return sorted(self.align(image, boxes), key=lambda face: -face.size)

    def follow(self, image: np.ndarray, last: Face) -> Face | None:
        """The face that was `last` in the frame before, or None where it is lost."""
        faces = self.align(image, [np.append(last.box, last.score)])
        return faces[0] if faces else None

    def align(self, image: np.ndarray, boxes: list[np.ndarray]) -> list[Face]:
        """Faces in boxes x0, y0, x1, y1, score; those that 3D-FAN is unsure of are left out."""
        if len(boxes) == 0:
            return []
        landmarks, scores, _ = self.network.get_landmarks_from_image(
            image, detected_faces=boxes, return_landmark_score=True
        )
        # Its z already grows towards the viewer, in pixels, as in the Basel model it learnt from.
        faces = [
            Face.around(np.asarray(points), float(np.mean(score)))
            for points, score in zip(landmarks, scores, strict=True)
        ]
        return [face for face in faces if face.score >= LEAST_SCORE]


def load_network(device: str) -> Any:
    """Build face-alignment's network. Raises MissingExtraError and WeightsError."""
    try:
        from face_alignment import FaceAlignment, LandmarksType
    except ImportError as error:
        raise MissingExtraError("face-alignment", "faces") from error
    try:
        return FaceAlignment(LandmarksType.THREE_D, device=device, flip_input=False, compile=False)
    except OSError as error:
        raise WeightsError(
            f"face-alignment cannot download its weights ({error}). Go online once, put them into "
            "torch's hub cache, or take the face backend mediapipe."
        ) from error
