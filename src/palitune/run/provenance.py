"""How a checkpoint was made, as a report shows it: facts, the configuration, and the drawing of the losses."""

import os

from palitune import console, workspace
from palitune.checkpoint import manifest
from palitune.evaluate.report.summary import Learned
from palitune.run import next_run
from palitune.run.folder import RunFolder
from palitune.sentence import Sentence


def learning_of(name: str) -> Learned:
    """What a checkpoint and its run tell of how it was made. Raises MissingInputError, BadDataError."""
    path = workspace.checkpoint_to_read(name)
    content = manifest.read(path)
    config = content.get("config", {})
    facts: dict[str, str] = {Sentence("model"): min(str(path), os.path.relpath(path), key=len)}
    if base := content.get("base"):
        facts[Sentence("learned from")] = base["name"]
    if data := content.get("data"):
        facts[Sentence("learned on")] = str(data)
    if prompt := config.get("prompt"):
        facts[Sentence("prompt")] = str(prompt)
    # Without what has no effect: empty, zero and absent values.
    used = {key: value for key, value in config.items() if value not in (None, "", 0, False, [], ())}
    metrics, losses = RunFolder(path).metrics, RunFolder(path).losses
    told = next_run.read_told(metrics)
    if losses.is_symlink():
        console.note(f"{losses} is a link and is left out: a page shows only what a run drew itself")
        return Learned(facts, used or None, None, told)
    return Learned(facts, used or None, losses, told, metrics)
