"""The training methods: what each of them trains, needs and takes.

A method is one `Method` in `METHODS`; nothing else in the package knows a method by its name. Settings take their
defaults from here, the step its rules over parameter paths, the plan its costs. Imports nothing heavy, because the
command line reads it before any argument.
"""

import dataclasses

from palitune.trees import Rules

ADAPTERS = r"llm/layers/.*_lora_(a|b|alpha)"
QUANTIZED = r".*_(nf4|int8)(_scale|_low|_step)?"  # `models.weight`, `models.table`
NORMS = r"llm/layers/attn/(query|key)_norm/.*"  # Gemma 3's: scales that any model of its own keeps
ADAPTERS_ALONE: Rules[bool] = Rules([(r"llm/layers/.*_lora_(a|b)", True), (r"(llm|img)/.*", False)])


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to fine-tune a model."""

    name: str
    summary: str  # what it trains, as the help text says it
    trainable: Rules[bool]  # over parameter paths
    optimizer: str = "sgd"  # unless the run's configuration names another
    learning_rate: float = 0.03  # likewise
    # Trainable parameters are float32; if not, they have the dtype of the computation or of the setting `weights`.
    keeps_float32: bool = True
    adds_adapters: bool = False  # LoRA factors beside the weights that the setting `lora_targets` matches
    quantize: str = "none"  # how the frozen weights of the language model's layers are kept: `models.weight.KINDS`
    # Whether all gradients of a step may be in memory at once, which accumulation and global clipping need.
    holds_whole_gradient: bool = True
    smaller: tuple[str, ...] = ()  # methods that need less memory, to be proposed where this one does not fit

    @property
    def trains_attention(self) -> bool:
        """Whether the attention weights of the language model's layers are trainable."""
        return self.trainable("llm/layers/attn/attn_vec_einsum/w")

    @property
    def trains_mlp(self) -> bool:
        """Whether the MLP weights of the language model's layers are trainable."""
        return self.trainable("llm/layers/mlp/linear")

    @property
    def trains_embedder(self) -> bool:
        """Whether the embedding table, which is also the output layer, is trainable."""
        return self.trainable("llm/embedder/input_embedding")

    @property
    def trains_image_encoder(self) -> bool:
        """Whether the image encoder is trainable: then it needs pixels, and stored image features do not help."""
        return self.trainable("img/embedding/kernel")


LORA = Method(
    # Adapters start from nothing, where plain gradient descent is slow.
    name="lora",
    summary="LoRA adapters",
    trainable=ADAPTERS_ALONE,
    optimizer="adamw",
    learning_rate=0.003,
    adds_adapters=True,
    smaller=("qlora",),
)
_METHODS = (
    Method(
        # Attention alone is a twentieth of the model and enough to turn what it knows to a new use.
        name="attention",
        summary="the language model's attention",
        trainable=Rules(
            [
                (ADAPTERS, False),
                (NORMS, False),
                (QUANTIZED, False),
                (r"llm/layers/attn/.*", True),
                (r"(llm|img)/.*", False),
            ]
        ),
        smaller=("lora", "qlora"),
    ),
    Method(
        # Everything moves at once, so at a lower rate; and each layer is updated as soon as its gradient is known.
        name="full",
        summary="every parameter",
        trainable=Rules([(ADAPTERS, False), (QUANTIZED, False), (r"(llm|img)/.*", True)]),
        learning_rate=0.01,
        keeps_float32=False,
        holds_whole_gradient=False,
        smaller=("attention", "lora", "qlora"),
    ),
    LORA,
    # The same beside weights of 4 bits (https://arxiv.org/abs/2305.14314).
    dataclasses.replace(
        LORA, name="qlora", summary="LoRA adapters beside weights of 4 bits", smaller=(), quantize="nf4"
    ),
)
METHODS = {method.name: method for method in _METHODS}
DEFAULT = _METHODS[0].name
