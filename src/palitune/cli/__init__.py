"""The commands. Nothing heavy is imported before the arguments are read, so that `--help` answers at once."""

from palitune.cli.main import main

__all__ = ["main"]
