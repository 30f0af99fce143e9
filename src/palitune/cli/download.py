"""Stage 1: the model."""

import argparse
import sys

DESCRIPTION = """\
Fetches a model into cache/models/.

"tiny" ships with palitune, needs no network and is there in a second: a PaliGemma of 0.8 million parameters that
knows nothing but drawn advertisements. The others are Google's published weights, which Kaggle hands out to people
with an account who have accepted the licence (https://www.kaggle.com/models/google/paligemma):

  pt-224 pt-448 pt-896 mix-224 mix-448             PaliGemma, 3B
  3b-pt-224 3b-pt-448 3b-pt-896 3b-mix-224 ...     PaliGemma 2; also 10b-... and 28b-...
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="tiny", metavar="NAME", help="name of the model (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    import difflib

    from palitune.checkpoint import hub
    from palitune.cli import workspace
    from palitune.errors import UsageError

    if args.model not in hub.NAMES:
        near = difflib.get_close_matches(args.model, hub.NAMES, 3)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Names are: {', '.join(hub.NAMES)}"
        raise UsageError(f"no model is called {args.model}", hint=hint)
    path = hub.download(args.model, workspace.cache())
    print(path)
    if not args.quiet and args.model == hub.TINY:
        print("The tiny model is for practice; --model pt-224 fetches PaliGemma 3B.", file=sys.stderr)
