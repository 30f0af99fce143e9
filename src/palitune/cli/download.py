"""Stage 1: the model."""

import argparse
import sys

from palitune.cli.inputs import Input

INPUT = Input("model", "--model", "NAME")
DESCRIPTION = """\
Fetches a model into cache/models/.

"tiny" ships with palitune, needs no network and is there in a second: a PaliGemma of 0.8 million parameters that
knows nothing but drawn advertisements. The others are Google's published weights, which Kaggle hands out to people
with an account who have accepted the licence (https://www.kaggle.com/models/google/paligemma):

  pt-224 pt-448 pt-896 mix-224 mix-448             PaliGemma, 3B
  3b-pt-224 3b-pt-448 3b-pt-896 3b-mix-224 ...     PaliGemma 2; also 10b-... and 28b-...

Kaggle's own names, such as paligemma2-3b-pt-224, are accepted as well. A download that was cut off is resumed when the
command is run again. What has been downloaded is checked, and its SHA-256 is stored beside it and compared at each use.

Kaggle's credentials: a token in KAGGLE_API_TOKEN or ~/.kaggle/access_token, or KAGGLE_USERNAME and KAGGLE_KEY, or
kaggle.json in ~/.kaggle; KAGGLE_CONFIG_DIR names another folder than ~/.kaggle. palitune doctor tells what is found.
"""
EXAMPLES = """\
examples:
  palitune download tiny                          the model that ships with palitune, into cache/
  palitune download pt-224                        PaliGemma 3B from Kaggle
  palitune download pt-224 --from paligemma-3b-pt-224.f16.npz
                                                  from a file that you have already
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune download` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("--model", default="tiny", metavar="NAME", help="name of the model (default: %(default)s)")
    parser.add_argument(
        "--from",
        dest="source",
        metavar="PATH|URL",
        help="have the weights from this file or http(s) address instead of Kaggle",
    )
    parser.add_argument(
        "--tokenizer-from",
        dest="tokenizer_source",
        metavar="PATH|URL",
        help="the same for the tokenizer, which comes from big_vision's public bucket",
    )
    parser.add_argument("--overwrite", action="store_true", help="fetch again what is already there")


def run(args: argparse.Namespace) -> None:
    """Runs `palitune download` with the arguments that were given."""
    import difflib

    from palitune import workspace
    from palitune.errors import Stopped, UsageError
    from palitune.hub import catalogue

    name = catalogue.short(args.model)
    if name not in catalogue.NAMES:
        near = difflib.get_close_matches(name, catalogue.NAMES, 3)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Names are: {', '.join(catalogue.NAMES)}"
        raise UsageError(f"no model is called {args.model}", hint=hint)
    if name == catalogue.TINY and (args.source or args.tokenizer_source):
        raise UsageError("--from and --tokenizer-from are for published models: name one with --model")
    workspace.remember_verified()
    silent = args.quiet or not sys.stderr.isatty()
    try:
        path = catalogue.download(name, workspace.cache(), args.source, args.tokenizer_source, args.overwrite, silent)
    except Stopped as stopped:
        if name != catalogue.TINY and (args.source is None or catalogue.is_address(args.source)):
            stopped.hint = "what has arrived is kept; run it again to go on"
        raise
    print(path)
    if not args.quiet and name == catalogue.TINY:
        print("The tiny model is for practice; --model pt-224 fetches PaliGemma 3B.", file=sys.stderr)
