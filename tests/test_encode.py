"""What a template makes of an example, and what a batch makes of that."""

import numpy as np
from conftest import Letters

from palitune.data import batches, encode, templates
from palitune.data.encode import Encoded
from palitune.data.example import Example


def test_the_template_of_paligemma() -> None:
    example = Example.of("a.jpg", "ok", "no")
    one = templates.encoded(Letters(), example, "other")
    assert one.tokens.tolist() == [ord(letter) for letter in "ok\nno"] + [1]
    assert one.loss_weights.tolist() == [0, 0, 0, 1, 1, 1]
    assert one.attention_blocks.tolist() == [0, 0, 0, 1, 2, 3]
    assert one.images == example.images
    assert one.first_target == ord("n")
    assert (one.tokens.dtype, one.loss_weights.dtype, one.attention_blocks.dtype) == (np.int32, np.float32, np.int32)
    asked = templates.encoded(Letters(), Example.of("a.jpg", label="no"), "other")
    assert asked.tokens[:6].tolist() == [ord(letter) for letter in "other\n"]


def test_a_batch_of_a_prefix_and_a_suffix() -> None:
    batch = batches.training(np.zeros((1, 2, 2, 3), np.float32), [encode.prefix([2, 5, 6]).answered([7, 1])], 3, [0.5])
    assert batch.text[0].tolist() == [2, 5, 6, 7, 0, 0, 0, 0]
    assert batch.mask_ar[0].tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    assert batch.mask_input[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert batch.positions[0].tolist() == [2, 3, 0]
    assert batch.targets[0].tolist() == [7, 1, 0]
    assert batch.weights[0].tolist() == [0.5, 0.5, 0]


def test_the_loss_counts_at_every_turn_of_a_chat() -> None:
    """Causal text of two answers, of which the second counts half."""
    tokens = np.array([2, 10, 11, 12, 13, 14, 15], np.int32)
    weights = np.array([0, 0, 1, 0, 0, 0.5, 0.5], np.float32)
    chat = Encoded(tokens, weights, np.arange(7, dtype=np.int32))
    assert batches.longest([chat]) == (6, 3)
    batch = batches.training(np.zeros((1, 2, 2, 3), np.float32), [chat])
    assert batch.mask_ar[0, :6].tolist() == [0, 1, 1, 1, 1, 1]
    assert batch.positions[0].tolist() == [1, 4, 5]
    assert batch.targets[0].tolist() == [11, 14, 15]
    assert batch.weights[0].tolist() == [1, 0.5, 0.5]
