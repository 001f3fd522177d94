"""Raw videos to a data set for training: `moditalker prepare`."""

from moditalker.prepare.run import prepare

__all__ = ["prepare"]
