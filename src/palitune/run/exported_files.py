"""What a folder of Hugging Face has beside the weights: tokenizer, processor, and how answers are generated.

The base's own files are copied where its folder has them; others are made of what palitune knows of the model.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from palitune.checkpoint import transformers_config_writing
from palitune.checkpoint.transformers_config import FAMILIES, GEMMA3_IMAGES, PALIGEMMAS, SHIELDGEMMA2
from palitune.data import templates, tokenizer_files, tokenizer_json
from palitune.data.vocabulary import BOS, EOS, PAD, Vocabulary
from palitune.errors import BadDataError
from palitune.models.parameter_shapes import SiglipSizes
from palitune.models.spec import GEMMA, PALIGEMMA, ModelSpec
from palitune.storage import files

Json = dict[str, object]
GENERATION, PROCESSOR, PREPROCESSOR = "generation_config.json", "processor_config.json", "preprocessor_config.json"
TOKENIZER = (
    *(tokenizer_files.SENTENCE_PIECE, tokenizer_files.JSON, tokenizer_files.CONFIG, tokenizer_files.SPECIAL_MAP),
    *(tokenizer_files.ADDED, "chat_template.json", "chat_template.jinja"),
)
NAMES = frozenset({*TOKENIZER, GENERATION, PROCESSOR, PREPROCESSOR})
BILINEAR = 2  # Pillow's number: the filter that palitune resizes images with
# Names of the token that stands for an image in a text.
IMAGE_TOKENS = {PALIGEMMAS: "<image>", GEMMA3_IMAGES: "<image_soft_token>", SHIELDGEMMA2: "<image_soft_token>"}
PROCESSORS = {
    PALIGEMMAS: ("PaliGemmaProcessor", "SiglipImageProcessor"),
    GEMMA3_IMAGES: ("Gemma3Processor", "Gemma3ImageProcessor"),
    SHIELDGEMMA2: ("ShieldGemma2Processor", "Gemma3ImageProcessor"),
}
TEXTS = (
    *("yes", "no", "Is this image appropriate?\n", "user\nHow many?", "  two  blanks\n\n\n", "1,234.5 <b>x</b>\t"),
    *("\u5e83\u544a\u306b\u8d64\u3044\u4e38\u304c\u3042\u308b", "na\u00efve \u2014 \U0001f642"),
)
# Gemma's turns as the template of `data.templates` writes them; an image's token brings its own blank lines.
CHAT_TEMPLATE = """\
{{ bos_token }}
{%- for message in messages -%}
    {{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- else -%}
        {%- for part in message['content'] -%}
            {{ '<start_of_image>' if part['type'] == 'image' else part['text'] | trim }}
        {%- endfor -%}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}
"""


class Companions(NamedTuple):
    """Files by name, and what is to be said of them.

    Attributes:
      notes: what a person should know, in sentences without their end.
    """

    content: dict[str, bytes]
    notes: list[str]


def image_token(spec: ModelSpec, vocabulary: Vocabulary) -> int | None:
    """The id of the token that stands for an image: the piece of its name, else the first that no piece has."""
    if spec.img is None:
        return None
    name = IMAGE_TOKENS[transformers_config_writing.model_type(spec)]
    return vocabulary.special(name) if vocabulary.has(name) else vocabulary.size


def token_ids(spec: ModelSpec, vocabulary: Vocabulary) -> Json:
    """What `config.json` says of special tokens, for a model that has no such file of its own."""
    roles = {"bos_token_id": vocabulary.bos, "eos_token_id": vocabulary.eos}
    roles |= {"pad_token_id": vocabulary.special(PAD)} if vocabulary.has(PAD) else {}
    if spec.img is None:
        return {**roles}
    found: Json = {"image_token_index": image_token(spec, vocabulary), "text_config": roles}
    if spec.template != PALIGEMMA:
        found["boi_token_index"] = vocabulary.special(templates.BEGIN_OF_IMAGE)
        found["eoi_token_index"] = vocabulary.special(templates.END_OF_IMAGE)
    return found


def companions(
    spec: ModelSpec, config: Mapping[str, object], base: Path | None, vocabulary: Vocabulary | None, *, trained: bool
) -> Companions:
    """The files that belong beside the weights of a model.

    Args:
      config: its `config.json`.
      base: the folder that its base was read from, if that is one of Hugging Face.
      vocabulary: its tokenizer, where that is at hand.
      trained: whether palitune has trained it, with images that were resized in its own way.
    """
    found = Companions({}, [])
    if base is not None:
        _copy(base, found.content)
        _leave_out_stale(base, vocabulary, found)
    if vocabulary is not None:
        _add_tokenizer(spec, vocabulary, found)
    elif not {tokenizer_files.SENTENCE_PIECE, tokenizer_files.JSON} & found.content.keys():
        found.notes.append("its tokenizer is not at hand, so the folder has none: copy the published model's into it")
    if GENERATION not in found.content:
        found.content[GENERATION] = _json(_generation(spec, config, vocabulary))
    if spec.img is not None:
        _add_processor(spec, spec.img, found.content)
        if trained:
            _resize_as_trained(found)
    return found


def _copy(folder: Path, content: dict[str, bytes]) -> None:
    for name in sorted(NAMES):
        path = folder / name
        if not path.is_file():
            continue
        try:
            content[name] = files.read(path, tokenizer_files.LARGEST)
        except OSError as error:
            raise files.unreadable(error, path, "file") from None
        except ValueError as error:
            raise BadDataError(str(error), where=str(path), hint="Remove it to go on without it") from None


def _leave_out_stale(base: Path, vocabulary: Vocabulary | None, found: Companions) -> None:
    """Takes away the base's SentencePiece model where its `tokenizer.json` is read instead, which it contradicts."""
    if vocabulary is None or not {tokenizer_files.SENTENCE_PIECE, tokenizer_files.JSON} <= found.content.keys():
        return
    if vocabulary.path.samefile(base / tokenizer_files.JSON):
        del found.content[tokenizer_files.SENTENCE_PIECE]
        found.notes.append("its tokenizer is tokenizer.json; the base's tokenizer.model is left out")


def _add_tokenizer(spec: ModelSpec, vocabulary: Vocabulary, found: Companions) -> None:
    """The tokenizer's own file, if the base's folder had none, and what other programs need beside it."""
    content, special = found.content, _special(spec, vocabulary)
    if not {tokenizer_files.SENTENCE_PIECE, tokenizer_files.JSON} & content.keys():
        own = files.read(vocabulary.path, tokenizer_files.LARGEST)
        is_json = own.startswith(b"{")
        content[tokenizer_files.JSON if is_json else tokenizer_files.SENTENCE_PIECE] = own
    if tokenizer_files.JSON not in content:
        bos = vocabulary.piece(vocabulary.bos)
        added = [name for name in special.values() if not vocabulary.has(name)]
        made = tokenizer_json.of_model(content[tokenizer_files.SENTENCE_PIECE], added, bos)
        if made is not None and tokenizer_json.agrees(made, vocabulary, TEXTS):
            content[tokenizer_files.JSON] = made
        else:
            found.notes.append(
                "its tokenizer cannot be written as tokenizer.json: transformers reads tokenizer.model with the "
                "packages sentencepiece and protobuf"
            )
    if tokenizer_files.CONFIG not in content:
        content[tokenizer_files.CONFIG] = _json(_tokenizer_config(spec, vocabulary, special))
    has_chat = {"chat_template.jinja", "chat_template.json"} & content.keys()
    if spec.template == GEMMA and not has_chat and b'"chat_template"' not in content[tokenizer_files.CONFIG]:
        content["chat_template.jinja"] = CHAT_TEMPLATE.encode()


def _special(spec: ModelSpec, vocabulary: Vocabulary) -> dict[str, str]:
    """Names of the tokens that stand for an image or for what brackets it, by what transformers calls them."""
    if spec.img is None:
        return {}
    name = IMAGE_TOKENS[transformers_config_writing.model_type(spec)]
    if spec.template == PALIGEMMA:
        return {"image_token": name}
    return {"boi_token": templates.BEGIN_OF_IMAGE, "eoi_token": templates.END_OF_IMAGE, "image_token": name}


def _tokenizer_config(spec: ModelSpec, vocabulary: Vocabulary, special: Mapping[str, str]) -> Json:
    made: Json = {"add_bos_token": True, "add_eos_token": False, "tokenizer_class": "GemmaTokenizer"}
    for name, role in ((BOS, "bos_token"), (EOS, "eos_token"), (PAD, "pad_token")):
        if vocabulary.has(name):
            made[role] = vocabulary.piece(vocabulary.special(name))
    if vocabulary.unknown >= 0:
        made["unk_token"] = vocabulary.piece(vocabulary.unknown)
    if special:
        made["extra_special_tokens"] = dict(special)
        made["processor_class"] = PROCESSORS[transformers_config_writing.model_type(spec)][0]
    return made


def _generation(spec: ModelSpec, config: Mapping[str, object], vocabulary: Vocabulary | None) -> Json:
    """Greedy answers that end where the template ends them."""
    text = config.get("text_config")
    source = text if isinstance(text, dict) else config
    made: Json = {name: source.get(name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    if spec.template != PALIGEMMA and vocabulary is not None and vocabulary.has(templates.END_OF_TURN):
        made["eos_token_id"] = [vocabulary.eos, vocabulary.special(templates.END_OF_TURN)]
    return {"_from_model_config": True, **{name: value for name, value in made.items() if value is not None}}


def _add_processor(spec: ModelSpec, img: SiglipSizes, content: dict[str, bytes]) -> None:
    processor, image_processor = PROCESSORS[transformers_config_writing.model_type(spec)]
    if PREPROCESSOR not in content and _image_settings(content) is None:
        half, side = [0.5] * 3, img.image_size
        content[PREPROCESSOR] = _json(
            {
                **{f"do_{step}": True for step in ("convert_rgb", "normalize", "rescale", "resize")},
                "image_mean": half,
                "image_std": half,
                "image_processor_type": image_processor,
                "image_seq_length": img.num_tokens,
                "processor_class": processor,
                "resample": BILINEAR,
                "rescale_factor": 1 / 255,
                "size": {"height": side, "width": side},
            }
        )
    if PROCESSOR not in content and spec.template != PALIGEMMA:
        content[PROCESSOR] = _json({"image_seq_length": img.num_tokens, "processor_class": processor})


def _image_settings(content: Mapping[str, bytes]) -> Json | None:
    """Settings of the image processor in the processor's file, where transformers has written them since version 5."""
    try:
        found = json.loads(content.get(PROCESSOR, b"{}")).get("image_processor")
    except (ValueError, AttributeError, RecursionError):
        return None  # transformers tells what is wrong with it
    return found if isinstance(found, dict) else None


def _resize_as_trained(found: Companions) -> None:
    """Makes the base's own file resize images as they were resized in training."""
    nested = _image_settings(found.content)
    try:
        settings = json.loads(found.content[PREPROCESSOR]) if nested is None else nested
        before = settings.get("resample", BILINEAR)
    except (ValueError, AttributeError, RecursionError):
        return
    if before == BILINEAR:
        return
    name, changed = PREPROCESSOR, {**settings, "resample": BILINEAR}
    if nested is not None:
        name, changed = PROCESSOR, {**json.loads(found.content[PROCESSOR]), "image_processor": changed}
    found.content[name] = _json(changed)
    found.notes.append(f"{name} now resizes images as in training (the base's own has resample {before})")


def _json(content: Mapping[str, object]) -> bytes:
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def class_of(spec: ModelSpec) -> str:
    """The class of transformers that loads a model."""
    return FAMILIES[transformers_config_writing.model_type(spec)].architectures[0]
