"""Demo data: drawn advertisements with a rule to learn, and texts for the jobs of `text_tasks`.

The rule: an advertisement that shows a cross is not allowed, because a cross promises to heal. The rest may vary.
"""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from palitune import randomness
from palitune.data.demo import drawing, text_tasks
from palitune.errors import OutputExistsError, UsageError
from palitune.storage import atomic_files

COUNT = 96
REFUSED_SHARE = 42 / 96
PNG_SHARE, JPEG_SHARE = 45 / 96, 44 / 96
GIF_FRAMES = 5
ALLOWED_BADGES = tuple(badge for badge in drawing.BADGES if badge != "cross")
MARK = ".palitune-demo"
ADVERTISEMENTS = "adverts"  # the task that is drawn unless another is asked for


def make(folder: Path, count: int = COUNT, seed: int = 0, overwrite: bool = False) -> list[dict[str, str]]:
    """Draws `count` advertisements into `folder/images` and writes `folder/data.jsonl`; returns its examples.

    Of 96, 54 are allowed ("yes") and 42 are not, in 45 PNG, 44 JPEG and 7 animated GIF files; other counts keep these
    shares. The same seed and count give the same images.

    Raises:
      OutputExistsError: `folder/data.jsonl` is there with other content, and `overwrite` is false.
      UsageError: fewer than 4 are asked for.
      StorageError: the folder cannot be written.
    """
    if count < 4:
        raise UsageError(f"--count {count}: a data set needs at least 4 advertisements")
    data = folder / "data.jsonl"
    if data.exists() and not overwrite and _mark(data, count, seed) != _read(folder / MARK):
        hint = "Draw into another folder with -o, or use --overwrite"
        raise OutputExistsError("another data set is there already", where=str(data), hint=hint)
    rng = randomness.generator(seed, "demo", count)
    refused = round(count * REFUSED_SHARE)
    labels = rng.permutation(["no"] * refused + ["yes"] * (count - refused))
    png, jpeg = round(count * PNG_SHARE), round(count * JPEG_SHARE)
    formats = rng.permutation(["png"] * png + ["jpg"] * jpeg + ["gif"] * (count - png - jpeg))
    examples = []
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for number, (label, extension) in enumerate(zip(labels, formats, strict=True), 101):
        name = f"images/{'OK' if label == 'yes' else 'NG'}_image{number}.{extension}"
        badge = str(rng.choice(ALLOWED_BADGES)) if label == "yes" else "cross"
        atomic_files.write(folder / name, _encode(drawing.random_scene(rng, badge), str(extension), rng))
        examples.append({"prefix": "", "suffix": str(label), "image": name})
    drawn = {Path(example["image"]).name for example in examples}
    for path in (folder / "images").glob("??_image*"):
        if path.name not in drawn:  # left by an earlier data set
            path.unlink()
    lines = [json.dumps(example, separators=(",", ":")) + "\n" for example in examples]
    atomic_files.write(data, "".join(lines).encode())
    atomic_files.write(folder / MARK, _mark(data, count, seed))
    return examples


def make_text(task: str, folder: Path, count: int | None = None, seed: int = 0, overwrite: bool = False) -> str:
    """Draws the texts of one of `text_tasks.TASKS` and writes them into a folder; returns what they are, in one line.

    The same seed and count give the same bytes. `count` is the task's own by default.

    Raises:
      OutputExistsError: one of the files is there with other content, and `overwrite` is false.
      UsageError: fewer than 4 are asked for.
      StorageError: the folder cannot be written.
    """
    count = text_tasks.TASKS[task].records if count is None else count
    if count < 4:
        raise UsageError(f"--count {count}: a data set needs at least 4 records")
    drawn = text_tasks.TASKS[task].draw(count, randomness.generator(seed, "demo", task, count))
    mark = folder / f"{MARK}-{task}"
    there = [folder / name for name in drawn.files if (folder / name).exists()]
    if there and not overwrite and _mark_of(there, f"{count} {seed}") != _read(mark):
        hint = "Draw into another folder with -o, or use --overwrite"
        raise OutputExistsError("another data set is there already", where=str(there[0]), hint=hint)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in drawn.files.items():
        atomic_files.write(folder / name, content)
    atomic_files.write(mark, _mark_of([folder / name for name in drawn.files], f"{count} {seed}"))
    return drawn.note


def demo_data(
    folder: str | Path = "dataset", count: int | None = None, seed: int = 0, task: str = ADVERTISEMENTS
) -> Path:
    """Draws the demo's advertisements as `make` does, or texts as `make_text` does; returns the file that lists them.

    Args:
      task: "adverts", or one of `text_tasks.TASKS`: "toxicity", "emoji", "sentiment" or "chat".
    """
    if task == ADVERTISEMENTS:
        make(Path(folder), COUNT if count is None else count, seed)
        return Path(folder) / "data.jsonl"
    if task not in text_tasks.TASKS:
        raise UsageError(f"task {task!r}: there are {', '.join((ADVERTISEMENTS, *text_tasks.TASKS))}")
    make_text(task, Path(folder), count, seed)
    return Path(folder) / text_tasks.TASKS[task].file


def _mark(data: Path, count: int, seed: int) -> bytes:
    """Returns what identifies this data set, so that another one, or one that the user changed, is not replaced."""
    return _mark_of([data], f"{count} {seed}")


def _mark_of(paths: list[Path], settings: str) -> bytes:
    content = b"".join(path.read_bytes() for path in paths)
    return f"{settings} {hashlib.sha256(content).hexdigest()}\n".encode()


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _encode(scene: drawing.Scene, extension: str, rng: np.random.Generator) -> bytes:
    size = drawing.random_size(rng)
    turn = rng.uniform(-10, 10)
    buffer = io.BytesIO()
    if extension == "gif":
        # The badge swings; every frame shows it.
        frames = [drawing.draw(scene, size, rng, turn + 4 * (i - GIF_FRAMES // 2)) for i in range(GIF_FRAMES)]
        palette = [frame.convert("P", palette=Image.Palette.ADAPTIVE) for frame in frames]
        palette[0].save(buffer, "GIF", save_all=True, append_images=palette[1:], duration=160, loop=0)
    elif extension == "jpg":
        drawing.draw(scene, size, rng, turn).save(buffer, "JPEG", quality=88)
    else:
        drawing.draw(scene, size, rng, turn).save(buffer, "PNG")
    return buffer.getvalue()
