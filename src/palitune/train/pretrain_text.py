"""Trains the tiny text model that ships with palitune: its tokenizer, then the model, on the demo's text exercises."""

from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from palitune import trees
from palitune.data import batches, templates
from palitune.data.demo import text_exercises
from palitune.data.encode import Encoded
from palitune.data.templates import BEGIN_OF_TURN, END_OF_TURN, Template
from palitune.data.vocabulary import Vocabulary
from palitune.models import multimodal
from palitune.models.families import TINYTEXT
from palitune.models.spec import GEMMA, ModelSpec
from palitune.train import step
from palitune.train.pretrain_tiny import CLIP, PIECES, TOKENIZER, Pieces, optimizer, report, train_tokenizer
from palitune.train.step_options import Options

SEED = 1  # of the model that ships
STEPS = 4000
LEARNING_RATE = 2e-3
# A Gemma's, without what brackets an image.
TEXT_PIECES = Pieces((BEGIN_OF_TURN, END_OF_TURN, "\n", "\n\n", "\n\n\n"), PIECES[GEMMA].words, PIECES[GEMMA].names)
TOKENIZER_SETTINGS = {"split_digits": True, "character_coverage": 1.0, "max_sentencepiece_length": 9}
ROWS, WIDTH, ANSWERS = 24, 128, 64  # of a batch: rows, tokens of a row, and how many of these are in answers


def tokenizer_lines(seed: int) -> list[str]:
    """What the tokenizer learns from: exercises, and texts as the demo has them."""
    rng = np.random.default_rng(seed)
    lines = [line for _ in range(8000) for line in text_exercises.lines(rng)]
    # Each text once, so that what is rare gets its pieces too; words that are answers as often as turns begin.
    return [*[*TEXT_PIECES.words, *text_exercises.WORDS * 50], *dict.fromkeys(lines)]


def exercises(template: Template, rng: np.random.Generator) -> Iterator[batches.Batch]:
    """Endless batches of `ROWS` rows, all of one shape: exercises one behind another, as many as there is room for."""
    absent = np.zeros((0, TINYTEXT.llm.width), np.float32)
    chosen: list[Encoded] = []
    rows: list[list[int]] = [[]]
    room, answers = WIDTH, ANSWERS
    while True:
        one = templates.encoded(template, text_exercises.exercise(rng), "")
        length, answer = len(one.tokens) - 1, len(one.loss_places)
        if length > WIDTH or answer > ANSWERS:
            continue
        if length > room or answer > answers:
            if len(rows) == ROWS:
                yield batches.packed(absent, chosen, batches.Packing(rows, WIDTH, ANSWERS))
                chosen, rows = [], []
            rows.append([])
            room, answers = WIDTH, ANSWERS
        rows[-1].append(len(chosen))
        chosen.append(one)
        room, answers = room - length, answers - answer


def pretrain(spec: ModelSpec, folder: Path, *, steps: int, seed: int) -> dict[str, np.ndarray]:
    """Trains tokenizer and model; writes `tokenizer.model` into `folder` and returns the flat float32 parameters."""
    lines = tokenizer_lines(seed)
    train_tokenizer(spec, folder / TOKENIZER, lines, TEXT_PIECES, **TOKENIZER_SETTINGS)
    template = templates.make(spec.template, Vocabulary.open(folder / TOKENIZER), takes_images=False)
    trainable, frozen = trees.split(
        trees.flatten(multimodal.init(spec, jax.random.key(seed))), trees.Rules([(r"llm/.*", True)])
    )
    rule, options = optimizer(LEARNING_RATE, steps), Options(clip_global=CLIP)
    update = step.make_step(spec, rule, options=options)
    state = step.init_state(rule, trainable, options)
    losses = []
    feed = exercises(template, np.random.default_rng(seed))
    for number in range(1, steps + 1):
        trainable, state, outcome = update(trainable, state, frozen, next(feed))
        losses.append(outcome.loss)
        report("model", number, steps, losses)
    return dict(jax.device_get(trainable))
