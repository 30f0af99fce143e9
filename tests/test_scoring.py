"""Scores of labels: one pass against a forward pass of each label by itself, and against decoding."""

import compiled
import jax
import numpy as np
import pytest
from conftest import MODELS, Golden

from palitune import trees
from palitune.infer import scoring
from palitune.models.multimodal import Text

TOLERANCE = 1e-4
EOS = 1
LONGEST_PROMPT = 16


def alone(golden: Golden, zimg: jax.Array, prompt: list[int], labels: list[list[int]]) -> list[float]:
    """The log-likelihoods of labels that follow a prompt, by the forward pass that training is compared with."""
    width = LONGEST_PROMPT + max(map(len, labels))  # the same for every prompt
    text, mask_ar, real = np.zeros((3, len(labels), width), np.int32)
    for row, label in enumerate(labels):
        length = len(prompt) + len(label)
        text[row, :length], mask_ar[row, len(prompt) : length], real[row, :length] = [*prompt, *label], 1, 1
    params = trees.unflatten(golden.params)
    logits = compiled.forward(golden.sizes, params, jax.numpy.repeat(zimg, len(labels), 0), Text(text, mask_ar, real))
    logp = jax.nn.log_softmax(logits, axis=-1)
    start = len(prompt) - 1
    return [
        float(sum(logp[row, start + i, token] for i, token in enumerate(label))) for row, label in enumerate(labels)
    ]


@pytest.mark.parametrize(
    ("golden", "labels", "ended"),
    [
        *((name, [[5, 6, 9], [5, 6, 4, 3], [5, 2], [7]], False) for name in MODELS),
        ("paligemma2_gqa_softcap", [[5], [5, 6], [7]], True),
    ],
    indirect=["golden"],
)
def test_one_pass_is_each_label_by_itself(golden: Golden, labels: list[list[int]], ended: bool) -> None:
    v = golden.values
    params = trees.unflatten(golden.params)
    zimg = compiled.encode_images(golden.sizes.img, params["img"], v["image"])
    text, mask = v["prefix_text"], v["prefix_mask_input"]
    tree = scoring.label_tree(labels, EOS)
    prompts = Text(text, np.zeros_like(text), mask)
    found = np.asarray(compiled.log_likelihoods(golden.sizes, params, zimg, prompts, tree))
    assert found.shape == (len(text), len(labels))
    whole = [[*label, EOS] if ended else label for label in labels]
    for row, (ids, real) in enumerate(zip(text, mask, strict=True)):
        prompt = [int(token) for token in ids[real.astype(bool)]]
        expected = alone(golden, zimg[row : row + 1], prompt, whole)
        np.testing.assert_allclose(found[row], expected, rtol=0, atol=TOLERANCE)


def test_the_likelier_label_is_what_decoding_writes(golden: Golden) -> None:
    """Labels are the tokens that decoding begins with and many others."""
    v = golden.values
    params = trees.unflatten(golden.params)
    zimg = compiled.encode_images(golden.sizes.img, params["img"], v["image"])
    written = [int(token) for token in v["greedy_tokens"][:, 0]]
    labels = sorted({*range(0, golden.sizes.llm.vocab_size, 7), *written})
    tree = scoring.label_tree([[token] for token in labels], EOS)
    prompts = Text(v["prefix_text"], np.zeros_like(v["prefix_text"]), v["prefix_mask_input"])
    found = compiled.log_likelihoods(golden.sizes, params, zimg, prompts, tree)
    assert [labels[best] for best in np.argmax(found, axis=1)] == written


@pytest.mark.parametrize("golden", ["paligemma2_gqa_softcap"], indirect=True)
@pytest.mark.parametrize("labels", [[[5], [7]], [[5, 6], [7], [7, 8]]])
def test_what_is_left_out_all_labels_share(golden: Golden, labels: list[list[int]]) -> None:
    v = golden.values
    params = trees.unflatten(golden.params)
    zimg = compiled.encode_images(golden.sizes.img, params["img"], v["image"])
    prompts = Text(v["prefix_text"], np.zeros_like(v["prefix_text"]), v["prefix_mask_input"])
    arguments = (golden.sizes, params, zimg, prompts, scoring.label_tree(labels, EOS))
    whole = np.asarray(compiled.log_likelihoods(*arguments))
    left_out = np.asarray(compiled.log_likelihoods(*arguments, relative=True)) - whole
    np.testing.assert_allclose(left_out, left_out[:, :1].repeat(len(labels), axis=1), rtol=0, atol=TOLERANCE)
    assert np.abs(left_out).min() > TOLERANCE


def test_labels_share_their_beginnings() -> None:
    tree = scoring.label_tree([[5, 6, 9], [5, 6, 4], [5, 2], [8]], EOS)
    assert tree.branches.tokens.tolist() == [5, 6]
    assert tree.branches.depth.tolist() == [0, 1]
    assert tree.branches.sees.tolist() == [[True, False], [True, True]]
    assert tree.places.tolist() == [[0, 1, 2], [0, 1, 2], [0, 1, 0], [0, 0, 0]]
    assert scoring.label_tree([[5], [7]], EOS).branches.tokens.size == 0


@pytest.mark.parametrize("labels", [[[5], [5]], [[], [5]]])
def test_labels_that_are_none(labels: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="labels"):
        scoring.label_tree(labels, EOS)
