"""The linear layers of a model that can have an adapter, as PEFT names them and as our stacked adapters have them.

PEFT has two tensors for each linear layer, `lora_A.weight` [r, inputs] and `lora_B.weight` [outputs, r]. Ours are
stacked over layers, and over keys and values, or gate and values (`models.lora`): each of theirs is a part of ours.
"""

from typing import NamedTuple

from palitune.checkpoint import tensor_names
from palitune.checkpoint.store import Array
from palitune.models import lora
from palitune.models.spec import SHIELDGEMMA, ModelSpec

ROOT = "base_model.model."  # before a module's name in the names of tensors
A, B = ".lora_A.weight", ".lora_B.weight"
WEIGHT = ".weight"


class Module(NamedTuple):
    """A linear layer, and where its weight is among our parameters.

    Attributes:
      path: of our weight.
      place: the indices of our weight's leading axes at which it is: layer, and number in a stack.
      inputs, outputs: its sizes.
    """

    path: str
    place: tuple[int, ...]
    inputs: int
    outputs: int

    @property
    def layer(self) -> int:
        """The number of its layer."""
        return self.place[0]

    def their_a(self, a: Array) -> Array:
        """`lora_A.weight` [r, inputs], a view or a copy, out of our whole first factor."""
        return a[self.place].reshape(self.inputs, a.shape[-1]).T

    def their_b(self, b: Array) -> Array:
        """`lora_B.weight` [outputs, r], a view or a copy, out of our whole second factor."""
        part = b[self.place]
        return part.reshape(part.shape[0], self.outputs).T

    def put_a(self, tensor: Array, a: Array) -> None:
        """Copies `lora_A.weight` to its place in our first factor, whose rank may be larger."""
        part = a[self.place]
        part[..., : tensor.shape[0]] = tensor.T.reshape(*part.shape[:-1], tensor.shape[0])

    def put_b(self, tensor: Array, b: Array) -> None:
        """Copies `lora_B.weight` to its place in our second factor, whose rank may be larger."""
        part = b[self.place]
        part[: tensor.shape[1]] = tensor.T.reshape(tensor.shape[1], *part.shape[1:])


def modules(spec: ModelSpec) -> dict[str, Module]:
    """The linear layers of the language model by their plain names, such as `layers.3.self_attn.q_proj`."""
    return {
        name.removesuffix(WEIGHT): Module(tensor.path, tensor.place, tensor.theirs[1], tensor.theirs[0])
        for name, tensor in tensor_names.tensors(spec).items()
        if lora.can_adapt(tensor.path)
    }


def module_name(plain: str, spec: ModelSpec) -> str:
    """The name of a linear layer in transformers since 4.52, of its plain name."""
    if spec.img is None:
        return f"model.{plain}"
    return f"model.{'model.' if spec.template == SHIELDGEMMA else ''}language_model.{plain}"
