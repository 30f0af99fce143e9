"""What this machine has of what palitune needs."""

import argparse
import json

DESCRIPTION = """\
Prints on one screen what palitune runs on: versions, devices and driver, memory settings, free memory and disk, models
and credentials that are there (where they come from, never what they are), and what is likely to go wrong.
"""
EXAMPLES = """\
examples:
  palitune doctor
  bin/docker-run.sh palitune doctor
  palitune doctor --json | jq -r '.problems[]'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune doctor` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> None:
    """Runs `palitune doctor` with the arguments that were given."""
    from palitune.run import doctor

    found = doctor.examined()
    print(json.dumps(found, indent=2) if args.json else doctor.screen(found))
