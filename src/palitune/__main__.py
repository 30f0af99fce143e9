"""`python -m palitune`."""

import sys

if not getattr(sys.flags, "safe_path", False):
    del sys.path[0]  # the current folder: what lies beside somebody's data is not a module

from palitune.cli import main

main()
