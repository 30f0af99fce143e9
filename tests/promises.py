"""Configurations whose memory is promised: tests/gpu_plan.py compiles their steps, bench/gpu.py runs them."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from palitune.config import run_config
from palitune.method import METHODS
from palitune.models import families, spec
from palitune.train.step_shapes import Work

CARD = "rtx4070-12gb"
SMALL = "rtx3050-6gb"


class Promise(NamedTuple):
    """A configuration and the most that it may take; 20-token prompts and one-word answers unless it says more."""

    family: str
    method: str
    optimizer: str
    batch: int
    features: bool  # image tokens from the cache
    bar: float  # GB
    rank: int = 16
    prompt: int = 20  # tokens
    pixels: int = 224  # PaliGemma's
    quantize: str = ""  # where it is not the method's own
    embeddings: bool = False  # in 8 bits
    text: bool = False  # a model of images asked about texts alone
    card: str = CARD
    offload: bool = False  # the optimizer's state is in the host's memory
    devices: int = 1  # over which the model and the batch are spread; the bar is for one of them

    @property
    def name(self) -> str:
        """How the record calls it."""
        with_pictures = not self.features and not self.text and families.FAMILIES[self.family].img is not None
        parts = [f"{self.family} {self.method} {self.optimizer} batch {self.batch}"]
        parts += ["with pictures"] * with_pictures + ["with text"] * self.text
        parts += [f"at {self.pixels}"] * (self.pixels != 224) + [self.quantize] * bool(self.quantize)
        several = f"{self.devices} x " if self.devices > 1 else ""
        parts += ["int8 embeddings"] * self.embeddings + ["offloaded"] * self.offload
        parts += [f"on {several}{self.card}"] * (self.card != CARD or self.devices > 1)
        return " ".join(parts)

    def work(self) -> Work:
        """What its step needs."""
        sizes = families.published(self.family, self.pixels if self.family in families.PALIGEMMAS else None)
        if self.text:
            sizes = dataclasses.replace(sizes, img=None)
        settings = run_config.training(
            method=self.method,
            optimizer=self.optimizer,
            batch_size=self.batch,
            lora_rank=self.rank,
            quantize=self.quantize or METHODS[self.method].quantize,
            quantize_embeddings=self.embeddings,
            offload="optimizer" if self.offload else "none",
        )
        dtype = jnp.dtype(families.FAMILIES[self.family].stored_dtype)
        stored = {path: jax.ShapeDtypeStruct(leaf.shape, dtype) for path, leaf in spec.expected(sizes).items()}
        return Work(sizes, stored, settings, jnp.dtype(jnp.bfloat16), self.prompt + 1, 2, self.features)


PROMISED = (
    Promise("paligemma-3b", "attention", "sgd", 8, True, 7.0),
    Promise("paligemma-3b", "attention", "sgd", 8, False, 7.0),
    Promise("paligemma-3b", "attention", "sgd", 48, True, 11.0),
    Promise("paligemma-3b", "attention", "sgd", 48, False, 11.0),
    Promise("paligemma-3b", "full", "sgd", 8, False, 8.5),
    Promise("paligemma-3b", "full", "adafactor", 8, False, 11.0),
    Promise("paligemma-3b", "full", "adamw", 8, False, 8.5, offload=True),
    Promise("paligemma-3b", "lora", "adamw", 8, True, 6.8),
    Promise("paligemma-3b", "lora", "sgd", 8, False, 6.8),
    Promise("paligemma-3b", "lora", "adamw", 48, True, 11.0),
    Promise("paligemma-3b", "lora", "adamw", 48, False, 11.0),
    Promise("paligemma2-3b", "full", "sgd", 4, False, 9.5),
    Promise("paligemma2-3b", "lora", "adamw", 16, True, 9.0),
    Promise("paligemma2-3b", "lora", "adamw", 16, False, 9.0),
    Promise("gemma3-4b", "attention", "sgd", 2, True, 9.5),
    Promise("gemma3-4b", "lora", "adamw", 2, True, 9.5),
    Promise("gemma3-1b", "full", "sgd", 8, False, 4.8, prompt=126),
    Promise("gemma2-2b", "full", "sgd", 4, False, 7.8),
    Promise("paligemma2-10b", "qlora", "adamw", 4, True, 8.5),
    Promise("paligemma2-10b", "qlora", "adamw", 4, False, 8.5, embeddings=True),
    Promise("gemma3-4b", "qlora", "adamw", 4, True, 5.0),
    Promise("gemma3-4b", "qlora", "adamw", 4, False, 5.0),
    Promise("gemma3-12b", "qlora", "adamw", 4, True, 9.8, prompt=254, text=True),
    Promise("gemma3-12b", "qlora", "adamw", 4, True, 9.8, prompt=254, text=True, embeddings=True),
    Promise("paligemma-3b", "lora", "adamw", 4, False, 9.0, pixels=448),
    Promise("paligemma-3b", "lora", "adamw", 1, False, 11.0, pixels=896),
    Promise("paligemma-3b", "attention", "sgd", 2, True, 4.2, quantize="nf4", card=SMALL),
    Promise("paligemma-3b", "attention", "sgd", 2, False, 4.2, quantize="nf4", embeddings=True, card=SMALL),
    # 1.15 times what one card needs, by their number, and a layer.
    Promise("paligemma-3b", "full", "sgd", 4, False, 2.23, devices=4),
    Promise("paligemma-3b", "full", "sgd", 8, False, 1.24, devices=8),
    Promise("paligemma2-28b", "full", "sgd", 16, False, 70.0, card="h100-80gb", devices=16),
)
