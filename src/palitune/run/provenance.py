"""How a checkpoint was made, as a report shows it: facts, the configuration, and the drawing of the losses."""

import os
from pathlib import Path

from palitune import console, workspace
from palitune.checkpoint import manifest
from palitune.evaluate.report.summary import Learned
from palitune.run import next_run
from palitune.run.folder import RunFolder


def learning_of(name: str) -> Learned:
    """What a checkpoint and its run tell of how it was made. Raises MissingInputError, BadDataError."""
    path = workspace.checkpoint_to_read(name)
    content = manifest.read(path)
    config = content.get("config", {})
    facts = {"model": min(str(path), os.path.relpath(path), key=len)}
    if base := content.get("base"):
        facts["learned from"] = base["name"]
    if data := content.get("data"):
        facts["learned on"] = str(data)
    if prompt := config.get("prompt"):
        facts["prompt"] = str(prompt)
    # Without what has no effect: empty, zero and absent values.
    used = {key: value for key, value in config.items() if value not in (None, "", 0, False, [], ())}
    losses: Path | None = RunFolder(path).losses
    if losses is not None and losses.is_symlink():
        console.note(f"{losses} is a link and is left out: a page shows only what a run drew itself")
        losses = None
    return Learned(facts, used or None, losses, next_run.read_told(RunFolder(path).metrics))
