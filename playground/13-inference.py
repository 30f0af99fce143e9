#!/usr/bin/env python3
"""Stage 13: a model's answers as lines of text. --help tells more."""

import sys

if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # this folder has data: what lies here is no module

try:
    from palitune.cli import main
except ModuleNotFoundError:
    print("palitune is not installed for this Python: . ../.venv/bin/activate (bin/demo.sh makes it)", file=sys.stderr)
    sys.exit(78)

main("inference")
