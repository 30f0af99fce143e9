"""Measures answers per second: labels scored in one pass, compared with decoding an answer token by token.

Uses the PaliGemma of 79 million parameters of bench/step.py, batches of 8, a prompt of 20 tokens, yes and no. Four ways
to answer take turns within one run:

  written   the published notebook's way: 128 text positions, prefill, then four tokens with the cache
  scored    palitune's one pass over image and prompt
  features  the same on image tokens computed beforehand, as it runs by default
  big_vision  (--reference) the reference implementation's own prefill and decode, where it is importable

Then 20 prompts over 96 images, with image features computed once, and with the image encoder run for each prompt.

--row measures something else instead, on texts and a Gemma 3 of the sizes in bench/step.py:

  classes   25 classes behind a text, one or two tokens each as emoji are and up to three, in one pass beside a pass for
            each class written out
  labels    7 yes-or-no questions about a text of 200 tokens, in one pass beside a pass for each question
  packing   training steps on texts of 10 to 60 tokens, several to a row beside one to a row of 128 tokens
"""

import argparse
import functools
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from step import FAMILIES, SIZES, stepping

from palitune import trees
from palitune.data import batches, encode
from palitune.infer import decoding, scoring
from palitune.models import gemma, multimodal, siglip
from palitune.models.multimodal import Text

BATCH, PROMPT, LITERAL_LENGTH, TOKENS = 8, 20, 128, 4
PROMPTS, IMAGES = 20, 96
EOS, YES, NO = 1, 3276, 1294
TEXTS = FAMILIES["gemma3-text"]
CLASSES, CLASS_TEXT = 25, 40
LABELS, LABEL_TEXT, QUESTION = 7, 200, 8
PACKED, SHORTEST, LONGEST, ROW = 32, 10, 60, 128


def compiled(function: Callable[..., Any], *arguments: Any) -> Callable[[], float]:
    """Seconds of one call, compiled beforehand."""
    program = jax.jit(function).lower(*arguments).compile()

    def timed() -> float:
        started = time.perf_counter()
        jax.block_until_ready(program(*arguments))
        return time.perf_counter() - started

    timed()
    return timed


def prompts(rng: np.random.Generator, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens and mask, int32[B, width] each, of prompts of `PROMPT` tokens."""
    text, mask = np.zeros((BATCH, width), np.int32), np.zeros((BATCH, width), np.int32)
    text[:, :PROMPT], mask[:, :PROMPT] = rng.integers(3, SIZES.llm.vocab_size, (BATCH, PROMPT)), 1
    return text, mask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--reference", action="store_true")
    parser.add_argument("--row", choices=ROWS, help="what to measure instead")
    args = parser.parse_args()
    if args.row:
        print(f"{platform.machine()}, {jax.devices()[0].device_kind}, jax {jax.__version__}; {args.rounds} rounds")
        ROWS[args.row](args.rounds)
    else:
        answers(args.rounds, args.reference)


def answers(rounds: int, with_reference: bool) -> None:
    """The four ways to answer, and 20 prompts over 96 images."""
    rng = np.random.default_rng(0)
    params = multimodal.init(SIZES, jax.random.key(0))
    pixels = rng.uniform(-1, 1, (BATCH, SIZES.image_encoder.image_size, SIZES.image_encoder.image_size, 3)).astype(
        np.float32
    )
    tree = scoring.label_tree([[YES], [NO]], EOS)
    tokens = jax.jit(functools.partial(siglip.image_tokens, SIZES.image_encoder))(params["img"], pixels)

    def written(params: Any, pixels: Any, text: Any, mask: Any) -> Any:
        zimg = multimodal.image_tokens(SIZES, params, pixels)
        return decoding.greedy(SIZES, params, zimg, Text(text, jnp.zeros_like(text), mask), TOKENS, eos=-1)

    def scored(params: Any, image: Any, text: Any, mask: Any) -> Any:
        zimg = multimodal.image_tokens(SIZES, params, image)
        return scoring.log_likelihoods(SIZES, params, zimg, Text(text, jnp.zeros_like(text), mask), tree, relative=True)

    short = prompts(rng, 24)  # a bucket, as batches are padded
    features = np.asarray(tokens).astype(np.float16)
    contestants = {
        "written": compiled(written, params, pixels, *prompts(rng, LITERAL_LENGTH)),
        "scored": compiled(scored, params, pixels, *short),
        "features": compiled(scored, params, features, *short),
    }
    if with_reference:
        contestants["big_vision"] = reference(params, pixels, prompts(rng, LITERAL_LENGTH))
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, timed in contestants.items():
            times[name].append(timed())
    print(f"{platform.machine()}, {jax.devices()[0].device_kind}, jax {jax.__version__}; batches of {BATCH}")
    base = statistics.median(times["written"])
    print(f"{'':10}  examples/s  x written")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        print(f"{name:10}  {BATCH / median:10.2f}  {base / median:9.2f}")
    many(params, pixels, short, scored)


def many(params: Any, pixels: Any, short: Any, scored: Callable[..., Any]) -> None:
    """20 prompts over 96 images: the image encoder runs once for each image, or for each image and prompt."""
    encoder = compiled(lambda img, pixels: siglip.image_tokens(SIZES.image_encoder, img, pixels), params["img"], pixels)
    features = np.zeros((BATCH, SIZES.num_image_tokens, SIZES.image_encoder.num_classes), np.float16)
    known, recomputed = compiled(scored, params, features, *short), compiled(scored, params, pixels, *short)
    with_them = without = 0.0
    for _ in range(IMAGES // BATCH):
        with_them += encoder()
        for _ in range(PROMPTS):
            with_them += known()
            without += recomputed()
    count = PROMPTS * IMAGES
    print(
        f"{PROMPTS} prompts over {IMAGES} images: {count / with_them:.2f} answers/s with image features, ",
        end="",
    )
    print(f"{count / without:.2f} without: {without / with_them:.2f} x")


def reference(params: Any, pixels: Any, text: Any) -> Callable[[], float]:
    """big_vision's own model: the notebook's prefill and four tokens."""
    from palitune.reference import Reference

    model = Reference(SIZES, Path(__file__).parent.parent / "cache" / "big_vision").model

    def answer(params: Any, pixels: Any, text: Any, mask: Any) -> Any:
        options = {"input_mask": mask.astype(bool), "mask_ar": jnp.zeros_like(text)}
        method = model.embed_image_and_text
        (x, real, mask_ar), _ = model.apply({"params": params}, pixels, text, **options, method=method)
        options = {"cache_size": x.shape[1] + TOKENS, "method": model.prefill_cache, "mutable": ("cache",)}
        logits, cache = model.apply({"params": params}, x, real, mask_ar, **options)
        found = []
        for _ in range(TOKENS):
            found.append(jnp.argmax(logits[:, -1], axis=-1)[:, None])
            x, _ = model.apply({"params": params}, found[-1], method=model.embed_text)
            options = {"method": model.extend_cache, "mutable": ("cache",)}
            logits, cache = model.apply({"params": params, **cache}, x, **options)
        return jnp.concatenate(found, axis=1)

    return compiled(answer, params, pixels, *text)


def causal(tokens: np.ndarray, width: int) -> Text:
    """Causal text of int32[B, T] tokens, padded to a width."""
    padding = ((0, 0), (0, width - tokens.shape[1]))
    mask = np.pad(np.ones_like(tokens), padding)
    return Text(np.pad(tokens, padding), np.ones_like(mask), mask)


def in_turns(rounds: int, one: Callable[[], float], each: Callable[[], float], what: str) -> None:
    """Times one pass and several passes in turns, and prints how much faster the one is."""
    times = [(one(), each()) for _ in range(rounds)]
    fast, slow = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(several / single for single, several in times)
    print(f"{what}: {BATCH / fast:.2f} texts/s in one pass, {BATCH / slow:.2f} in several: {ratio:.2f} x")


def agree(one: Any, each: Any, what: str) -> None:
    """Ends the benchmark unless probabilities [B, ..., L] of both ways are the same."""
    off = float(np.abs(np.asarray(jax.nn.softmax(one, axis=-1)) - np.asarray(jax.nn.softmax(each, axis=-1))).max())
    if off > 1e-4:
        raise SystemExit(f"{what}: probabilities differ by {off:.2g}")


def classes(rounds: int) -> None:
    """25 classes behind a text, of few tokens and of more."""
    emoji = [2 if number % 5 == 4 else 1 for number in range(CLASSES)]
    classes_of(rounds, emoji, f"{CLASSES} classes, 20 of one token and 5 of two")
    classes_of(rounds, [1 + number % 3 for number in range(CLASSES)], f"{CLASSES} classes of one to three tokens")


def classes_of(rounds: int, lengths: list[int], what: str) -> None:
    """Classes of these lengths: as a tree in one pass, or each written out behind the text in a pass of its own."""
    rng = np.random.default_rng(0)
    params = multimodal.init(TEXTS, jax.random.key(0))
    absent = np.zeros((BATCH, 0, TEXTS.llm.width), np.float32)
    text = rng.integers(3, 250_000, (BATCH, CLASS_TEXT), dtype=np.int32)
    beginnings = rng.choice(np.arange(3, 250_000), CLASSES, replace=False)  # so that none is the beginning of another
    names = [
        [int(first), *rng.integers(3, 250_000, length - 1).tolist()]
        for first, length in zip(beginnings, lengths, strict=True)
    ]
    tree = scoring.label_tree(names, EOS)

    @jax.jit
    def together(params: Any, prompt: Text) -> Any:
        return scoring.log_likelihoods(TEXTS, params, absent, prompt, tree, relative=True)

    @jax.jit
    def written_out(params: Any, whole: Text, name: Any) -> Any:
        hidden = multimodal.hidden_states(TEXTS, params, absent, whole)
        states = hidden[:, CLASS_TEXT - 1 : CLASS_TEXT - 1 + len(name)]
        logp = jax.nn.log_softmax(gemma.logits(TEXTS.llm, params["llm"], states), axis=-1)
        own = jnp.take_along_axis(logp, jnp.broadcast_to(name, logp.shape[:2])[..., None], axis=-1)
        return jnp.sum(own[..., 0], axis=-1)

    prompt = causal(text, batches.bucket(CLASS_TEXT))
    wholes = []
    for name in names:
        answered = np.concatenate([text, np.broadcast_to(np.array(name, np.int32), (BATCH, len(name)))], axis=1)
        wholes.append((causal(answered[:, :-1], batches.bucket(answered.shape[1] - 1)), np.array(name, np.int32)))

    def one() -> Any:
        return jax.block_until_ready(together(params, prompt))

    def each() -> Any:
        return jnp.stack([jax.block_until_ready(written_out(params, *whole)) for whole in wholes], axis=-1)

    agree(one(), each(), "classes")
    in_turns(rounds, timed(one), timed(each), what)


def labels(rounds: int) -> None:
    """7 questions about a text: behind a beginning that goes through once, or each in a pass of its own."""
    rng = np.random.default_rng(0)
    params = multimodal.init(TEXTS, jax.random.key(0))
    absent = np.zeros((BATCH, 0, TEXTS.llm.width), np.float32)
    text = rng.integers(3, 250_000, (BATCH, LABEL_TEXT), dtype=np.int32)
    questions = rng.integers(3, 250_000, (LABELS, QUESTION), dtype=np.int32)
    tree = scoring.label_tree([[YES], [NO]], EOS, questions.tolist())
    alone = scoring.label_tree([[YES], [NO]], EOS)

    @jax.jit
    def together(params: Any, prompt: Text) -> Any:
        found = scoring.log_likelihoods(TEXTS, params, absent, prompt, tree, relative=True)
        return found.reshape(BATCH, LABELS, 2)

    @jax.jit
    def asked(params: Any, prompt: Text) -> Any:
        return scoring.log_likelihoods(TEXTS, params, absent, prompt, alone, relative=True)

    beginning = causal(text, batches.bucket(LABEL_TEXT))
    prompts = [
        causal(
            np.concatenate([text, np.broadcast_to(one, (BATCH, QUESTION))], 1), batches.bucket(LABEL_TEXT + QUESTION)
        )
        for one in questions
    ]

    def one() -> Any:
        return jax.block_until_ready(together(params, beginning))

    def each() -> Any:
        return jnp.stack([jax.block_until_ready(asked(params, prompt)) for prompt in prompts], axis=1)

    agree(one(), each(), "labels")
    in_turns(rounds, timed(one), timed(each), f"{LABELS} labels of {LABEL_TEXT} tokens")


def timed(call: Callable[[], Any]) -> Callable[[], float]:
    """Seconds of a call."""

    def seconds() -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    return seconds


def packing(rounds: int) -> None:
    """A training step on the same texts: each in a row of 128 or of the longest text, or packed into rows."""
    rng = np.random.default_rng(0)
    params = trees.flatten(multimodal.init(TEXTS, jax.random.key(0)))
    lengths = rng.integers(SHORTEST, LONGEST + 1, PACKED).tolist()
    texts = [
        encode.causal(rng.integers(3, 250_000, length - 2).tolist()).answered([int(rng.integers(3, 250_000)), EOS])
        for length in lengths
    ]
    absent = np.zeros((0, TEXTS.llm.width), np.float32)
    plain = batches.training(np.broadcast_to(absent, (PACKED, *absent.shape)), texts)
    padding = ((0, 0), (0, ROW - plain.text.shape[1]))
    wide = {name: np.pad(getattr(plain, name), padding) for name in ("text", "mask_ar", "mask_input")}
    found = batches.packings([range(PACKED)], texts)
    assert found is not None
    rows = f"{len(found[0].rows)} rows of {found[0].width}"
    contestants = [
        stepping(params, plain._replace(**wide), f"a row of {ROW} each", TEXTS),
        stepping(params, plain, f"a row of {plain.text.shape[1]} each", TEXTS),
        stepping(params, batches.packed(absent, texts, found[0]), f"packed, {rows}", TEXTS),
    ]
    for _ in range(rounds):
        for step in contestants:
            step()
            step.times.pop()  # it pays for the memory that another contestant gave back
            step()
    for step in contestants:
        ratio = statistics.median(b / s for b, s in zip(contestants[0].times, step.times, strict=True))
        speed = PACKED / statistics.median(step.times)
        print(f"{step.name:24} {speed:8.1f} examples/s {ratio:6.2f} x   loss {step.loss:.4f}")


ROWS: dict[str, Callable[[int], None]] = {"classes": classes, "labels": labels, "packing": packing}


if __name__ == "__main__":
    main()
