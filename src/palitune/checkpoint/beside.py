"""The names of what belongs to a checkpoint and lies beside it. Imports nothing heavy."""

from pathlib import Path

LOOP = ".iterate"  # the ending of a loop's folder


def manifest_of(checkpoint: Path) -> Path:
    """Where the manifest of a checkpoint is."""
    return checkpoint.with_suffix(".json")


def threshold_of(checkpoint: Path) -> Path:
    """Where the operating point of a checkpoint is, the folder of an exported model aside."""
    name = checkpoint.stem if checkpoint.suffix == ".npz" else checkpoint.name  # of a folder, which may have dots
    return checkpoint.with_name(f"{name}.threshold.json")


def run_of(checkpoint: Path) -> Path:
    """Where the folder of the run is that made a checkpoint."""
    return checkpoint.with_suffix(".run")


def loop_of(checkpoint: Path) -> Path:
    """Where the folder of the loop is that made a checkpoint, if one did."""
    return checkpoint.with_suffix(LOOP)
