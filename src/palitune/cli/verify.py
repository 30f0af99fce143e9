"""palitune beside another implementation, on one checkpoint."""

import argparse

from palitune import streams
from palitune.cli import values

DESCRIPTION = """\
Runs a checkpoint through palitune and through another implementation, on the same images and in float32, and prints
how far image tokens and logits are apart, what each writes by greedy decoding, and whether they agree. Without images
it draws four advertisements; a model that takes no images is asked a few questions. Ends with 0 if both agree and with
65 if they do not. Without --against, PaliGemma is compared with big_vision and every other family with transformers.

big_vision is PaliGemma's own code. It is not part of palitune: bin/install-big_vision.sh fetches it into cache/ once
(the container's image has it). transformers has all families, and computes what palitune export writes, or the folder
itself: pip install 'palitune[verify]' fetches it and torch.

Float32 takes 4 bytes a parameter: 12 GB for a 3B model, of main memory with JAX_PLATFORMS=cpu; with transformers twice
as much, and as much room on the disk.
"""
EXAMPLES = """\
examples:
  palitune verify tiny
  palitune verify google/gemma-3-1b-it
  palitune verify trained-set1 --against transformers
  JAX_PLATFORMS=cpu palitune verify pt-224 dataset/images/OK_image101.jpg --prompt "answer en is there a cross?"
"""
AGAINST = ("big_vision", "transformers")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune verify` to its parser."""
    parser.epilog = EXAMPLES
    text = "a path, a bare name in checkpoints/, or a downloaded model's name"
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help=text)
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="image files")
    text = "the other implementation (default: big_vision for PaliGemma, transformers for other families)"
    parser.add_argument("--against", choices=AGAINST, help=text)
    text = "the question that both are asked (default: the model's own)"
    parser.add_argument("--prompt", type=values.prompt, metavar="TEXT", help=text)
    parser.add_argument(
        "--tokenizer",
        metavar="FILE",
        help="tokenizer.model, tokenizer.json or their folder, if palitune does not know which",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> None:
    """Runs `palitune verify` with the arguments that were given."""
    from palitune.errors import BadDataError, UsageError

    if args.checkpoint is None:
        raise UsageError("which checkpoint? palitune verify CHECKPOINT [IMAGE ...]")
    from palitune.config.model import ModelSettings
    from palitune.reference import TOLERANCE
    from palitune.run.verification import verify

    settings = ModelSettings(model=args.checkpoint, tokenizer=args.tokenizer, dtype="float32")
    found = verify(settings, args.images, args.prompt, against=args.against, quiet=args.quiet)
    if args.json:
        streams.document(found.as_json(), 2)
    else:
        print("\n".join(found.lines()))
    if not found.agrees:
        what = f"palitune and {found.against} do not agree within {TOLERANCE:g}"
        raise BadDataError(what, where=args.checkpoint, hint="Please report it with what was printed")
