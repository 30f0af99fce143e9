"""Measures answers per second: labels scored in one pass, compared with decoding an answer token by token.

Uses the PaliGemma of 79 million parameters of bench/step.py, batches of 8, a prompt of 20 tokens, yes and no. Four ways
to answer take turns within one run:

  written   the published notebook's way: 128 text positions, prefill, then four tokens with the cache
  scored    palitune's one pass over image and prompt
  features  the same on image tokens computed beforehand, as it runs by default
  big_vision  (--reference) the reference implementation's own prefill and decode, where it is importable

Then 20 prompts over 96 images, with image features computed once, and with the image encoder run for each prompt.
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
from step import SIZES

from palitune.infer import decoding, scoring
from palitune.models import multimodal, siglip
from palitune.models.multimodal import Text

BATCH, PROMPT, LITERAL_LENGTH, TOKENS = 8, 20, 128, 4
PROMPTS, IMAGES = 20, 96
EOS, YES, NO = 1, 3276, 1294


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
    args = parser.parse_args()
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
    if args.reference:
        contestants["big_vision"] = reference(params, pixels, prompts(rng, LITERAL_LENGTH))
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(args.rounds):
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


if __name__ == "__main__":
    main()
