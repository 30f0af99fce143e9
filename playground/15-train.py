#!/usr/bin/env python3
"""Stage 15: fine-tune on a file of records. --help tells more."""

import sys

try:
    from palitune.cli import main
except ModuleNotFoundError:
    print("palitune is not installed for this Python: . ../.venv/bin/activate (bin/demo.sh makes it)", file=sys.stderr)
    sys.exit(78)

main("train")
