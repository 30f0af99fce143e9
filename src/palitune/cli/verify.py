"""palitune beside the reference implementation, on one checkpoint."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from palitune import streams
from palitune.cli import values

DESCRIPTION = """\
Runs a checkpoint through palitune and through big_vision's own PaliGemma, on the same images and in float32, and
prints how far image tokens and logits are apart, what each writes by greedy decoding, and whether they agree. Without
images it draws four advertisements. Ends with 0 if both agree and with 65 if they do not.

big_vision is not part of palitune: bin/install-big_vision.sh fetches it into cache/ once (the container's image has
it). Float32 takes 4 bytes a parameter: 12 GB for a 3B model, of main memory with JAX_PLATFORMS=cpu.
"""
EXAMPLES = """\
examples:
  palitune verify tiny
  JAX_PLATFORMS=cpu palitune verify pt-224 dataset/images/OK_image101.jpg --prompt "answer en is there a cross?"
"""
DRAWN = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune verify` to its parser."""
    parser.epilog = EXAMPLES
    text = "a path, a bare name in checkpoints/, or a downloaded model's name"
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help=text)
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="image files")
    text = "the question that both are asked (default: the model's own)"
    parser.add_argument("--prompt", type=values.prompt, metavar="TEXT", help=text)
    parser.add_argument("--tokenizer", metavar="FILE", help="SentencePiece model, if palitune does not know which")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(dtype="float32", allocator="grow")


def run(args: argparse.Namespace) -> None:
    """Runs `palitune verify` with the arguments that were given."""
    from palitune.errors import BadDataError, UsageError

    if args.checkpoint is None:
        raise UsageError("which checkpoint? palitune verify CHECKPOINT [IMAGE ...]")
    from palitune.reference import TOLERANCE

    rows = _compared(args)
    image_tokens, logits = rows[0][1].image_tokens, rows[0][1].logits
    for _, row, _, _ in rows[1:]:
        image_tokens, logits = image_tokens.worst(row.image_tokens), logits.worst(row.logits)
    same = sum(ours == theirs for _, _, ours, theirs in rows)
    agrees = image_tokens.agrees and logits.agrees and same == len(rows)
    if args.json:
        content: dict[str, Any] = {"checkpoint": args.checkpoint, "agrees": agrees, "tolerance": TOLERANCE}
        for name, found in (("image_tokens", image_tokens), ("logits", logits)):
            content[name] = {"largest_difference": found.largest, "largest_magnitude": found.magnitude}
        content["answers"] = [{"image": name, "palitune": ours, "big_vision": theirs} for name, _, ours, theirs in rows]
        streams.document(content, 2)
    else:
        print("                largest difference  of at most  relative")
        for name, found in (("image tokens", image_tokens), ("logits", logits)):
            relative = found.largest / max(found.magnitude, 1e-30)
            print(f"{name:14}  {found.largest:18.3g}  {found.magnitude:10.4g}  {relative:8.1g}")
        print(f"answers         {same} of {len(rows)} the same")
        for name, _, ours, theirs in rows:
            print(f"  {name}\t{ours!r}\t{theirs!r}" + ("" if ours == theirs else "\tdiffer"))
        if agrees:
            print(f"verdict: palitune's model is big_vision's (within {TOLERANCE:g} of the largest magnitude)")
    if not agrees:
        what = f"palitune and big_vision do not agree within {TOLERANCE:g}"
        raise BadDataError(what, where=args.checkpoint, hint="Please report it with what was printed")


def _compared(args: argparse.Namespace) -> list[Any]:
    """(image, Comparison, palitune's answer, big_vision's) of every image."""
    import numpy as np
    from tqdm import tqdm

    from palitune import workspace
    from palitune.checkpoint import manifest
    from palitune.config.run_config import PROMPT
    from palitune.data.demo import demo_data
    from palitune.data.images import decoder
    from palitune.errors import ConfigurationError, MissingInputError
    from palitune.infer.loading import load
    from palitune.models import lora
    from palitune.reference import Comparer, Reference

    source = workspace.checkpoint_to_read(args.checkpoint)
    model = load(source, tokenizer=args.tokenizer, dtype=args.dtype, allocator=args.allocator, quiet=args.quiet)
    if lora.adapted(model.checkpoint):
        hint = f"palitune merge -m {args.checkpoint} -w whole makes one that it knows"
        raise ConfigurationError("big_vision knows no adapters", where=str(source), hint=hint)
    reference = Reference(model.sizes, workspace.cache() / "big_vision")
    prompt = args.prompt if args.prompt is not None else manifest.prompt(source, PROMPT)
    text = model.tokenizer.example(prompt, "yes")
    asked, suffix = text.ids[: text.suffix_start], text.ids[text.suffix_start : -1]
    with tempfile.TemporaryDirectory() as scratch:
        names = args.images or [
            str(Path(scratch) / record["image"]) for record in demo_data.make(Path(scratch), DRAWN, seed=2)
        ]
        for name in names:
            if not Path(name).is_file():
                raise MissingInputError("no such image", where=name or "''")
        images = [decoder.load(Path(name), model.sizes.img.image_size) for name in names]
    names = args.images or [Path(name).name for name in names]
    # Every parameter as float32, which both then compute in.
    params = {path: np.asarray(model.checkpoint[path]).astype(np.float32) for path in model.checkpoint}
    compare = Comparer(model.sizes, reference, model.tokenizer.eos)
    rows = []
    silent = args.quiet or not sys.stderr.isatty()
    for name, pixels in zip(tqdm(names, "comparing", unit="images", disable=silent), images, strict=True):
        found = compare(params, pixels, asked, suffix)
        answers = (model.tokenizer.answer(tokens.tolist()) for tokens in (found.ours, found.theirs))
        rows.append((name, found, *answers))
    return rows
