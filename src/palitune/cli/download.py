"""Stage 1: the model."""

import argparse
import sys

from palitune.cli.inputs import Input

INPUT = Input("model", "--model", "NAME")
DESCRIPTION = """\
Fetches a model into cache/models/.

"tiny", "tiny3" and "tinytext" ship with palitune, need no network and are there in a second: a PaliGemma of 0.8 million
parameters and a Gemma 3 of 1.1 million that know nothing but drawn advertisements, and a Gemma 3 of 0.9 million that
knows nothing but short texts in Japanese and English. The others are published weights, which Kaggle and Hugging Face
hand out to people with an account who have accepted the licence. From Kaggle
(https://www.kaggle.com/models/google/paligemma):

  pt-224 pt-448 pt-896 mix-224 mix-448             PaliGemma, 3B
  3b-pt-224 3b-pt-448 3b-pt-896 3b-mix-224 ...     PaliGemma 2; also 10b-... and 28b-...

Kaggle's own names, such as paligemma2-3b-pt-224, are accepted as well. From Hugging Face, by the names it has:

  google/gemma-3-4b-it                             the branch main, as it is now; what that is, is written down
  google/paligemma-3b-pt-224@bfloat16              another branch, a tag or a commit

Of such a repository, its .safetensors, its configuration and its tokenizer are fetched, never pickled weights. A
download that was cut off is resumed when the command is run again. What has been downloaded is checked, and its SHA-256
is stored beside it and compared at each use.

Kaggle's credentials: a token in KAGGLE_API_TOKEN or ~/.kaggle/access_token, or KAGGLE_USERNAME and KAGGLE_KEY, or
kaggle.json in ~/.kaggle; KAGGLE_CONFIG_DIR names another folder than ~/.kaggle. Hugging Face's: a token in HF_TOKEN, or
the one of "hf auth login"; HF_ENDPOINT and HF_HUB_OFFLINE are respected. palitune doctor tells what is found.
"""
EXAMPLES = """\
examples:
  palitune download tiny                          a model that ships with palitune, into cache/
  palitune download pt-224                        PaliGemma 3B from Kaggle
  palitune download google/gemma-3-1b-it          Gemma 3 1B from Hugging Face
  palitune download pt-224 --from paligemma-3b-pt-224.f16.npz
                                                  from a file that you have already
"""
LARGER = {  # the published model for someone who has tried the tiny one
    "tiny": "pt-224 fetches PaliGemma 3B",
    "tiny3": "google/gemma-3-4b-it fetches Gemma 3 4B",
    "tinytext": "google/gemma-3-1b-it fetches Gemma 3 1B",
}


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
    from palitune import workspace
    from palitune.errors import Stopped, UsageError
    from palitune.hub import catalogue, published_models, snapshot

    name, repository = catalogue.short(args.model), snapshot.parse(args.model)
    if name not in catalogue.NAMES and not repository:
        near = published_models.similar(name, list(catalogue.PACKAGED))
        names = f"Names are: {', '.join(catalogue.NAMES)}; and owner/name or owner/name@revision on Hugging Face"
        raise UsageError(
            f"no model is called {args.model}", hint=f"Did you mean {' or '.join(near)}?" if near else names
        )
    if (name in catalogue.PACKAGED or repository) and (args.source or args.tokenizer_source):
        what = "--from and --tokenizer-from name other places for published models from Kaggle"
        if repository:
            hint = "A folder that has its files is opened as it is, by -m FOLDER"
            raise UsageError(f"{what}, and {args.model} comes from Hugging Face", hint=hint)
        raise UsageError(f"{what}, and {name} ships with palitune", hint="Name one with --model, such as pt-224")
    workspace.remember_verified()
    silent = args.quiet or not sys.stderr.isatty()
    try:
        path = catalogue.download(name, workspace.cache(), args.source, args.tokenizer_source, args.overwrite, silent)
    except Stopped as stopped:
        if name not in catalogue.PACKAGED and (args.source is None or catalogue.is_address(args.source)):
            stopped.hint = "what has arrived is kept; run it again to go on"
        raise
    print(path)
    if not args.quiet and name in catalogue.PACKAGED:
        print(f"The tiny model is for practice; --model {LARGER[name]}.", file=sys.stderr)
