"""How likely each of some answers is, from one forward pass and without writing any of them.

The likelihood of an answer is the product of its tokens' probabilities, each given the prompt and the tokens before it.
All answers go through the model together, behind one prompt, as a tree in which none sees another; of answers one token
long, such as yes and no, nothing goes through but the prompt. Several questions about one beginning are part of the
tree: the beginning is the prompt then, and each question has its own labels behind it.

Axes: B batch, N image tokens, T prompt tokens, K tokens of the tree, L labels of all questions together, S tokens of
the longest label, D width, V vocabulary.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Float32, Int32
from numpy.typing import NDArray

from palitune import trees
from palitune.data import batches
from palitune.data.templates import SharedBeginning, Template
from palitune.errors import UsageError
from palitune.infer.prompt_batches import BATCH_SIZE, Question, in_batches, text_of
from palitune.models import ensemble, gemma, multimodal, table
from palitune.models.arrays import AnyArray, Flat, HostArray, Params
from palitune.models.multimodal import Branches, Text
from palitune.models.spec import ModelSpec
from palitune.parallel import Placement, program

LONGEST_TREE = 2048  # tokens of all questions and labels together; attention's memory grows with their square
MOST_LABELS = 1000
LOGITS = 64  # tokens whose logits are computed together: 66 MB of them with PaliGemma's vocabulary


class LabelTree(NamedTuple):
    """Labels as token sequences that share their beginnings.

    A label's token number s is `targets[l, s]`, told by the hidden state at place `places[l, s]`: 0 is the end of the
    prompt, 1 + k the tree's token k. `ends` are the places where questions end and labels begin.
    """

    branches: Branches
    places: Int32[HostArray, "L S"]
    targets: Int32[HostArray, "L S"]
    real: Float32[HostArray, "L S"]  # 1 where a label has a token
    ends: tuple[int, ...] = (0,)


def label_tree(tokens: Sequence[Sequence[int]], eos: int, questions: Sequence[Sequence[int]] = ((),)) -> LabelTree:
    """The tree of some labels' tokens, without their ends; behind each of some questions.

    The end token counts only where one label is the beginning of another and nothing else tells them apart; else a
    label is done with its last token, as it is for one who reads it.

    Raises:
      ValueError: a label has no tokens, or two have the same.
      UsageError: they have more than `LONGEST_TREE` together.
    """
    labels = [[*label] for label in tokens]
    if not all(labels) or len(set(map(tuple, labels))) < len(labels):
        raise ValueError("labels must have tokens, and different ones")
    whole = set(map(tuple, labels))
    if any(tuple(label[:length]) in whole for label in labels for length in range(1, len(label))):
        labels = [[*label, eos] for label in labels]
    nodes: dict[tuple[int, ...], int] = {(): 0}
    asked = [(len(question), [*question, *label]) for question in questions for label in labels]
    for _, tokens_of in asked:
        for length in range(1, len(tokens_of)):
            nodes.setdefault(tuple(tokens_of[:length]), len(nodes))
    paths = list(nodes)[1:]
    if len(paths) > LONGEST_TREE:  # before its square is made
        what = "questions and labels" if any(questions) else "labels"
        raise UsageError(f"{what} of {len(paths):,} tokens together; {LONGEST_TREE:,} are allowed")
    sees = np.zeros((len(paths), len(paths)), bool)
    for row, path in enumerate(paths):
        sees[row, [nodes[path[:length]] - 1 for length in range(1, len(path) + 1)]] = True
    branches = Branches(
        np.array([path[-1] for path in paths], np.int32), np.array([len(path) - 1 for path in paths], np.int32), sees
    )
    shape = (len(asked), max(map(len, labels)))
    places, targets, real = np.zeros(shape, np.int32), np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    for row, (before, tokens_of) in enumerate(asked):
        for column, token in enumerate(tokens_of[before:]):
            places[row, column] = nodes[tuple(tokens_of[: before + column])]
            targets[row, column], real[row, column] = token, 1
    return LabelTree(branches, places, targets, real, tuple(nodes[tuple(question)] for question in questions))


def log_likelihoods(
    config: ModelSpec,
    params: Params,
    zimg: Float[AnyArray, "B N D"],
    prompt: Text,
    tree: LabelTree,
    relative: bool = False,
) -> Float32[Array, "B L"]:
    """The log-likelihood of each label, float32[B, L].

    Args:
      zimg: [B, N, D] image tokens.
      prompt: left aligned.
      relative: up to a constant of each question that all its labels share, the sum over the vocabulary where they
        begin. Where labels are compared it says nothing, and for yes and no all logits but two can be left out.
    """
    hidden = multimodal.branched_states(config, params, zimg, prompt, tree.branches)
    # Labels with the same beginning have tokens in common, each of which is looked up once.
    pairs = list(zip(tree.places.reshape(-1).tolist(), tree.targets.reshape(-1).tolist(), strict=True))
    numbers = {pair: number for number, pair in enumerate(dict.fromkeys(pairs))}
    targets = jnp.asarray([target for _, target in numbers], jnp.int32)
    rows = table.take(gemma.output_table(params["llm"]), targets, hidden.dtype)
    states = hidden[:, np.array([place for place, _ in numbers])]
    own = jnp.einsum("BQD,QD->BQ", states, rows, preferred_element_type=jnp.float32)
    own = gemma.capped(config.llm, own)

    def whole(state: jax.Array) -> jax.Array:
        return jax.nn.logsumexp(gemma.logits(config.llm, params["llm"], state), axis=-1)

    # A few places at a time: logits of all of them together are the largest tensor by far, and each reads the table.
    known = set(tree.ends) if relative else set()
    summed = sorted(set(tree.places[tree.real > 0].tolist()) - known)
    sums = jnp.zeros((len(hidden), hidden.shape[1]))
    if summed:
        together = max(1, LOGITS // len(hidden))
        sums = sums.at[:, np.array(summed)].set(
            jax.lax.map(whole, hidden.swapaxes(0, 1)[np.array(summed)], batch_size=together).T
        )
    own = own[:, np.array([numbers[pair] for pair in pairs])]
    logp = (own - sums[:, tree.places.reshape(-1)]).reshape(len(hidden), *tree.places.shape)
    return jnp.sum(logp * tree.real, axis=-1)


def scores_of(
    config: ModelSpec, tree: LabelTree, labels: int, dtype: DTypeLike
) -> Callable[[Flat, batches.Prompts], Float32[Array, "B Q L"]]:
    """What computes the scores float32[B, Q, L] of each question's labels, of flat parameters and prompts.

    Args:
      tree: of all questions with their labels.
      labels: L, of each question.
    """

    def scores(params: Flat, prompts: batches.Prompts) -> Float32[Array, "B Q L"]:
        def of_one(nested: Params) -> Float32[Array, "B Q L"]:
            zimg = multimodal.image_tokens(config, nested, prompts.image, dtype)
            found = log_likelihoods(config, nested, zimg, text_of(prompts), tree, relative=True)
            return found.reshape(len(found), -1, labels)

        return ensemble.averaged(trees.unflatten(params), of_one)

    return scores


class Scorer:
    """The log-likelihood of each label of each question, float32[Q, L] of a prompt, up to a constant of each question.

    Axes: Q questions, 1 where the prompt is the question; L labels.
    """

    def __init__(
        self,
        config: ModelSpec,
        template: Template,
        labels: Sequence[str],
        dtype: DTypeLike,
        batch_size: int = BATCH_SIZE,
        questions: Sequence[str] | None = None,
        placement: Placement | None = None,
    ) -> None:
        """`questions` are asked one by one behind a prompt that is a beginning (`SharedBeginning.beginning`).

        Raises:
          UsageError: labels cannot be told apart by their tokens, or are too long.
          BadDataError: a question is too long.
        """
        if len(labels) > MOST_LABELS:
            raise UsageError(f"{len(labels):,} labels; {MOST_LABELS:,} are allowed")
        tokens = [template.answer(label) for label in labels]
        asked: list[Sequence[int]] = [()]
        if questions is not None and isinstance(template, SharedBeginning):
            asked = [template.asked(one, "").tokens.tolist() for one in questions]
        try:
            tree = label_tree(tokens, template.end, asked)
        except ValueError:
            listed = ", ".join(labels)
            raise UsageError(f"this model's tokenizer cannot tell these labels apart: {listed}") from None
        self.patches, self.width = config.num_image_tokens, config.llm.width
        self.batch_size = batches.together(len(tree.branches.tokens), batch_size, self.patches)

        scores = scores_of(config, tree, len(labels), dtype)
        self.scores: Callable[[Flat, batches.Prompts], Float32[Array, "B Q L"]] = program(scores, placement)

    def __call__(self, params: Flat, questions: Iterable[Question | None]) -> Iterator[Float32[HostArray, "Q L"]]:
        """float32[Q, L] for each prompt, as in `prompt_batches.in_batches`. `params` is flat."""

        def answered(prompts: batches.Prompts) -> list[NDArray[np.float32]]:
            return list(np.asarray(self.scores(params, prompts)))

        return in_batches(answered, questions, self.batch_size, self.patches, self.width)
