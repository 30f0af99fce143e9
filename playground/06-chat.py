#!/usr/bin/env python3
"""Stage 6: talks to a model. --help lists the options."""

import sys

if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # this folder holds data, so no file in it may be imported as a module

try:
    from palitune.cli import main
except ModuleNotFoundError:
    print("palitune is not installed for this Python: . ../.venv/bin/activate (bin/demo.sh makes it)", file=sys.stderr)
    sys.exit(78)

main("chat")
