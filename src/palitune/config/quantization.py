"""How the frozen parameters of a model are kept: as they are, or in fewer bits. Imports nothing heavy."""

from typing import NamedTuple

NONE, NF4, INT8 = "none", "nf4", "int8"
KINDS = (NONE, NF4, INT8)


class Quantization(NamedTuple):
    """How frozen parameters are kept.

    Attributes:
      kind: of the weights of the language model's layers: one of `KINDS`.
      embeddings: whether the embedding table, and an output table of its own, has rows of 8 bits.
    """

    kind: str = NONE
    embeddings: bool = False

    @property
    def is_any(self) -> bool:
        """Whether anything is quantized."""
        return self.kind != NONE or self.embeddings

    @property
    def name(self) -> str:
        """What it is called in messages, such as "nf4 weights and int8 embeddings"."""
        both = [f"{self.kind} weights"] * (self.kind != NONE) + ["int8 embeddings"] * self.embeddings
        return " and ".join(both) or "weights as they are"


EXACT = Quantization()  # everything stays as it is
