"""`python -m atom`: train, validate, test, sweep and export this stage."""

from __future__ import annotations

import sys

from moditalker.training import main

if __name__ == "__main__":
    sys.exit(main("atom"))
