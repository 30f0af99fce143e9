"""Gemma 1, 2 and 3, with images and without, hold every value of transformers' golden files, and so does PaliGemma."""

import dataclasses
from pathlib import Path
from typing import Any

import compiled
import hf_golden
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hf_golden import PIECES, WHOLE, HfGolden, aligned

from palitune import trees
from palitune.data.batches import Batch
from palitune.infer import scoring
from palitune.method import METHODS
from palitune.models import cache, families, gemma, lora, multimodal, positions, spec
from palitune.models.multimodal import Text
from palitune.models.spec import LayerKind, ModelSpec
from palitune.train import objective, optimizers
from palitune.train.step import init_state, make_step
from palitune.train.step_options import Options

TOLERANCE = 1e-4


@pytest.fixture(scope="module", params=WHOLE)
def family(request: pytest.FixtureRequest) -> HfGolden:
    return hf_golden.load(request.param)


def test_logits(family: HfGolden) -> None:
    inputs = family.inputs("in")
    logits = compiled.forward(family.spec, family.tree, inputs.image, inputs.text)
    np.testing.assert_allclose(*aligned(family, inputs, logits), rtol=0, atol=TOLERANCE)


def test_logits_of_bfloat16_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Published names, two shards.

    The expected values are of a model that went through bfloat16 and back: not only its weights were rounded, but also
    the frequencies of its rotary positions, which no file has. Computed from the weights alone, transformers' own
    logits are as far from them as ours, 0.025. So the frequencies are rounded here too.
    """

    def rounded(head_dim: int, kind: LayerKind, positions: jax.Array) -> Any:
        frequencies = kind.rope_base ** -(jnp.arange(head_dim // 2, dtype=jnp.float32) / (head_dim // 2))
        radians = positions[..., None, None] * frequencies.astype(jnp.bfloat16).astype(jnp.float32)
        return jnp.sin(radians), jnp.cos(radians)

    monkeypatch.setattr(positions, "rope_angles", rounded)
    golden = hf_golden.load("paligemma2_published_names")
    assert {array.dtype.name for array in golden.params.values()} == {"bfloat16"}
    inputs = golden.inputs("in")
    forward = jax.jit(lambda tree: multimodal.forward(golden.spec, tree, inputs.image, inputs.text))
    logits = forward(golden.tree)
    np.testing.assert_allclose(*aligned(golden, inputs, logits), rtol=0, atol=TOLERANCE)


def test_a_prefix_longer_than_the_window_is_whole_to_itself() -> None:
    """PaliGemma 2 with a window of 6 in transformers: 23 tokens of image and prefix see each other, answers do not."""
    golden = hf_golden.load("paligemma2", "paligemma2_window")
    kinds = tuple(kind._replace(window=kind.window and 6) for kind in golden.spec.llm.kinds)
    assert {kind.window for kind in kinds} == {6, None}
    golden = golden._replace(
        spec=dataclasses.replace(golden.spec, llm=dataclasses.replace(golden.spec.llm, kinds=kinds))
    )
    test_logits(golden)
    test_greedy_decoding(golden)


def test_a_shieldgemma_is_a_gemma3_with_a_template_of_its_own(tmp_path: Path) -> None:
    golden = hf_golden.shieldgemma2(tmp_path / "shieldgemma2")
    assert golden.spec == dataclasses.replace(hf_golden.load("gemma3_vision").spec, template=spec.SHIELDGEMMA)
    inputs = golden.inputs("in")
    logits = compiled.forward(golden.spec, golden.tree, inputs.image, inputs.text)
    np.testing.assert_allclose(*aligned(golden, inputs, logits), rtol=0, atol=TOLERANCE)


def batch_of(golden: HfGolden) -> Batch:
    """The batch of the golden inputs, in which the loss counts where they have labels."""
    inputs = golden.inputs("in")
    labels = golden.values.get("in/labels", golden.values["in/input_ids"])
    rows: list[list[tuple[int, int]]] = []
    for row, columns in enumerate(inputs.columns):
        # The token at a place is predicted by the one before it, whatever stood between them in transformers' rows.
        rows.append(
            [(place - 1, int(labels[row, c])) for place, c in enumerate(columns) if place and labels[row, c] >= 0]
        )
    longest = max(map(len, rows))
    filled = [[*row, *[(0, 0)] * (longest - len(row))] for row in rows]
    weights = np.array([[1.0] * len(row) + [0.0] * (longest - len(row)) for row in rows], np.float32)
    text = inputs.text
    return Batch(
        inputs.image,
        text.tokens,
        text.mask_ar,
        text.real,
        text.image_places,
        np.array([[place for place, _ in row] for row in filled], np.int32),
        np.array([[target for _, target in row] for row in filled], np.int32),
        weights,
    )


def of_padding(golden: HfGolden) -> tuple[float, int]:
    """Sum and number of the losses that transformers has of padding: what it predicts of the first token of a text."""
    labels, real = golden.values["in/labels"], golden.values["in/attention_mask"]
    places = np.argwhere((labels[:, 1:] >= 0) & (real[:, :-1] == 0))
    logp = jax.nn.log_softmax(golden.values["logits"], axis=-1)
    return -sum(float(logp[row, column, labels[row, column + 1]]) for row, column in places), len(places)


def test_loss(family: HfGolden) -> None:
    """Transformers' is the mean over all tokens of a batch, ours over those of an example and then over examples."""
    if "loss" not in family.values:
        pytest.skip("this file has no loss")
    batch = batch_of(family)
    padding, count = of_padding(family)
    zimg = compiled.image_tokens(family.spec, family.tree, batch.image)
    hidden = compiled.hidden_states(family.spec, family.tree, zimg, objective.text_of(batch))
    chosen = jnp.take_along_axis(hidden, jnp.asarray(batch.positions)[..., None], axis=1)
    chosen = chosen.reshape(-1, chosen.shape[-1])
    table, cap = gemma.output_table(family.tree["llm"]), family.spec.llm.final_logits_softcap
    for chunks in (1, 3):
        losses, _ = objective.token_losses(chosen, table, batch.targets.reshape(-1), chunks, 0.0, cap)
        mean = (float((losses * batch.weights.reshape(-1)).sum()) + padding) / (batch.weights.sum() + count)
        assert abs(mean - family.values["loss"]) < TOLERANCE


def test_greedy_decoding(family: HfGolden) -> None:
    inputs = family.inputs("generate")
    zimg = compiled.image_tokens(family.spec, family.tree, inputs.image)
    tokens, _ = compiled.greedy(family.spec, family.tree, zimg, inputs.text, 8, -1, PIECES)
    np.testing.assert_array_equal(tokens, family.values["greedy"][:, -8:])


def extended(golden: HfGolden, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits of texts written token by token, and of the same texts in one pass: float32[B, length, V]."""
    inputs = golden.inputs("generate")
    sizes, tree = golden.spec, golden.tree
    zimg = compiled.image_tokens(sizes, tree, inputs.image)
    rng = np.random.default_rng(0)
    added = rng.integers(4, 500, (len(zimg), length)).astype(np.int32)
    prompt_length = inputs.text.tokens.shape[1]
    prefill = jax.jit(multimodal.prefill, static_argnums=(0, 4))
    extend = jax.jit(multimodal.extend, static_argnums=0)
    logits, kept, position = prefill(sizes, tree, zimg, inputs.text, zimg.shape[1] + prompt_length + length)
    found = [logits]
    for column in range(length - 1):
        logits, kept = extend(sizes, tree, kept, added[:, column], position + column)
        found.append(logits)
    whole = in_one_pass(golden, zimg, [(row, added[row, :-1].tolist()) for row in range(len(zimg))])
    return np.stack(found, axis=1), np.stack(whole)


def in_one_pass(golden: HfGolden, zimg: Any, written: list[tuple[int, list[int]]]) -> list[np.ndarray]:
    """Of every (row of the prompts, tokens after it) the logits from the prompt's last token on: float32[tokens, V]."""
    text = golden.inputs("generate").text
    rows = [row for row, _ in written]
    counts = [int(np.asarray(text.real[row]).sum()) for row in rows]
    ends = [count + len(added) for count, (_, added) in zip(counts, written, strict=True)]
    # All in one program: a text of another length would be one of its own.
    tokens, causal, real = (np.zeros((len(rows), max(ends)), np.int32) for _ in range(3))
    for at, (row, added) in enumerate(written):
        tokens[at, : ends[at]] = [*text.tokens[row, : counts[at]], *added]
        causal[at, : ends[at]] = [*text.mask_ar[row, : counts[at]], *(1 for _ in added)]
        real[at, : ends[at]] = 1
    places = text.image_places[rows]
    logits = np.asarray(
        compiled.forward(golden.spec, golden.tree, zimg[np.array(rows)], Text(tokens, causal, real, places))
    )
    return [logits[at, count - 1 : end] for at, (count, end) in enumerate(zip(counts, ends, strict=True))]


def test_a_ring_that_goes_round_is_the_whole_sequence(family: HfGolden) -> None:
    """24 tokens more than the prompt: local layers, whose window is 6, forget while they go."""
    written, whole = extended(family, 24)
    np.testing.assert_allclose(written, whole, rtol=0, atol=TOLERANCE)


def test_local_layers_keep_their_window_alone(family: HfGolden) -> None:
    llm = family.spec.llm
    sizes = [group.rows for group in cache.groups(llm, 100)]
    window = {kind.window for kind in llm.kinds if kind.window and kind.window < 100}
    assert sizes == sorted({100, *window}, reverse=True)
    assert sorted(layer for group in cache.groups(llm, 100) for layer in group.layers) == list(range(llm.depth))


LABELS = [[5, 6, 9], [5, 6, 4, 3], [5, 2], [7]]


def test_scores_of_one_pass_are_each_label_by_itself(family: HfGolden) -> None:
    inputs = family.inputs("generate")
    sizes, tree = family.spec, family.tree
    zimg = compiled.image_tokens(sizes, tree, inputs.image)
    labels = scoring.label_tree(LABELS, 1)
    found = compiled.log_likelihoods(sizes, tree, zimg, inputs.text, labels)
    pairs = [(row, number) for row in range(len(zimg)) for number in range(len(LABELS))]
    alone = in_one_pass(family, zimg, [(row, LABELS[number]) for row, number in pairs])
    for (row, number), logits in zip(pairs, alone, strict=True):
        label = LABELS[number]
        logp = jax.nn.log_softmax(logits[:-1])[np.arange(len(label)), np.array(label)].sum()
        assert abs(float(found[row, number] - logp)) < TOLERANCE


def untied(golden: HfGolden) -> HfGolden:
    """The same model with an output layer of its own."""
    table = golden.params["llm/embedder/input_embedding"]
    params = {**golden.params, "llm/embedder/output_embedding": np.roll(table, 1, axis=0)}
    return golden._replace(spec=with_llm(golden.spec, tied=False), params=params)


def with_llm(sizes: ModelSpec, **changes: Any) -> ModelSpec:
    return dataclasses.replace(sizes, llm=dataclasses.replace(sizes.llm, **changes))


QUICK = {("gemma3_vision", "attention"), ("gemma3_text", "full"), ("untied", "full"), ("gemma2_text", "lora")}


def adapters_of(golden: HfGolden, method: str) -> dict[str, np.ndarray]:
    """Adapters that change something already, by path, where a method adds some."""
    if not METHODS[method].adds_adapters:
        return {}
    made = lora.init(golden.params, "llm/layers/(attn/.*einsum/w|mlp/.*)", 2, 4.0, jax.random.key(0))
    return {path: np.asarray(leaf) + (0.02 if path.endswith(lora.B) else 0) for path, leaf in made.items()}


def two_steps(golden: HfGolden, params: Any, method: str, options: Options) -> tuple[float, dict[str, jax.Array]]:
    """The second step's loss, and the trainable parameters after it."""
    chosen, frozen = trees.split(params, METHODS[method].trainable)
    rule = optimizers.sgd(lambda step: 0.05)
    update = make_step(golden.spec, rule, options=options)
    trainable: Any = {path: jnp.array(leaf) for path, leaf in chosen.items()}
    state = init_state(rule, trainable, options)
    for _ in range(2):
        trainable, state, outcome = update(trainable, state, frozen, batch_of(golden))
    assert outcome.finite
    return float(outcome.loss), trainable


@pytest.mark.parametrize(
    ("name", "method"),
    [
        pytest.param(name, method, marks=[] if (name, method) in QUICK else pytest.mark.slow)
        for name in ("gemma2_text", "gemma3_text", "gemma3_vision", "paligemma2", "untied")
        for method in METHODS
    ],
)
def test_layer_by_layer_is_all_at_once(name: str, method: str) -> None:
    """Every parameter after two steps, whether gradients are held or each layer is updated as its own comes by."""
    golden = untied(hf_golden.load("gemma3_text")) if name == "untied" else hf_golden.load(name)
    stored = {**golden.params, **adapters_of(golden, method)}
    chosen, _ = trees.split(stored, METHODS[method].trainable)
    assert not any(path.endswith("_norm/scale") and "/attn/" in path for path in chosen) or method == "full"
    ways = (Options(layerwise=False), Options(kept_layers=2, chunks=3))
    results = [two_steps(golden, stored, method, options) for options in ways]
    assert abs(results[0][0] - results[1][0]) < TOLERANCE
    for path, leaf in results[0][1].items():
        np.testing.assert_allclose(results[1][1][path], leaf, rtol=0, atol=TOLERANCE, err_msg=path)
        assert not np.array_equal(leaf, chosen[path]) or path.endswith((lora.ALPHA, "key/bias")), path


def test_an_image_in_the_middle_is_seen_by_what_follows(family: HfGolden) -> None:
    """Another image changes every token behind it and none before it; its place is where the text puts it."""
    if family.spec.img is None:
        pytest.skip("this model takes no images")
    inputs = family.inputs("in")
    other = np.flip(inputs.image, axis=1).copy()
    first, second = (
        np.asarray(compiled.forward(family.spec, family.tree, image, inputs.text)) for image in (inputs.image, other)
    )
    for row, (place,) in enumerate(np.asarray(inputs.text.image_places)):
        real = int(np.asarray(inputs.text.real)[row].sum())
        changed = np.abs(first[row, :real] - second[row, :real]).max(axis=1) > 1e-6
        assert not changed[:place].any()
        assert changed[place:].all()


def test_an_absent_image_is_none() -> None:
    """A row without its image gives the logits of the text alone, whatever its pixels are."""
    golden = hf_golden.load("gemma3_vision")
    inputs, tree, sizes = golden.inputs("in"), golden.tree, golden.spec
    text = inputs.text._replace(image_places=np.full_like(inputs.text.image_places, multimodal.ABSENT))
    zimg = compiled.image_tokens(sizes, tree, inputs.image)
    found = compiled.forward(sizes, tree, zimg, text)
    none = np.zeros((len(zimg), 0, sizes.llm.width), np.float32)
    alone = compiled.forward(sizes, tree, none, inputs.text._replace(image_places=np.zeros((len(zimg), 0), np.int32)))
    real = np.asarray(inputs.text.real, bool)
    np.testing.assert_allclose(np.asarray(found)[real], np.asarray(alone)[real], rtol=0, atol=1e-5)


def test_two_images_are_two_blocks() -> None:
    """Two images of one text: each sees itself and what comes before, which swapping the second shows."""
    golden = hf_golden.load("gemma3_vision")
    inputs, tree, sizes = golden.inputs("in"), golden.tree, golden.spec
    zimg = np.asarray(compiled.image_tokens(sizes, tree, inputs.image))[:2]
    both = np.concatenate([zimg[:1], zimg[1:]], axis=1)
    tokens = np.arange(10, 20, dtype=np.int32)[None]
    text = Text(tokens, np.ones_like(tokens), None, np.array([[3, 6]], np.int32))
    first = np.asarray(compiled.forward(sizes, tree, both, text))[0]
    changed = np.asarray(compiled.forward(sizes, tree, np.concatenate([zimg[:1], zimg[:1]], axis=1), text))[0]
    moved = np.abs(first - changed).max(axis=1) > 1e-6
    assert not moved[:6].any()
    assert moved[6:].all()
    whole = multimodal.sequence(sizes, tree, jnp.asarray(both), text)
    each = sizes.num_image_tokens
    assert sorted(np.asarray(whole.positions)[0].tolist()) == list(range(10 + 2 * each))
    assert np.asarray(whole.positions)[0, :each].tolist() == list(range(3, 3 + each))
    assert np.asarray(whole.positions)[0, each : 2 * each].tolist() == list(range(6 + each, 6 + 2 * each))


@pytest.mark.parametrize("pattern", [(0, 1), (1, 0, 0), (1, 1, 0, 1, 0, 0), (0,)])
def test_layers_of_any_order(pattern: tuple[int, ...]) -> None:
    """Decoding token by token is one pass, whichever layers are local and whatever their windows are."""
    golden = hf_golden.load("gemma3_text")
    kinds = (LayerKind(10_000.0, 3), LayerKind(1_000_000.0, 9, 8.0))
    written, whole = extended(golden._replace(spec=with_llm(golden.spec, kinds=kinds, pattern=pattern)), 16)
    np.testing.assert_allclose(written, whole, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("name", families.variants())
def test_every_variant_is_what_initialisation_makes(name: str) -> None:
    sizes = families.variant(name)
    assert sizes is not None
    made = jax.eval_shape(lambda: multimodal.init(sizes, jax.random.key(0)))
    assert spec.expected(sizes) == {path: trees.Shape(leaf.shape) for path, leaf in trees.flatten(made).items()}


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("gemma-2b", 2.51),
        ("gemma-7b", 8.54),
        ("gemma2-2b", 2.61),
        ("gemma2-9b", 9.24),
        ("gemma2-27b", 27.23),
        ("gemma3-270m", 0.268),
        ("gemma3-1b", 1.0),
        ("gemma3-4b", 4.3),
        ("gemma3-12b", 12.19),
        ("gemma3-27b", 27.43),
    ],
)
def test_sizes_add_up(name: str, billions: float) -> None:
    """To the number of parameters that the published files have."""
    sizes = families.FAMILIES[name]
    total = sum(int(np.prod(leaf.shape)) for leaf in spec.expected(sizes).values())
    assert total / 1e9 == pytest.approx(billions, rel=0.003)
