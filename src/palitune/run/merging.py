"""One whole checkpoint out of a trained one and its base, written with what is known of it."""

import sys
from collections.abc import Mapping

import jax.numpy as jnp

from palitune import workspace
from palitune.checkpoint import dequantized, manifest, npz, opening, operating_point, padded_vocabulary, spec_json
from palitune.checkpoint.merge import MergedCheckpoint
from palitune.checkpoint.store import Storable
from palitune.checkpoint.transformers_checkpoint import TransformersCheckpoint
from palitune.config.run_config import training
from palitune.errors import UsageError
from palitune.infer.loading import check, files_of, note_base, require_single, spec_of
from palitune.models.spec import ModelSpec
from palitune.run.folder import RunFolder


def merge(
    model: str | None,
    write: str,
    save_dtype: str,
    keep_quantized: bool,
    *,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Writes the checkpoint, whole or not at all, and says on stderr what a person should know of it.

    Args:
      save_dtype: of weights that had an adapter.
      keep_quantized: write the weights that it was trained beside, where those were quantized.

    Raises:
      MissingInputError, BadDataError: there is no such checkpoint, or it or its base is damaged.
      UsageError: it would replace what it is made of, or nothing was quantized that could be kept.
      OutputExistsError: something is there that is not to be replaced.
      StorageError: there is no room, or it cannot be written.
    """
    source, target = workspace.checkpoint_to_read(model), workspace.checkpoint_to_write(write)
    workspace.check_free(target, overwrite)
    workspace.remember_verified()
    checkpoint = opening.load(source, workspace.checkpoint_to_read)
    note_base(checkpoint, quiet)
    if target.resolve() in files_of(checkpoint):
        raise UsageError(f"-w {write} would replace what it is made of")
    spec = spec_of(checkpoint, source)
    check(checkpoint, spec, source)
    require_single(checkpoint, "merge")
    checkpoint.verify(quiet or not sys.stderr.isatty())
    kept = dequantized.for_merging(source, checkpoint, workspace.cache() / "quantized", keep=keep_quantized)
    merged = MergedCheckpoint(kept.checkpoint, jnp.dtype(save_dtype))
    token = checkpoint.whole.image_token if isinstance(checkpoint.whole, TransformersCheckpoint) else None
    spec, whole = padded_vocabulary.without_added(spec, merged, token)
    dtypes = {path: whole[path].dtype for path in whole}
    content = _manifest(manifest.read(source), spec, whole)
    point = operating_point.of_parameters(source, checkpoint) if kept.has_same_scores else None
    with RunFolder(target).held():  # no run of that name is at work, nor another merge
        # In one rename: what is inside counts more than the file beside it, the old one's as long as this is cut short.
        npz.save(target, whole, dtypes, comment=manifest.comment(content))
        manifest.write(target, content)
        if point is not None:  # the numbers may have been rounded, but what they say is the same
            operating_point.write(target, point._replace(checkpoint=operating_point.mark(npz.Checkpoint(target))))
    if not quiet:
        if kept.note:
            print(f"note: {kept.note}", file=sys.stderr)
        print(f"saved {target}, {target.stat().st_size / 1e6:,.0f} MB", file=sys.stderr)


def _manifest(known: manifest.Manifest, spec: ModelSpec, whole: Mapping[str, Storable]) -> str:
    """What is known of the checkpoint, without its base."""
    return manifest.text(
        base=None,
        dtypes={path: whole[path].dtype for path in whole},
        config=manifest.without_quantization(known.get("config") or training().as_json()),
        data=known.get("data", ""),
        learned=known.get("learned"),
        chosen=known.get("chosen"),
        model=spec_json.of_model(spec, whole),
        made_from=(known.get("base") or {}).get("name") or known.get("made_from"),
        licence=known.get("licence"),
    )
