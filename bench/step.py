"""Time, memory and compile time of one train step: the published notebook's recipe beside palitune's.

Builds a PaliGemma of 79 million parameters with the full vocabulary (SigLIP 192 wide x 6, Gemma 256 wide x 6) and
times, in turns within one run, at batch 8 with a 20-token prompt and a one-word answer:

  literal   the notebook's recipe: 128 text positions, all logits, one-hot cross-entropy, SGD on attention alone
  images    palitune's step
  features  palitune's step on image tokens computed beforehand, as it runs by default
  big_vision  (--reference) the reference implementation's own model under the literal recipe, where it is importable
  torch     (--torch) transformers' PaliGemma of the same sizes, where torch is installed

With --family gemma3-text or gemma3 (with images) it times palitune's step of a Gemma 3 with the full vocabulary beside
transformers' of the same sizes, where torch is installed: attention alone learns, plain SGD, float32.

Memory is XLA's own count of temporary bytes, and for torch the most bytes that its allocator has given out during a
step beyond what it had before.
"""

import argparse
import functools
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from palitune import trees
from palitune.checkpoint import transformers_config_writing
from palitune.data import batches, encode
from palitune.data.encode import Encoded
from palitune.data.example import Image
from palitune.errors import ConfigurationError
from palitune.method import METHODS
from palitune.models import multimodal, siglip, spec
from palitune.models.multimodal import Text
from palitune.models.parameter_shapes import SiglipSizes
from palitune.models.spec import GEMMA, GemmaSpec, LayerKind, ModelSpec
from palitune.reference import Reference
from palitune.train import optimizers
from palitune.train.plan import kept_layers
from palitune.train.step import init_state, make_step
from palitune.train.step_options import Options

SIZES = ModelSpec(
    SiglipSizes(width=192, depth=6, mlp_dim=768, num_heads=3, patch_size=14, image_size=224, num_classes=256),
    GemmaSpec(width=256, depth=6, mlp_dim=2048, num_heads=4, num_kv_heads=1, head_dim=64, vocab_size=257_152),
)
LOCAL, GLOBAL = LayerKind(10_000.0, 512), LayerKind(1_000_000.0, rope_factor=8.0)
GEMMA3 = GemmaSpec(
    width=256,
    depth=6,
    mlp_dim=2048,
    num_heads=4,
    num_kv_heads=2,
    head_dim=64,
    vocab_size=262_208,
    post_norms=True,
    kinds=(LOCAL, GLOBAL),
    pattern=(0, 0, 0, 0, 0, 1),
    qk_norms=True,
)
FAMILIES = {
    "gemma3-text": ModelSpec(None, GEMMA3, template=GEMMA),
    "gemma3": ModelSpec(SiglipSizes(192, 6, 768, 3, 14, 448, 256, pool=2), GEMMA3, template=GEMMA),
}
BATCH, PROMPT, LITERAL_LENGTH, RATE = 8, 20, 128, 0.03
TEXT_PROMPT = 62  # tokens of a text without an image
Run = Callable[[], Any]


def examples(seed: int) -> tuple[np.ndarray, list[Encoded]]:
    """Random images float32[B, H, W, 3] and texts: a prompt, one token of answer, the end."""
    rng = np.random.default_rng(seed)
    images = rng.uniform(-1, 1, (BATCH, SIZES.image_encoder.image_size, SIZES.image_encoder.image_size, 3)).astype(
        np.float32
    )
    words = rng.integers(3, SIZES.llm.vocab_size, (BATCH, PROMPT + 1))
    return images, [
        encode.prefix(row[:PROMPT].tolist(), (Image("a.png"),)).answered([int(row[PROMPT]), 1]) for row in words
    ]


def literal_inputs(texts: list[Encoded]) -> tuple[np.ndarray, ...]:
    """Text, mask_ar, mask_loss, mask_input, each int32[B, 128], as the notebook's `preprocess_tokens` makes them."""

    def padded(values: list[int]) -> list[int]:
        return values + [0] * (LITERAL_LENGTH - len(values))

    rows = []
    for text in texts:
        ids, prefix = text.tokens.tolist(), text.prompt_length
        suffix = len(ids) - prefix
        rows.append([ids, [0] * prefix + [1] * suffix, [0] * prefix + [1] * suffix, [1] * len(ids)])
    return tuple(np.array([padded(row[i]) for row in rows], np.int32) for i in range(4))


def literal_loss(logits: jax.Array, text: jax.Array, mask_loss: jax.Array) -> jax.Array:
    """The notebook's loss of logits float32[B, T - 1, V]."""
    log_probabilities = jax.nn.log_softmax(logits, axis=-1)
    targets = jax.nn.one_hot(text[:, 1:], logits.shape[-1])
    token_losses = -jnp.sum(targets * log_probabilities, axis=-1)
    mask = mask_loss[:, 1:]
    return jnp.mean(jnp.sum(token_losses * mask, axis=-1) / jnp.clip(jnp.sum(mask, -1), 1))


class Contestant:
    """A compiled step with its arguments; calling it runs one step and waits for it."""

    def __init__(self, name: str, step: Any, trainable: Any, *others: Any) -> None:
        self.name, self.times = name, list[float]()
        started = time.perf_counter()
        self.compiled = step.lower(trainable, *others).compile()
        self.compile_seconds = time.perf_counter() - started
        self.temporaries = self.compiled.memory_analysis().temp_size_in_bytes
        self.trainable, self.others = trainable, others
        self.loss = float("nan")

    def __call__(self) -> None:
        started = time.perf_counter()
        self.trainable, *rest = self.compiled(self.trainable, *self.others)
        jax.block_until_ready(self.trainable)
        self.times.append(time.perf_counter() - started)
        if len(rest) == 2:  # palitune's step returns its state too
            self.others = (rest[0], *self.others[1:])
        self.loss = float(getattr(rest[-1], "loss", rest[-1]))


def literal(params: Any, images: Any, texts: list[Encoded], forward: Any, name: str) -> Contestant:
    """A recipe's step around `forward(params, image, text, mask_ar, mask_input) -> logits`."""
    text, mask_ar, mask_loss, mask_input = literal_inputs(texts)
    trainable, frozen = trees.split(params, METHODS["attention"].trainable)

    def step(trainable: Any, frozen: Any, image: Any, text: Any, mask_ar: Any, mask_loss: Any, mask_input: Any) -> Any:
        def loss_of(trainable: Any) -> jax.Array:
            logits = forward({**trainable, **frozen}, image, text[:, :-1], mask_ar[:, :-1], mask_input[:, :-1])
            return literal_loss(logits, text, mask_loss)

        loss, gradients = jax.value_and_grad(loss_of)(trainable)
        return {path: weight - RATE * gradients[path] for path, weight in trainable.items()}, loss

    copies = {path: jnp.array(leaf, copy=True) for path, leaf in trainable.items()}
    jitted = jax.jit(step, donate_argnums=0)
    return Contestant(name, jitted, copies, frozen, images, text, mask_ar, mask_loss, mask_input)


def palitune(params: Any, images: Any, texts: list[Encoded], name: str, sizes: ModelSpec = SIZES) -> Contestant:
    return stepping(params, batches.training(images, texts), name, sizes)


def stepping(params: Any, batch: batches.Batch, name: str, sizes: ModelSpec) -> Contestant:
    """palitune's step on a batch."""
    trainable, frozen = trees.split(params, METHODS["attention"].trainable)
    if batch.image.ndim == 3:
        frozen = {path: leaf for path, leaf in frozen.items() if not path.startswith("img/")}
    transform = optimizers.sgd(lambda step: RATE)
    options = Options(kept_layers=kept_layers(sizes, batch, jnp.float32))
    copies = {path: jnp.array(leaf, copy=True) for path, leaf in trainable.items()}
    step = make_step(sizes, transform, jnp.float32, options)
    return Contestant(
        name,
        jax.jit(step.function, donate_argnums=(0, 1)),
        copies,
        init_state(transform, copies, options),
        frozen,
        batch,
    )


def big_vision(reference: Reference, params: Any, images: Any, texts: list[Encoded]) -> Contestant:
    def forward(params: Any, image: Any, text: Any, mask_ar: Any, mask_input: Any) -> jax.Array:
        logits, _ = reference.model.apply({"params": trees.unflatten(params)}, image, text, mask_ar, train=True)
        return logits

    return literal(params, images, texts, forward, "big_vision")


class Torch:
    """transformers' PaliGemma of the same sizes: attention alone learns, with SGD, in float32."""

    def __init__(self, images: Any, texts: list[Encoded]) -> None:
        import torch
        from transformers import GemmaConfig as TextConfig
        from transformers import PaliGemmaConfig as Config
        from transformers import PaliGemmaForConditionalGeneration, SiglipVisionConfig

        llm, img = SIZES.llm, SIZES.image_encoder
        text_config = TextConfig(
            vocab_size=llm.vocab_size,
            hidden_size=llm.width,
            intermediate_size=llm.mlp_dim,
            num_hidden_layers=llm.depth,
            num_attention_heads=llm.num_heads,
            num_key_value_heads=llm.num_kv_heads,
            head_dim=llm.head_dim,
        )
        vision_config = SiglipVisionConfig(
            hidden_size=img.width,
            intermediate_size=img.mlp_dim,
            num_hidden_layers=img.depth,
            num_attention_heads=img.num_heads,
            image_size=img.image_size,
            patch_size=img.patch_size,
            projection_dim=llm.width,
        )
        image_token = llm.vocab_size - 1
        config = Config(
            text_config=text_config.to_dict(),
            vision_config=vision_config.to_dict(),
            image_token_index=image_token,
            projection_dim=llm.width,
            hidden_size=llm.width,
        )
        self.name, self.times, self.loss, self.torch = "torch", list[float](), float("nan"), torch
        self.compile_seconds, self.temporaries = 0.0, 0
        self.model = PaliGemmaForConditionalGeneration(config).train()
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_("language_model" in name and "self_attn" in name)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(self.trained, RATE)
        patches = [image_token] * img.num_patches
        ids = torch.tensor([patches + text.tokens.tolist() for text in texts])
        prompt = img.num_patches + PROMPT
        labels, kinds = ids.clone(), torch.zeros_like(ids)
        labels[:, :prompt], kinds[:, prompt:] = -100, 1
        self.inputs = {
            "input_ids": ids,
            "pixel_values": torch.tensor(images).permute(0, 3, 1, 2).contiguous(),
            "attention_mask": torch.ones_like(ids),
            "token_type_ids": kinds,
            "labels": labels,
        }

    def __call__(self) -> None:
        started = time.perf_counter()
        self.optimizer.zero_grad()
        loss = self.model(**self.inputs).loss
        loss.backward()
        self.optimizer.step()
        self.times.append(time.perf_counter() - started)
        self.loss = float(loss.detach())


class TorchGemma3(Torch):
    """transformers' Gemma 3 of the same sizes: attention alone learns, with SGD, in float32."""

    def __init__(self, sizes: ModelSpec, images: Any, texts: list[Encoded]) -> None:
        import torch
        from transformers import Gemma3Config, Gemma3ForCausalLM, Gemma3ForConditionalGeneration, Gemma3TextConfig

        torch.set_flush_denormal(True)  # as XLA does
        written = transformers_config_writing.write(sizes, "float32")
        config = Gemma3Config(**written) if sizes.img else Gemma3TextConfig(**written)
        model = Gemma3ForConditionalGeneration(config) if sizes.img else Gemma3ForCausalLM(config)
        if model.num_parameters() != sum(np.prod(leaf.shape) for leaf in spec.expected(sizes).values()):
            raise SystemExit("transformers' model is not of the same sizes")
        each, image_token = sizes.num_image_tokens, config.image_token_id if sizes.img else -1
        rows = []
        for text in texts:
            ids, place = text.tokens.tolist(), text.image_places[0] if sizes.img else 0
            rows.append([*ids[:place], *[image_token] * each, *ids[place:]])
        ids = torch.tensor(rows)
        labels = ids.clone()
        labels[:, : texts[0].prompt_length + each] = -100
        self.inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
        if sizes.img:
            self.inputs["pixel_values"] = torch.tensor(images).permute(0, 3, 1, 2).contiguous()
            self.inputs["token_type_ids"] = (ids == image_token).long()
        self.name, self.times, self.loss, self.torch = "torch", list[float](), float("nan"), torch
        self.compile_seconds = 0.0
        self.model = model.train()
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("self_attn" in name and "vision" not in name and "norm" not in name)
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(self.trained, RATE)
        self.temporaries = self._most_bytes()

    def _most_bytes(self) -> int:
        """What a step takes at most beyond what is there before it."""
        torch = self.torch
        self()
        self.optimizer.zero_grad()
        self.times.clear()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            self()
        self.times.clear()
        most = now = 0
        for event in profile.profiler.kineto_results.events():
            if event.name() == "[memory]":
                now += event.nbytes()
                most = max(most, now)
        return most


def gemma3_examples(sizes: ModelSpec, seed: int) -> tuple[np.ndarray, list[Encoded]]:
    """Random images, or none, and texts of a Gemma 3: a prompt, one token of answer, the end of the turn."""
    rng = np.random.default_rng(seed)
    length = PROMPT if sizes.img else TEXT_PROMPT
    words = rng.integers(300, 250_000, (BATCH, length + 1)).tolist()
    shown, places = ((Image("a.png"),), (4,)) if sizes.img else ((), ())
    texts = [encode.causal(row[:length], shown, places).answered([row[length], 106]) for row in words]
    if sizes.img is None:
        return np.zeros((BATCH, 0, sizes.llm.width), np.float16), texts
    side = sizes.img.image_size
    return rng.uniform(-1, 1, (BATCH, side, side, 3)).astype(np.float32), texts


def of_family(name: str) -> tuple[list[Any], int]:
    """transformers' step and palitune's of a Gemma 3, and how many parameters it has."""
    sizes = FAMILIES[name]
    images, texts = gemma3_examples(sizes, 0)
    params = trees.flatten(multimodal.init(sizes, jax.random.key(0)))
    contestants: list[Any] = [TorchGemma3(sizes, images, texts)]
    if sizes.img:
        tokens = jax.jit(functools.partial(multimodal.image_tokens, sizes))(trees.unflatten(params), images)
        contestants.append(palitune(params, images, texts, "images", sizes))
        images = np.asarray(tokens, np.float16)
    contestants.append(palitune(params, images, texts, "features" if sizes.img else "text", sizes))
    return contestants, sum(leaf.size for leaf in params.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="timed steps of each (default: %(default)s)")
    parser.add_argument("--reference", action="store_true", help="also time big_vision (bin/install-big_vision.sh)")
    parser.add_argument("--torch", action="store_true", help="also time transformers on torch")
    parser.add_argument("--family", choices=FAMILIES, help="time a Gemma 3 beside transformers instead; needs torch")
    args = parser.parse_args()
    if args.family:
        report(*of_family(args.family), args.rounds)
        return
    if args.reference:  # as `palitune verify` finds and imports it, with TensorFlow or without
        try:
            reference = Reference(SIZES, Path(__file__).parent.parent / "cache" / "big_vision")
        except ConfigurationError as error:
            print(f"{parser.prog}: {error}", file=sys.stderr)
            sys.exit(error.exit_code)

    images, texts = examples(0)
    params = trees.flatten(multimodal.init(SIZES, jax.random.key(0)))
    count = sum(leaf.size for leaf in params.values())
    tokens = jax.jit(lambda p, x: siglip.image_tokens(SIZES.image_encoder, trees.unflatten(p)["img"], x))(
        params, images
    )

    def forward(params: Any, image: Any, *text: Any) -> jax.Array:
        return multimodal.forward(SIZES, trees.unflatten(params), image, Text(*text))

    contestants: list[Any] = [
        literal(params, images, texts, forward, "literal"),
        palitune(params, images, texts, "images"),
        palitune(params, np.asarray(tokens, np.float16), texts, "features"),
    ]
    if args.reference:
        contestants.append(big_vision(reference, params, images, texts))
    if args.torch:
        contestants.append(Torch(images, texts))
    report(contestants, count, args.rounds)


def report(contestants: list[Any], count: int, rounds: int) -> None:
    """Times all in turns, and prints how much faster than the first each of them is."""
    for _ in range(rounds):
        for step in contestants:
            # The first step after another contestant's pays for the memory that the other one gave back.
            step()
            step.times.pop()
            step()
    versions = f"jax {jax.__version__}, {platform.machine()}, {jax.devices()[0].device_kind}"
    print(f"{count / 1e6:.1f}M parameters, batch {BATCH}, {versions}; {rounds} rounds")
    print(f"{'':10} {'ms a step':>10} {'times faster':>13} {'temporary MB':>13} {'of it':>10} {'compile s':>10} loss")
    base = contestants[0]
    for step in contestants:
        # Ratios of the same round: what else the machine does slows both.
        ratio = statistics.median(b / s for b, s in zip(base.times, step.times, strict=True))
        share = step.temporaries / base.temporaries
        print(
            f"{step.name:10} {statistics.median(step.times) * 1e3:10.0f} {ratio:13.2f} {step.temporaries / 1e6:13.0f} "
            f"{share:10.3f} {step.compile_seconds:10.1f} {step.loss:.4f}"
        )


if __name__ == "__main__":
    main()
