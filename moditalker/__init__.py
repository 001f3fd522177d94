"""MoDiTalker: from a sound and a reference video to a video of that person saying it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moditalker.pipeline import MoDiTalker

__version__ = "0.1.0"
__all__ = ["MoDiTalker", "__version__"]


def __getattr__(name: str) -> Any:
    """Import the pipeline, and torch with it, only when it is asked for."""
    if name == "MoDiTalker":
        from moditalker.pipeline import MoDiTalker

        return MoDiTalker
    raise AttributeError(f"module 'moditalker' has no attribute '{name}'")
