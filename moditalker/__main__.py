"""`python -m moditalker` is the command `moditalker`."""

import sys

from moditalker.cli import main

if __name__ == "__main__":
    sys.exit(main())
