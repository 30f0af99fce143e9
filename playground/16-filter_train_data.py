#!/usr/bin/env python3
"""Stage 16: the lines of inference to learn from. --help tells more."""

import sys

try:
    from palitune.cli import main
except ModuleNotFoundError:
    print("palitune is not installed for this Python: . ../.venv/bin/activate (bin/demo.sh makes it)", file=sys.stderr)
    sys.exit(78)

main("filter")
