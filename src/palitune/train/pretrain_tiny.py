"""Makes the tiny models that ship with palitune: tokenizer and weights, from nothing but a seed.

They learn captions and questions about images that are drawn (`data/demo/`), so that fine-tuning
starts from a model that already answers questions about images with yes or no.
"""

import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import sentencepiece
from numpy.typing import NDArray
from tqdm import tqdm

from palitune import trees
from palitune.checkpoint import exported_tensors, npz, tensor_writer, transformers_config_writing
from palitune.checkpoint.tensor_files import WHOLE
from palitune.data import batches, templates
from palitune.data.demo import drawing, pretraining_tasks
from palitune.data.encode import Encoded
from palitune.data.example import Example
from palitune.data.images import resize
from palitune.data.templates import Template
from palitune.data.vocabulary import BOS, EOS, Vocabulary
from palitune.models import multimodal, siglip
from palitune.models.arrays import AnyArray, Flat, Params, Tree
from palitune.models.families import TINY, TINY3
from palitune.models.parameter_shapes import SiglipSizes
from palitune.models.spec import GEMMA, PALIGEMMA, ModelSpec
from palitune.storage import atomic_files
from palitune.train import step
from palitune.train.step_options import Options

IMAGE_TOKEN = "<image_soft_token>"  # which other programs put where an image's tokens go
IMAGE_IDS = {  # in `config.json`
    "boi_token_index": templates.BEGIN_OF_IMAGE,
    "eoi_token_index": templates.END_OF_IMAGE,
    "image_token_index": IMAGE_TOKEN,
}
TOKENIZER = "tokenizer.model"
MODELS = {"tiny": TINY, "tiny3": TINY3}
STEPS = 1500  # of the language model


class Pieces(NamedTuple):
    """What a tokenizer has beside what it learns, as the published one that it takes after.

    Attributes:
      symbols: pieces that are one token wherever they are in a text.
      words: what is in every example, so that it is not spelled letter by letter.
      names: of the pieces that begin and end a text, where they are not the library's own.
    """

    symbols: tuple[str, ...]
    words: tuple[str, ...] = ()
    names: Mapping[str, str] = MappingProxyType({})


PIECES = {
    PALIGEMMA: Pieces(("\n",)),
    GEMMA: Pieces(
        (
            *(templates.BEGIN_OF_TURN, templates.END_OF_TURN),
            *(templates.BEGIN_OF_IMAGE, templates.END_OF_IMAGE, IMAGE_TOKEN),
            *("\n", "\n\n", "\n\n\n"),
        ),
        ("user", "model") * 50,
        MappingProxyType({"bos_piece": BOS, "eos_piece": EOS}),
    ),
}
LONGEST_ANSWER = 24  # tokens; captions are the longest answers
BATCH_SIZE = 64
CLIP = 1.0  # largest norm of all gradients together
# What the image encoder is taught to tell apart, by fields of a scene.
CLASSES: dict[str, tuple[object, ...]] = {
    "product": drawing.PRODUCTS,
    "product_colour": tuple(drawing.COLOURS),
    "background": tuple(drawing.BACKGROUNDS),
    "badge": drawing.BADGES,
    "badge_colour": tuple(drawing.COLOURS),
}
# The shape of the badge is the hardest to see and the most asked about.
WEIGHTS = {"badge": 3.0}


def tokenizer_lines(spec: ModelSpec, seed: int) -> list[str]:
    """What the tokenizer learns from: questions about drawn advertisements and their answers."""
    rng = np.random.default_rng(seed)
    lines = [*pretraining_tasks.ORDINARY_TEXT, *PIECES[spec.template].words] * 400
    for _ in range(20_000):
        lines += pretraining_tasks.pretraining_task(drawing.random_scene(rng), rng)
    return lines


def train_tokenizer(spec: ModelSpec, path: Path, lines: list[str], pieces: Pieces, **settings: object) -> None:
    """Writes a SentencePiece model with a piece for every row of the model, Gemma's special ids and byte fallback.

    Args:
      settings: more of SentencePiece's own.
    """
    model = io.BytesIO()
    train: Callable[..., None] = sentencepiece.SentencePieceTrainer.train  # whose annotations want them one by one
    train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=spec.llm.vocab_size,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        user_defined_symbols=list(pieces.symbols),
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        num_threads=1,
        minloglevel=2,
        **pieces.names,
        **settings,
    )
    path.write_bytes(model.getvalue())


def draw_pool(size: int, count: int, rng: np.random.Generator) -> tuple[list[drawing.Scene], NDArray[np.generic]]:
    """`count` scenes and their images of `size` pixels S a side, float16[count, S, S, 3] in [-1, 1]."""
    scenes = [drawing.random_scene(rng) for _ in range(count)]
    pixels = np.empty((count, size, size, 3), np.float16)
    for row, scene in zip(pixels, tqdm(scenes, "drawing", disable=not sys.stderr.isatty()), strict=True):
        image = drawing.draw(scene, drawing.random_size(rng), rng, turn=rng.uniform(-12, 12))
        row[:] = resize.to_pixels(image, size)
    return scenes, pixels


def exercises(
    scenes: list[drawing.Scene],
    pixels: NDArray[np.generic],
    template: Template,
    rng: np.random.Generator,
) -> Iterator[batches.Batch]:
    """Endless batches of `BATCH_SIZE` images with one exercise each."""
    cache: dict[tuple[str, str], Encoded] = {}
    while True:
        chosen = rng.integers(len(scenes), size=BATCH_SIZE)
        texts = []
        for index in chosen:
            pair = pretraining_tasks.pretraining_task(scenes[index], rng)
            if pair not in cache:
                cache[pair] = templates.encoded(template, Example.of("", *pair), "")
            texts.append(cache[pair])
        yield batches.training(pixels[chosen].astype(np.float32), texts, LONGEST_ANSWER)


def targets(scenes: list[drawing.Scene]) -> NDArray[np.generic]:
    """What each scene shows as class numbers, int32[count, len(CLASSES)]."""
    rows = [[values.index(getattr(scene, name)) for name, values in CLASSES.items()] for scene in scenes]
    return np.array(rows, np.int32)


def optimizer(rate: float, steps: int) -> optax.GradientTransformation:
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, steps // 15, steps)
    return optax.adamw(schedule, weight_decay=0.03)


def train_image_encoder(
    sizes: SiglipSizes,
    params: Params,
    scenes: list[drawing.Scene],
    pixels: NDArray[np.generic],
    steps: int,
    rng: np.random.Generator,
) -> Params:
    """Trains the image encoder alone, by naming what it sees: as SigLIP is trained before PaliGemma is put together.

    Every image token has to name everything, so that the language model finds it at any position.
    """
    labels = targets(scenes)
    heads = [jnp.zeros((sizes.num_classes, len(values))) for values in CLASSES.values()]

    def loss_of(weights: Tree, images: jax.Array, labels: jax.Array) -> jax.Array:
        params, heads = weights
        zimg = siglip.image_tokens(sizes, params, images)
        cross_entropy = optax.losses.softmax_cross_entropy_with_integer_labels
        losses = [
            WEIGHTS.get(name, 1.0) * cross_entropy(zimg @ head, labels[:, None, i]).mean()
            for i, (name, head) in enumerate(zip(CLASSES, heads, strict=True))
        ]
        return jnp.sum(jnp.stack(losses))

    rule = optax.chain(optax.clip_by_global_norm(CLIP), optimizer(2e-3, steps))

    @jax.jit
    def update(weights: Tree, state: Tree, images: AnyArray, labels: AnyArray) -> Tree:
        loss, gradients = jax.value_and_grad(loss_of)(weights, images, labels)
        updates, state = rule.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state, loss

    weights = (params, heads)
    state = rule.init(weights)
    losses = []
    for number in range(1, steps + 1):
        chosen = rng.integers(len(scenes), size=BATCH_SIZE)
        # Half of the batches in a mirror: nothing that is asked depends on left and right.
        images = pixels[chosen, :, :: rng.choice((-1, 1))].astype(np.float32)
        weights, state, loss = update(weights, state, images, labels[chosen])
        losses.append(loss)
        report("image encoder", number, steps, losses)
    return weights[0]


def train_language_model(
    spec: ModelSpec,
    tree: Tree,
    template: Template,
    scenes: list[drawing.Scene],
    pixels: NDArray[np.generic],
    steps: int,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Trains the language model to use what the image encoder, which is frozen, sees; returns all parameters, flat."""
    trainable: Flat
    trainable, frozen = trees.split(trees.flatten(tree), trees.Rules([(r"llm/.*", True), (r"img/.*", False)]))
    rule = optimizer(2e-3, steps)
    options = Options(clip_global=CLIP)
    update = step.make_step(spec, rule, options=options)
    state = step.init_state(rule, trainable, options)
    losses = []
    feed = exercises(scenes, pixels, template, rng)
    for number in range(1, steps + 1):
        trainable, state, outcome = update(trainable, state, frozen, next(feed))
        losses.append(outcome.loss)
        report("model", number, steps, losses)
    return dict(jax.device_get({**trainable, **frozen}))


def report(stage: str, number: int, steps: int, losses: list[jax.Array]) -> None:
    if number % 100 == 0:
        mean = float(jnp.mean(jnp.stack(losses[-100:])))
        print(f"{stage}: {number}/{steps}   loss: {mean:.4f}", file=sys.stderr, flush=True)


def pretrain(
    spec: ModelSpec, folder: Path, *, images: int, encoder_steps: int, steps: int, seed: int
) -> dict[str, np.ndarray]:
    """Trains tokenizer and model; writes `tokenizer.model` into `folder` and returns the flat float32 parameters."""
    train_tokenizer(spec, folder / TOKENIZER, tokenizer_lines(spec, seed), PIECES[spec.template])
    vocabulary = Vocabulary.open(folder / TOKENIZER)
    template = templates.make(spec.template, vocabulary, takes_images=True)
    rng = np.random.default_rng(seed)
    encoder = spec.image_encoder
    scenes, pixels = draw_pool(encoder.image_size, images, rng)
    tree = multimodal.init(spec, jax.random.key(seed))
    tree["img"] = train_image_encoder(encoder, tree["img"], scenes, pixels, encoder_steps, rng)
    return train_language_model(spec, tree, template, scenes, pixels, steps, rng)


def save(spec: ModelSpec, folder: Path, params: Mapping[str, np.ndarray]) -> Path:
    """Writes weights beside the tokenizer, as the model ships; returns the path by which the model is read."""
    dtype = jnp.dtype(spec.stored_dtype)
    if spec.template == PALIGEMMA:
        path = folder / "tiny.npz"
        npz.save(path, {name: array.astype(dtype) for name, array in params.items()})
        return path
    vocabulary = Vocabulary.open(folder / TOKENIZER)
    ids = {"bos_token_id": vocabulary.bos, "eos_token_id": vocabulary.eos, "pad_token_id": 0}
    images = {key: vocabulary.special(piece) for key, piece in IMAGE_IDS.items()} if spec.img else {}
    config = transformers_config_writing.write(spec, spec.stored_dtype, images)
    ends = [vocabulary.eos, vocabulary.special(templates.END_OF_TURN)]
    generation = {**ids, "eos_token_id": ends}
    for name, content in (("config.json", config), ("generation_config.json", generation)):
        atomic_files.write(folder / name, (json.dumps(content, indent=2) + "\n").encode())
    (folder / WHOLE).unlink(missing_ok=True)  # what a run before has left here
    tensor_writer.save(folder, exported_tensors.tensors_of(spec, params, dtype))
    return folder
