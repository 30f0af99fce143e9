"""A model that one talks to: an answer to one example at a time, piece by piece, or one of some labels."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax

from palitune import randomness
from palitune.checkpoint.delta import Overlay
from palitune.config.answering import AnsweringSettings
from palitune.config.chat import ChatConfig, SamplingSettings
from palitune.data.example import Example
from palitune.data.images.loader import ImageRequest, raise_first
from palitune.data.images.of_examples import NoImages, images_of
from palitune.data.prediction import Prediction
from palitune.errors import MissingInputError, UsageError
from palitune.infer.answering import made_with
from palitune.infer.loading import IMAGE_ENCODER, Model, load
from palitune.infer.opening import ImagesOfModel, Opened, image_source
from palitune.infer.predictor import Predictor
from palitune.infer.sampling import Sampling
from palitune.infer.writing import TokenWriter, texts_of


class Speaker:
    """Answers examples, one after another.

    Attributes:
      model: the model.
      images: where its images come from.
    """

    def __init__(self, model: Model, images: ImagesOfModel, quiet: bool = False) -> None:
        self.model, self.images, self.quiet = model, images, quiet
        self._predictors: dict[tuple[str, ...], Predictor] = {}

    @functools.cached_property
    def params(self) -> Mapping[str, jax.Array]:
        """The parameters on the device, flat; without the image encoder's where no pixels go through it."""
        return Opened(self.model, self.images).params()

    @functools.cached_property
    def _writer(self) -> TokenWriter:
        model = self.model
        return TokenWriter.of(model.sizes, model.template, model.dtype, model.placement)

    def texts(self, example: Example, how: SamplingSettings, turn: int = 0) -> Iterator[str]:
        """The pieces of an answer, as soon as each is there; none of them splits a character.

        Args:
          turn: the number of the question, which draws other tokens than the one before with the same seed.

        Raises:
          MissingInputError, BadDataError: the image cannot be used, the prompt is too long, a score is not finite, or
            the example is what the model's template has no place for.
        """
        prompt = self.model.template.prompt(example, "")
        (image,) = raise_first(images_of([example], self.images))
        seed = int(randomness.generator(how.seed, "answer", turn).integers(2**32))
        sampling = Sampling(how.temperature, how.top_p, how.top_k, how.repetition_penalty)
        tokens = self._writer.tokens(self.params, image, prompt, how.max_new_tokens, sampling, seed)
        return texts_of(self.model.template.vocabulary, tokens)

    def choice(self, example: Example, labels: tuple[str, ...]) -> Prediction:
        """One of some labels, with the probability of each. Raises as `texts`."""
        if labels not in self._predictors:
            made = made_with(self.model, AnsweringSettings(labels=labels), "", quiet=self.quiet)
            self._predictors[labels] = Predictor(self.model, self.images, made, batch_size=1, quiet=True)
        return next(self._predictors[labels].predict([example], params=self.params))


class Pair(NamedTuple):
    """A model and its base, which share what is the same in both."""

    tuned: Speaker
    base: Speaker | None

    @property
    def speakers(self) -> Sequence[Speaker]:
        """Both, or the only one."""
        return (self.tuned,) if self.base is None else (self.tuned, self.base)


def open_speakers(source: Path, config: ChatConfig, quiet: bool = False) -> Pair:
    """The model of a conversation, and its base where that is asked for.

    Raises:
      MissingInputError, BadDataError, ConfigurationError: as `infer.loading.load`, or the image cannot be used.
      UsageError: the model has no base.
    """
    if config.image is not None and not Path(config.image).is_file():
        raise MissingInputError("no such image", where=config.image)
    model = load(source, config, quiet=quiet)
    tuned = Speaker(model, _images(model, config, quiet), quiet)
    if not config.base:
        return Pair(tuned, None)
    if not isinstance(model.checkpoint, Overlay):
        what = f"--base: {source.stem} is a whole model, and no adapter or checkpoint that has a base"
        raise UsageError(what, hint="Leave --base out")
    return Pair(tuned, _Base(tuned, model.checkpoint, config))


def _images(model: Model, config: ChatConfig, quiet: bool) -> ImagesOfModel:
    """Where the images come from: without any, the image encoder is not needed. Raises for one that cannot be used."""
    if config.image is None or model.sizes.img is None:
        return NoImages(model.sizes.llm.width)
    source = image_source(model, config, features=config.features, quiet=quiet)
    source.check([ImageRequest(Path(config.image), "--image")])
    return source


class _Base(Speaker):
    """The base of a model, with the parameters on the device that both have."""

    def __init__(self, tuned: Speaker, overlay: Overlay, config: ChatConfig) -> None:
        model = tuned.model._replace(path=overlay.base.path, checkpoint=overlay.base)
        super().__init__(model, _images(model, config, tuned.quiet), tuned.quiet)
        self.tuned, self.changed = tuned, overlay.changed

    @functools.cached_property
    def params(self) -> Mapping[str, jax.Array]:
        """As of any model."""
        there, needs_encoder = self.tuned.params, any(path.startswith(IMAGE_ENCODER) for path in self.tuned.params)
        wanted = [path for path in self.model.checkpoint if needs_encoder or not path.startswith(IMAGE_ENCODER)]
        same = {path: self.model.names(path) for path in wanted if path not in self.changed}
        shared = {path for path, names in same.items() if all(name in there for name in names)}
        own = self.model.params(lambda path: path in wanted and path not in shared)
        return own | {name: there[name] for path in shared for name in same[path]}
