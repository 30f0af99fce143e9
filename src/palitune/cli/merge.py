"""One whole checkpoint out of a delta and its base."""

import argparse
import sys

from palitune.cli.inputs import Input

INPUT = Input("model", "-m", "CHECKPOINT")
DESCRIPTION = """\
Writes one whole checkpoint from a trained one and its base, under big_vision's parameter paths, for palitune and for
programs that know nothing of deltas or adapters. LoRA adapters are multiplied into their weights, which are then kept
in float32 unless --save-dtype says else; all other parameters stay in the dtype they have. An adapter of Hugging Face's
PEFT is a trained checkpoint too: the folder with its adapter_config.json, which names its base. A folder of
.safetensors becomes such a checkpoint as well; rows that palitune export has added to the vocabulary are left out
again.

Adapters of --method qlora were trained beside rounded weights. They are merged onto the weights as they are, and how
far these are from the rounded ones is printed: scores differ. --keep-quantized writes the rounded ones, with which
scores stay what they were.
"""
EXAMPLES = """\
examples:
  palitune merge -m trained-set1 -w whole                         checkpoints/whole.npz
  palitune merge -m trained-lora -w whole --save-dtype bfloat16   adapted weights rounded to 16 bit
  palitune merge -m trained-qlora -w whole --keep-quantized       with the scores that it has
  palitune merge -m folder-of-safetensors -w whole                from Hugging Face's form to big_vision's
  palitune merge -m their-adapter/ -w whole                       an adapter of PEFT, in its base
"""


SAVE_DTYPES = ("float32", "bfloat16", "float16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune merge` to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument("-m", "--model", metavar="NAME", help="a path, or a bare name in checkpoints/")
    parser.add_argument(
        "-w", "--write", required=True, metavar="NAME", help="where to save; a bare name in checkpoints/"
    )
    text = "of weights that had an adapter (default: float32, in which nothing is lost)"
    parser.add_argument("--save-dtype", choices=SAVE_DTYPES, default="float32", help=text)
    text = (
        "where adapters were trained beside weights of 4 or 8 bits: write those, as numbers, and not the weights that "
        "they were made of"
    )
    parser.add_argument("--keep-quantized", action="store_true", help=text)
    parser.add_argument("--overwrite", action="store_true", help="let -w replace a checkpoint")


def run(args: argparse.Namespace) -> None:
    """Runs `palitune merge` with the arguments that were given."""
    import jax.numpy as jnp

    from palitune import workspace
    from palitune.checkpoint import dequantized, manifest, npz, opening, operating_point, padded_vocabulary, spec_json
    from palitune.checkpoint.merge import MergedCheckpoint
    from palitune.checkpoint.transformers_checkpoint import TransformersCheckpoint
    from palitune.config.run_config import training
    from palitune.errors import UsageError
    from palitune.infer.loading import check, files_of, note_base, spec_of
    from palitune.run.folder import RunFolder

    source, target = workspace.checkpoint_to_read(args.model), workspace.checkpoint_to_write(args.write)
    workspace.check_free(target, args.overwrite)
    workspace.remember_verified()
    checkpoint = opening.load(source, workspace.checkpoint_to_read)
    note_base(checkpoint, args.quiet)
    if target.resolve() in files_of(checkpoint):
        raise UsageError(f"-w {args.write} would replace what it is made of")
    spec = spec_of(checkpoint, source)
    check(checkpoint, spec, source)
    checkpoint.verify(args.quiet or not sys.stderr.isatty())
    kept = dequantized.for_merging(source, checkpoint, workspace.cache() / "quantized", keep=args.keep_quantized)
    merged = MergedCheckpoint(kept.checkpoint, jnp.dtype(args.save_dtype))
    token = checkpoint.whole.image_token if isinstance(checkpoint.whole, TransformersCheckpoint) else None
    spec, whole = padded_vocabulary.without_added(spec, merged, token)
    dtypes = {path: whole[path].dtype for path in whole}
    known = manifest.read(source)
    config = manifest.without_quantization(known.get("config") or training().as_json())
    data, learned = known.get("data", ""), known.get("learned")
    model = spec_json.of_model(spec, whole)
    made_from = (known.get("base") or {}).get("name") or known.get("made_from")
    content = manifest.text(
        base=None,
        dtypes=dtypes,
        config=config,
        data=data,
        learned=learned,
        model=model,
        made_from=made_from,
        licence=known.get("licence"),
    )
    point = operating_point.of_parameters(source, checkpoint) if kept.has_same_scores else None
    with RunFolder(target).held():  # no run of that name is at work, nor another merge
        # In one rename: what is inside counts more than the file beside it, the old one's as long as this is cut short.
        npz.save(target, whole, dtypes, comment=manifest.comment(content))
        manifest.write(target, content)
        if point is not None:  # the numbers may have been rounded, but what they say is the same
            operating_point.write(target, point._replace(checkpoint=operating_point.mark(npz.Checkpoint(target))))
    if not args.quiet:
        if kept.note:
            print(f"note: {kept.note}", file=sys.stderr)
        print(f"saved {target}, {target.stat().st_size / 1e6:,.0f} MB", file=sys.stderr)
