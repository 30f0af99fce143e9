"""A model that predicts targets of examples: `Predictor.predict`, and the checks before it."""

import collections
import functools
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from tqdm.auto import tqdm

from palitune import workspace
from palitune.config.predictor_config import PredictorConfig
from palitune.data.example import Example
from palitune.data.images.loader import ImageLoader
from palitune.data.images.of_examples import NoImages
from palitune.data.prediction import MadeWith, Prediction
from palitune.data.probabilities import pooled, predicted, probabilities, require_finite
from palitune.errors import PalituneError
from palitune.infer import answering
from palitune.infer.asked import Asked, Frames, asked_of, frames_of, requests, tell
from palitune.infer.decoding import MAX_ANSWER, MAX_TEXT, Writer
from palitune.infer.loading import Model
from palitune.infer.opening import ImagesOfModel, Opened, open_model
from palitune.infer.prompt_batches import Question
from palitune.infer.scoring import Scorer
from palitune.labels import LABELS


def is_seen() -> bool:
    """Whether somebody sees a progress bar: on a terminal, or in a notebook."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


class Predictor:
    """Predicts with one model: `predictor.predict(examples)`. Each set of choices has one compiled program."""

    def __init__(
        self,
        model: Model,
        images: ImagesOfModel,
        made: MadeWith,
        *,
        frames: Frames | None = None,
        batch_size: int = 8,
        most: int | None = None,
        quiet: bool = False,
    ) -> None:
        """Args:
          images: where the images come from, as `infer.opening.image_source` makes it.
          made: the labels, threshold, temperature and prompt, as `infer.answering.made_with` finds them.
          frames: which frames of animated images are scored; None is the one that `images` says.
          most: tokens of an answer that is written freely; None is few where there are labels, and more of free text.
          quiet: show no progress.

        Raises:
          BadDataError: the prompt is too long.
          UsageError: the labels cannot be told apart by their tokens.
        """
        if model.sizes.img and isinstance(images, ImageLoader):  # the encoder runs with every batch
            batch_size = model.sizes.img.together(batch_size)
        if model.placement is not None:
            batch_size = model.placement.rounded(batch_size)
        self.model, self.images, self.made, self.frames, self.batch_size = model, images, made, frames, batch_size
        self.template, self.silent = model.template, quiet or not is_seen()
        most = most or (MAX_ANSWER if made.labels else MAX_TEXT)
        how = (model.sizes, model.template, model.dtype, batch_size, most, model.placement)
        self.writer = Writer(*how) if made.decode else None
        self._scorers: dict[tuple[tuple[str, ...], tuple[str, ...] | None], Scorer] = {}
        if made.labels or not made.decode:
            self._scorer(made.labels or LABELS)  # labels and prompts that cannot be used are refused now
        image = "" if model.sizes.img and not isinstance(images, NoImages) else None
        self.template.prompt(Example.of(image, where="the prompt of examples that have none"), made.prompt)

    @classmethod
    def load(
        cls,
        name: str,
        *,
        prompt: str | None = None,
        labels: Sequence[str] | None = None,
        positive: str | None = None,
        threshold: float | None = None,
        decode: bool = False,
        frames: str | None = None,
        most_frames: int | None = None,
        pool: str | None = None,
        max_pixels: int | None = None,
        features: bool = True,
        dtype: str = "auto",
        quantize: str | None = None,
        quantize_embeddings: bool | None = None,
        devices: int | None = None,
        tokenizer: str | Path | None = None,
        allocator: str = "grow",
        batch_size: int = 8,
        quiet: bool = False,
    ) -> "Predictor":
        """A predictor of a checkpoint: a path, a name in `checkpoints/`, or a published model's name.

        Args:
          prompt: of examples that have none of their own; None is the prompt that the model was trained with.
          labels: what an answer is one of; the first of two is the positive one. None is the model's own, or yes,no.
          positive: the label that p_yes and the threshold are of, where it is not the first of two.
          threshold: of the positive label; None is what `palitune threshold` stored with the model, or 0.5.
          decode: let the model write freely instead of scoring the labels.
          frames: of animated images: first, middle, last, a number from 0, or all.
          most_frames: with all frames, how many of them are scored, evenly spaced.
          pool: with all frames, the one that counts: worst (least sure of the first label), best, or the mean.
          max_pixels: the largest image that is decoded.
          features: store image features in `cache/features/`.
          quantize, quantize_embeddings: as the options of these names; None is as the model was trained.
          dtype, devices, tokenizer, allocator: likewise.
          batch_size: examples that are scored at a time.

        Raises:
          MissingInputError, BadDataError, ConfigurationError: as `infer.loading.load`.
          UsageError: a setting has no such value, or settings contradict each other.
        """
        options: dict[str, object] = {"model": name, "prompt": prompt, "labels": labels, "positive": positive}
        options |= {"threshold": threshold, "decode": decode, "frames": frames, "most_frames": most_frames}
        options |= {"pool": pool, "max_pixels": max_pixels, "features": features, "dtype": dtype, "devices": devices}
        options |= {"quantize": quantize, "tokenizer": tokenizer, "allocator": allocator}
        if quantize_embeddings is not None:
            options["quantize_embeddings"] = quantize_embeddings
        return cls.of(PredictorConfig.of(options), batch_size=batch_size, quiet=quiet)

    @classmethod
    def of(cls, config: PredictorConfig, *, batch_size: int = 8, quiet: bool = False) -> "Predictor":
        """A predictor as settings say. Raises as `load`."""
        model, images = open_model(workspace.checkpoint_to_read(config.model), config, config, quiet=quiet)
        made = answering.made_with(model, config, config.prompt, quiet=quiet)
        frames, most = frames_of(model.path, config), config.max_new_tokens
        return cls(model, images, made, frames=frames, batch_size=batch_size, most=most, quiet=quiet)

    @functools.cached_property
    def params(self) -> Mapping[str, jax.Array]:
        """The parameters on the device, flat; without the image encoder's where image features are used."""
        return Opened(self.model, self.images).params()

    def predict(
        self,
        examples: Iterable[Example],
        on_bad: Callable[[PalituneError], None] | None = None,
        *,
        params: Mapping[str, jax.Array] | None = None,
        block_size: int | None = None,
    ) -> Iterator[Prediction]:
        """A prediction for every target of every example, in order, as soon as its batch is done.

        It keeps a few batches at a time, so examples may be an endless stream.

        Args:
          on_bad: takes what is wrong with an example or its image, which is left out then; without it that is raised.
          params: parameters to predict with, as in `params`, in place of the model's own.
          block_size: examples whose numbers, divided by it, are the same share no batch with others, so that their
            predictions are the same to the last bit whichever examples come before and after them.

        Raises:
          MissingInputError, BadDataError: an image cannot be used, a prompt is too long, a score is not
            finite, or an example is what the model's template has no place for.
        """
        own = self.params if params is None else params
        units = asked_of(examples, self.template, self.made.prompt, on_bad, block_size)
        # Consecutive ones of the same questions and choices go through one program.
        for (choices, questions), several in itertools.groupby(units, key=lambda one: (one.choices, one.questions)):
            made = self.made
            if choices not in (None, made.labels):  # for which nothing was calibrated
                made = made._replace(labels=choices, threshold=0.5, temperature=1.0, decode=False)
            yield from self._predict(own, several, made, questions, on_bad)

    def predict_all(
        self, examples: Sequence[Example], *, params: Mapping[str, jax.Array] | None = None
    ) -> list[Prediction]:
        """The predictions of `predict`, with a progress bar."""
        found = self.predict(examples, params=params)
        return list(tqdm(found, "validating", len(examples), unit="records", leave=False, disable=self.silent))

    def _scorer(self, labels: tuple[str, ...], questions: tuple[str, ...] | None = None) -> Scorer:
        if (labels, questions) not in self._scorers:
            model = self.model
            self._scorers[labels, questions] = Scorer(
                model.sizes, model.template, labels, model.dtype, self.batch_size, questions, model.placement
            )
        return self._scorers[labels, questions]

    def _predict(
        self,
        params: Mapping[str, jax.Array],
        asked: Iterable[Asked],
        made: MadeWith,
        questions: tuple[str, ...] | None,
        on_bad: Callable[[PalituneError], None] | None,
    ) -> Iterator[Prediction]:
        if self.writer and made.decode and not made.labels:
            yield from self._texts(self.writer, params, asked, made, on_bad)
            return
        pending: collections.deque[tuple[Asked, int]] = collections.deque()
        for_scores, for_texts = itertools.tee(self._questions(asked, pending, on_bad))
        texts = self.writer(params, for_texts) if self.writer and made.decode else itertools.repeat("")
        both = zip(self._scorer(made.labels or LABELS, questions)(params, for_scores), texts, strict=False)
        pool = self.frames.pool if self.frames else "worst"
        for first in both:
            one, count = pending.popleft()
            found, written = zip(first, *(next(both) for _ in range(count - 1)), strict=True)
            scores, said = np.stack(found), [text for text in written if text is not None]
            is_whole = len(said) == len(written)  # None is written of logits that are not finite
            require_finite(scores if is_whole else np.full(1, np.nan), one.example, self.model.path)
            for number, target in enumerate(one.targets):
                p = pooled(probabilities(scores[:, number], made.temperature), pool)
                yield predicted(one.example, target, p, made, said if made.decode else ())

    def _texts(
        self,
        writer: Writer,
        params: Mapping[str, jax.Array],
        asked: Iterable[Asked],
        made: MadeWith,
        on_bad: Callable[[PalituneError], None] | None,
    ) -> Iterator[Prediction]:
        """What is written where there are no labels to score; of several frames the commonest text."""
        pending: collections.deque[tuple[Asked, int]] = collections.deque()
        texts = writer(params, self._questions(asked, pending, on_bad))
        for first in texts:
            one, count = pending.popleft()
            written = [first, *(next(texts) for _ in range(count - 1))]
            said = [text for text in written if text is not None]
            require_finite(np.zeros(1) if len(said) == count else np.full(1, np.nan), one.example, self.model.path)
            text = collections.Counter(said).most_common(1)[0][0]
            yield from (Prediction(one.example, target, text, made=made) for target in one.targets)

    def _questions(
        self,
        asked: Iterable[Asked],
        pending: collections.deque[tuple[Asked, int]],
        on_bad: Callable[[PalituneError], None] | None,
    ) -> Iterator[Question | None]:
        """An image and a prompt for every frame of every example, and None between blocks.

        `pending` takes how many there are of each.
        """
        block: int | None = None
        for_images, listed = itertools.tee(requests(asked, self.frames, on_bad))
        shown = self.images.prefetch(request for _, wanted in for_images for request in wanted)
        for one, wanted in listed:
            found = [next(shown) for _ in wanted] if wanted else [None]
            sound = [image for image in found if not isinstance(image, PalituneError)]
            if len(sound) < len(found):
                tell(next(image for image in found if isinstance(image, PalituneError)), on_bad)
                continue
            prompt = one.prompt(self.template, self.made.prompt)
            if block not in (None, one.block):
                yield None
            block = one.block
            pending.append((one, len(sound)))
            for image in sound:
                yield image, prompt
