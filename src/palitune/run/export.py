"""A checkpoint as the folder that transformers loads: weights, configuration, tokenizer, processor and a model card.

A delta is merged with its base on the way, one tensor after the other.
"""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from tqdm import tqdm

from palitune import workspace
from palitune.checkpoint import (
    dequantized,
    manifest,
    opening,
    operating_point,
    padded_vocabulary,
    peft_config,
    peft_writer,
    tensor_writer,
    transformers_config_writing,
)
from palitune.checkpoint.delta import Overlay
from palitune.checkpoint.exported_tensors import tensors_of
from palitune.checkpoint.merge import MergedCheckpoint
from palitune.checkpoint.peft_reader import PeftAdapter
from palitune.checkpoint.store import Array, DType, Stored
from palitune.checkpoint.tensor_file import DTYPES
from palitune.checkpoint.tensor_files import INDEX_SUFFIX, SUFFIX
from palitune.checkpoint.tensor_writer import SHARD_BYTES, TensorSource
from palitune.checkpoint.transformers_checkpoint import CONFIG, TransformersCheckpoint
from palitune.config.export import ExportSettings
from palitune.config.quantization import EXACT, Quantization
from palitune.data import model_vocabulary
from palitune.data.vocabulary import Vocabulary
from palitune.errors import UsageError
from palitune.hub import checksum
from palitune.infer.loading import check, files_of, require_single, spec_of
from palitune.models import lora
from palitune.models.spec import ModelSpec
from palitune.run import exported_adapter, exported_files, model_card, run_results
from palitune.run.exported_files import Json
from palitune.run.model_card import Card
from palitune.storage import atomic_files, new_folder

CARD = "README.md"
BY_NAME = {dtype.name: dtype for dtype in DTYPES.values()}


class Exported(NamedTuple):
    """What was exported.

    Attributes:
      files: names and sizes in bytes.
      notes: what a person should know, in sentences without their end.
    """

    folder: Path
    files: dict[str, int]
    notes: list[str]


class _Source(NamedTuple):
    """A checkpoint to be exported, with what is known of it."""

    path: Path
    checkpoint: Stored
    spec: ModelSpec
    vocabulary: Vocabulary | None

    @property
    def base(self) -> TransformersCheckpoint | None:
        """The whole model behind it, where that has a `config.json` of its own."""
        whole = self.checkpoint.whole
        return whole if isinstance(whole, TransformersCheckpoint) else None

    @property
    def folder(self) -> Path | None:
        """Where the whole model's other files are, if it is one of Hugging Face."""
        return None if self.base is None else self.base.path if self.base.path.is_dir() else self.base.path.parent


def export(settings: ExportSettings, *, quiet: bool = False, shard_bytes: int = SHARD_BYTES) -> Exported:
    """Writes the folder, whole or not at all.

    Args:
      shard_bytes: of weights in a file, at most.

    Raises:
      UsageError: the folder is one that the checkpoint is read from, or none is named.
      OutputExistsError: something is there that is not to be replaced.
      MissingInputError, BadDataError: no such checkpoint, or it or its base is damaged; or a value does not fit into
        the dtype.
      ConfigurationError: transformers has no such model, or an adapter was asked for that cannot be made.
      StorageError: there is no room, or the folder cannot be written.
    """
    if not settings.to or Path(settings.to).name in ("", "."):
        raise UsageError("--to names the folder to make")
    target = Path(settings.to).absolute()
    new_folder.check(target, settings.overwrite, _is_ours)
    source = _open(settings, quiet)
    if any(target.resolve() in file.parents for file in files_of(source.checkpoint)):
        raise UsageError(f"--to {settings.to} has files that the export is made of: name another folder")
    with new_folder.replacing(target, settings.overwrite, _is_ours) as made:
        if settings.adapter or settings.as_lora:
            notes = _write_adapter(made, source, settings)
        else:
            notes = _write_whole(made, source, settings, shard_bytes, quiet or not sys.stderr.isatty())
    found = {path.name: path.stat().st_size for path in sorted(target.iterdir())}
    return Exported(target, found, notes)


def _write_whole(made: Path, source: _Source, settings: ExportSettings, shard_bytes: int, silent: bool) -> list[str]:
    """All weights and what belongs beside them; returns what a person should know."""
    dtype = BY_NAME[settings.dtype] if settings.dtype else _usual(source.checkpoint.whole)
    config, spec = _config(source, dtype)
    beside = exported_files.companions(
        spec, config, source.folder, source.vocabulary, trained=bool(manifest.read(source.path))
    )
    for name, content in beside.content.items():
        atomic_files.write(made / name, content)
    atomic_files.write(made / CONFIG, (json.dumps(config, indent=2) + "\n").encode())
    folder = workspace.cache() / "quantized"
    kept = dequantized.for_merging(source.path, source.checkpoint, folder, keep=settings.keep_quantized)
    card = _card(source, spec, dtype.name)
    if not kept.has_same_scores:
        card = card._replace(results=card.results._replace(evaluated=None), threshold=None)
    atomic_files.write(made / CARD, model_card.text(card).encode())
    _write_manifest(made, source, card, whole=True)
    with _counted(_tensors(source, kept.checkpoint, spec, dtype), silent) as counted:
        tensor_writer.save(made, counted, shard_bytes=shard_bytes)
    if card.threshold is not None:
        _write_threshold(made, card.threshold, TransformersCheckpoint(made))
    return [*_remarks(source, spec, dtype, settings), *([kept.note] if kept.note else []), *beside.notes]


def _write_adapter(made: Path, source: _Source, settings: ExportSettings) -> list[str]:
    """Adapters in PEFT's form and a model card; returns what a person should know."""
    dtype = BY_NAME[settings.dtype] if settings.dtype else None
    if settings.as_lora:
        found = exported_adapter.of_changes(source.spec, source.checkpoint, settings.as_lora, dtype)
    else:
        found = exported_adapter.of_checkpoint(source.checkpoint, dtype)
    dtypes = sorted({array.dtype.name for path, array in found.arrays.items() if not path.endswith(lora.ALPHA)})
    card = _card(source, source.spec, dtypes[0])
    name = model_card.base_model(card) or card.base or card.title
    how = manifest.quantization(source.path)
    if how.is_any:
        found.notes.append(
            f"it was trained beside {how.name}: beside the base as it is, scores differ from its figures"
        )
    card = card._replace(adapter_of=name, remarks=found.notes)
    if settings.as_lora:  # figures and threshold are of the weights that it only comes close to
        card = card._replace(results=card.results._replace(evaluated=None), threshold=None)
    peft_writer.write(made, source.spec, found.arrays, name)
    atomic_files.write(made / CARD, model_card.text(card).encode())
    _write_manifest(made, source, card, whole=False)
    if card.threshold is not None and isinstance(source.checkpoint, Overlay):
        adapter = PeftAdapter(made, source.spec)
        _write_threshold(made, card.threshold, Overlay(source.checkpoint.base, adapter, name), how)
    note = f"the adapter is for {name}"
    if model_card.base_model(card) is None and source.base is None:
        note += f": palitune export {name} --to FOLDER makes the folder that PEFT puts it on"
    elif source.base is not None:
        note += ", a folder that PEFT takes as it is"
    return [*found.notes, note]


def _write_manifest(made: Path, source: _Source, card: Card, *, whole: bool) -> None:
    """What palitune knows of a checkpoint that it has trained and its numbers do not say; the prompt above all.

    Args:
      whole: whether its weights are there too, and so need not be quantized as those of an adapter's base.
    """
    known = manifest.read(source.path)
    if known:
        content = manifest.text(
            base=None,
            dtypes={},
            config=manifest.without_quantization(known["config"]) if whole else known["config"],
            data="",  # a folder of this machine
            learned=known.get("learned"),
            chosen=known.get("chosen"),
            made_from=card.base,
            licence=model_card.licence(card),
        )
        atomic_files.write(made / manifest.IN_FOLDER, content.encode())


def _write_threshold(made: Path, stored: operating_point.Stored, checkpoint: Stored, how: Quantization = EXACT) -> None:
    content = stored._replace(checkpoint=operating_point.mark(checkpoint, how))
    operating_point.write_file(made / operating_point.IN_FOLDER, content)


def _is_ours(name: str) -> bool:
    """Whether an export, or a download, writes a file of this name."""
    return (
        name in exported_files.NAMES
        or name in (CONFIG, CARD, peft_config.CONFIG, manifest.IN_FOLDER, operating_point.IN_FOLDER)
        or name.endswith((SUFFIX, INDEX_SUFFIX))
    )


def _open(settings: ExportSettings, quiet: bool) -> _Source:
    """The checkpoint, checked, with its tokenizer where that is at hand."""
    path = workspace.checkpoint_to_read(settings.model)
    workspace.remember_verified()
    silent = quiet or not sys.stderr.isatty()
    checkpoint = opening.load(path, workspace.checkpoint_to_read, silent)
    for file in files_of(checkpoint):
        checksum.verify(file, silent)
    spec = spec_of(checkpoint, path)
    check(checkpoint, spec, path)
    require_single(checkpoint, "export")
    checkpoint.verify(silent)
    weights, rows = checkpoint.whole.path, spec.llm.vocab_size
    there = model_vocabulary.find(weights, rows, settings.tokenizer)
    vocabulary = None
    if settings.tokenizer or (there is not None and there.exists()):
        vocabulary = model_vocabulary.of_model(weights, rows, settings.tokenizer, quiet=quiet)
    return _Source(path, checkpoint, spec, vocabulary)


def _usual(whole: Stored) -> DType:
    """The dtype that most values have, of those that are written."""
    counts: dict[str, int] = {}
    for path, leaf in whole.leaves().items():
        if not lora.is_adapter(path):
            counts[leaf.dtype.name] = counts.get(leaf.dtype.name, 0) + leaf.size
    return BY_NAME.get(max(counts, key=lambda name: counts[name]), np.dtype(np.float32))


def _config(source: _Source, dtype: DType) -> tuple[Json, ModelSpec]:
    """The content of `config.json`, and the model with as many rows as its tokens need."""
    given: Mapping[str, object] | None = source.base.config if source.base else None
    if given is None and source.vocabulary is not None:
        given = exported_files.token_ids(source.spec, source.vocabulary)
    config = transformers_config_writing.write(source.spec, dtype.name, given)
    token = config.get("image_token_index")
    rows = padded_vocabulary.rows_for(source.spec.llm.vocab_size, token if isinstance(token, int) else None)
    spec, _ = padded_vocabulary.sized(source.spec, {}, rows)
    given = {**(given or {}), **({"image_token_index": token} if token is not None else {})}
    return transformers_config_writing.write(spec, dtype.name, given), spec


def _tensors(source: _Source, checkpoint: Stored, spec: ModelSpec, dtype: DType) -> dict[str, TensorSource]:
    """Every tensor by its published name; adapters are multiplied in float32 before the dtype is changed."""
    merged = MergedCheckpoint(checkpoint, np.dtype(np.float32))
    _, arrays = padded_vocabulary.sized(source.spec, merged, spec.llm.vocab_size)
    return tensors_of(spec, arrays, dtype)


@contextlib.contextmanager
def _counted(tensors: Mapping[str, TensorSource], silent: bool) -> Iterator[dict[str, TensorSource]]:
    """The same tensors, which tell a progress bar when they are read."""
    total = sum(source.size for source in tensors.values())
    bar: tqdm[NoReturn] = tqdm(desc="exporting", total=total, unit="B", unit_scale=True, leave=False, disable=silent)

    def counting(source: TensorSource) -> TensorSource:
        def read() -> Array:
            bar.update(source.size)
            return source.read()

        return dataclasses.replace(source, read=read)

    with bar:
        yield {name: counting(source) for name, source in tensors.items()}


def _card(source: _Source, spec: ModelSpec, dtype: str) -> Card:
    known = manifest.read(source.path)
    learned, name = known.get("learned"), workspace.name_of(source.path)
    base = (known.get("base") or {}).get("name") or known.get("made_from")
    if isinstance(source.checkpoint, Overlay):  # an adapter from elsewhere says itself which its base is
        base = source.checkpoint.base_name or base
    return Card(
        title=name.rpartition("/")[2],
        spec=spec,
        model_type=transformers_config_writing.model_type(spec),
        class_name=exported_files.class_of(spec),
        dtype=dtype,
        base=base or (None if known else name),
        config=known.get("config", {}) if base or learned else {},
        images=learned["images"] if learned else None,
        results=run_results.of_checkpoint(source.path),
        threshold=operating_point.of_parameters(source.path, source.checkpoint),
        licence=known.get("licence") or (manifest.read(source.folder).get("licence") if source.folder else None),
    )


def _remarks(source: _Source, spec: ModelSpec, dtype: DType, settings: ExportSettings) -> Iterator[str]:
    """What has happened to the weights."""
    if settings.dtype is None and lora.adapted(source.checkpoint) and dtype.itemsize < 4:
        yield f"weights that had an adapter are rounded to {dtype.name}; --dtype float32 keeps all digits"
    if added := spec.llm.vocab_size - source.spec.llm.vocab_size:
        yield f"{added} rows are added to the vocabulary's {source.spec.llm.vocab_size:,}, for the image's token"
