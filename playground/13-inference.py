#!/usr/bin/env python3
"""Stage 13: a model's answers as lines of text. --help tells more."""

import sys

try:
    from palitune.cli import main
except ModuleNotFoundError:
    print("palitune is not installed for this Python: . ../.venv/bin/activate (bin/demo.sh makes it)", file=sys.stderr)
    sys.exit(78)

main("inference")
