"""One whole checkpoint out of a delta and its base."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from palitune.cli.inputs import Input

INPUT = Input("model", "-m", "CHECKPOINT")
DESCRIPTION = """\
Writes one whole checkpoint from a trained one and its base, under big_vision's parameter paths, for palitune and for
programs that know nothing of deltas or adapters. LoRA adapters are multiplied into their weights, which are then kept
in float32 unless --save-dtype says else; all other parameters stay in the dtype they have.
"""
EXAMPLES = """\
examples:
  palitune merge -m trained-set1 -w whole                         checkpoints/whole.npz
  palitune merge -m trained-lora -w whole --save-dtype bfloat16   adapted weights rounded to 16 bit
"""


class Whole(Mapping[str, Any]):
    """A checkpoint's arrays without adapters, each made when it is asked for."""

    def __init__(self, checkpoint: Mapping[str, Any], dtype: Any) -> None:
        from palitune.models import lora

        self.checkpoint, self.dtype = checkpoint, dtype
        self.adapted = set(lora.adapted(checkpoint))
        self.paths = [path for path in checkpoint if not lora.is_adapter(path)]

    def __getitem__(self, path: str) -> Any:
        return Adapted(path, self.checkpoint, self.dtype) if path in self.adapted else self.checkpoint[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self.paths)

    def __len__(self) -> int:
        return len(self.paths)


class Adapted:
    """A stacked weight whose adapter is multiplied into the layers that are asked for, a few at a time."""

    def __init__(self, path: str, checkpoint: Mapping[str, Any], dtype: Any) -> None:
        from palitune.models import lora

        self.path = path
        self.parts = [checkpoint[name] for name in (path, path + lora.A, path + lora.B, path + lora.ALPHA)]
        weight = self.parts[0]
        self.shape, self.ndim, self.size, self.dtype = weight.shape, weight.ndim, weight.size, dtype

    def __getitem__(self, layers: slice) -> Any:
        from palitune.errors import BadDataError
        from palitune.models import lora
        from palitune.train.parameter_dtypes import is_finite

        merged = lora.merged(self.path, *(part[layers] for part in self.parts)).astype(self.dtype)
        if not is_finite(merged):
            raise BadDataError(f"{self.path} does not fit into {self.dtype}", hint="Use --save-dtype float32")
        return merged


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
    parser.add_argument("--overwrite", action="store_true", help="let -w replace a checkpoint")


def run(args: argparse.Namespace) -> None:
    """Runs `palitune merge` with the arguments that were given."""
    import jax.numpy as jnp

    from palitune import workspace
    from palitune.checkpoint import delta, manifest, npz
    from palitune.config.run_config import training
    from palitune.errors import UsageError
    from palitune.infer.loading import check, files_of
    from palitune.models import spec
    from palitune.run.folder import RunFolder

    source, target = workspace.checkpoint_to_read(args.model), workspace.checkpoint_to_write(args.write)
    workspace.check_free(target, args.overwrite)
    workspace.remember_verified()
    checkpoint = delta.load(source, workspace.checkpoint_to_read)
    if target.resolve() in files_of(checkpoint):
        raise UsageError(f"-w {args.write} would replace what it is made of")
    check(checkpoint, spec.read(checkpoint, str(source)), source)
    checkpoint.verify(args.quiet or not sys.stderr.isatty())
    whole = Whole(checkpoint, jnp.dtype(args.save_dtype))
    dtypes = {path: jnp.dtype(args.save_dtype) if path in whole.adapted else whole[path].dtype for path in whole}
    known = manifest.read(source)
    config = known.get("config") or training().as_json()
    about = {"config": config, "data": known.get("data", ""), "learned": known.get("learned")}
    content = manifest.text(base=None, dtypes=dtypes, **about)
    with RunFolder(target).held():  # no run of that name is at work, nor another merge
        # In one rename: what is inside counts more than the file beside it, the old one's as long as this is cut short.
        npz.save(target, whole, dtypes, comment=manifest.comment(content))
        manifest.write(target, content)
    if not args.quiet:
        print(f"saved {target}, {target.stat().st_size / 1e6:,.0f} MB", file=sys.stderr)
