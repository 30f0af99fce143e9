"""What fits on a card: memory and time of a step by method and batch size, as rows, JSON and text."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NotRequired, TypedDict

import jax
from jax.sharding import Sharding

from palitune.config.learning import LearningSettings
from palitune.config.quantization import NONE
from palitune.config.run_config import require_effect, training
from palitune.method import METHODS
from palitune.parallel import Placement
from palitune.train import cards, communication, floor, plan, step_memory, step_shapes
from palitune.train.cards import Card
from palitune.train.step_memory import Memory
from palitune.train.step_shapes import Work

SPREAD_ERROR = 0.12  # of an estimate for several devices


class PlanRow(TypedDict):
    """One method and batch size: memory in bytes, operations of an update, milliseconds that it takes at least."""

    method: str
    batch: int
    weights: int
    optimizer: int
    activations: int
    peak: int
    fits: bool
    flops: int
    floor_ms: float
    waiting: NotRequired[int]  # bytes of the optimizer's state in the host's memory
    sent: NotRequired[int]  # bytes that one of several devices sends in a step, by the compiled program
    least_sent: NotRequired[int]  # and those that it has to


class EnsembleRow(TypedDict):
    """What several models of a method take when they answer together: memory in bytes."""

    method: str
    members: int
    weights: int
    activations: int
    peak: int
    fits: bool


class PlanJson(TypedDict):
    """The whole table."""

    model: str
    card: str
    memory: int
    reserved: int
    estimated: bool
    devices: NotRequired[int]
    rows: list[PlanRow]
    largest_batch: dict[str, int]
    ensembles: NotRequired[list[EnsembleRow]]
    together: NotRequired[int]


@dataclasses.dataclass
class PlanTable:
    """Rows for one model on one card.

    Attributes:
      work: the model and its inputs; the configuration in it is replaced by those of `add`.
      memory: bytes of the card.
      compiling: whether XLA counts the compiled step's memory, instead of an estimate from the sizes.
      devices: how many such cards the model and each batch are spread over; memory is that of one of them.
    """

    model: str
    work: Work
    card: Card
    memory: int
    compiling: bool
    devices: int = 1
    rows: list[PlanRow] = dataclasses.field(default_factory=list)
    largest: dict[str, int] = dataclasses.field(default_factory=dict)
    ensembles: list[EnsembleRow] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        self.room = self.memory - cards.RESERVED
        self.limit = self.room * plan.SAFETY  # which learning holds itself to as well
        self.sharding: Sharding | None = None
        self.latest = self.work
        if self.devices > 1:
            found = cards.several(self.card, self.devices) if self.compiling else jax.devices()[: self.devices]
            self.work = self.work._replace(placement=Placement(found, dtype=self.work.dtype))
        elif self.compiling:
            self.sharding = cards.placement(self.card)

    def add(self, settings: LearningSettings, batches: Sequence[int]) -> Iterator[int]:
        """Adds the rows of a method, and its largest batch; yields each batch size when its row is there.

        Raises:
          UsageError: settings that have no effect together.
        """
        require_effect(settings)
        kept = self.work.config
        usual = METHODS[settings.method].quantize if kept.quantize == NONE else kept.quantize
        config = training(settings, quantize=usual, quantize_embeddings=kept.quantize_embeddings)
        has_features = self.work.features and not METHODS[config.method].trains_image_encoder
        work = self.work._replace(config=config, features=has_features)
        self.latest = work
        largest = plan.largest_batch(work, self.room) // self.devices * self.devices
        for size in batches:
            each = step_shapes.with_batch(work, size)
            room = max(0, settings.keep) * 10**6 // each.together
            keep = plan.kept_layers(each.sizes, step_shapes.batch(each), each.dtype, room)
            prepared = plan.compiled(each, keep, self.sharding) if self.compiling else None
            memory = prepared.memory if prepared is not None else step_memory.estimate(each, keep)
            self.rows.append(self._row(each, config.method, size, memory))
            if self.devices > 1:
                self.rows[-1]["least_sent"] = communication.least(each)
            if self.devices > 1 and prepared is not None:
                (program,) = prepared.step.programs.values()
                self.rows[-1]["sent"] = communication.sent(program.as_text() or "").total()
            yield size
        self.largest[config.method] = self._proven(work, largest) if self.compiling else largest

    def add_ensemble(self, members: int, memory: Memory) -> None:
        """Adds what so many models of the last method take when they answer together."""
        method = self.rows[-1]["method"]
        fits = memory.peak <= self.limit
        self.ensembles.append(
            EnsembleRow(
                method=method,
                members=members,
                weights=memory.weights,
                activations=memory.temporaries,
                peak=memory.peak,
                fits=fits,
            )
        )

    def _row(self, work: Work, method: str, size: int, memory: Memory) -> PlanRow:
        row: PlanRow = {
            "method": method,
            "batch": size,
            "weights": memory.weights,
            "optimizer": memory.optimizer,
            "activations": memory.temporaries,
            "peak": memory.peak,
            "fits": memory.peak <= self.limit,
            "flops": floor.flops(work),
            "floor_ms": round(1e3 * floor.seconds(work, self.card), 1),
        }
        if memory.waiting:
            row["waiting"] = memory.waiting
        return row

    def _proven(self, work: Work, size: int) -> int:
        """The estimated largest batch, lowered until the step compiled for it fits."""
        while size:
            memory = plan.compiled(step_shapes.with_batch(work, size), 0, self.sharding).memory
            if memory.peak <= self.limit:
                return size
            each = memory.temporaries / size
            size = max(0, size - max(1, round((memory.peak - self.limit) / each)))
            size -= size % self.devices
        return 0

    def _sent(self) -> list[str]:
        """What a device sends, by the program of each row; or, where none was compiled, what it has to by method."""
        lines: list[str] = []
        for row in self.rows:
            if "least_sent" not in row:
                continue
            least = row["least_sent"]
            if "sent" in row:
                share = row["sent"] / least if least else 0.0
                lines.append(
                    f"{row['method']}, batch {row['batch']}: each device sends {row['sent'] / 1e9:.2f} GB a step, "
                    f"{share:.2f} times the {least / 1e9:.2f} GB that it has to"
                )
            else:
                lines.append(f"{row['method']}: each device has to send {least / 1e9:.2f} GB a step")
        return list(dict.fromkeys(lines))  # what has to be sent is the same for all batches

    def as_json(self) -> PlanJson:
        """Everything, for `--json`."""
        found: PlanJson = {
            "model": self.model,
            "card": self.card.name,
            "memory": self.memory,
            "reserved": cards.RESERVED,
            "estimated": not self.compiling,
            "rows": self.rows,
            "largest_batch": self.largest,
        }
        if self.devices > 1:
            found["devices"] = self.devices
        if self.ensembles:
            found["ensembles"] = self.ensembles
        if self.work.together > 1:
            found["together"] = self.work.together
        return found

    def text(self) -> str:
        """The table as lines of text; GB are 10^9 bytes."""
        several = f"{self.devices} x " if self.devices > 1 else ""
        lines = [
            f"{self.model} on {several}{self.card.name}, {self.memory / 1e9:.1f} GB of which "
            f"{cards.RESERVED / 1e9:.1f} are CUDA's own and {1 - plan.SAFETY:.0%} of the rest stays free; "
            "GB are 10^9 bytes",
            f"{'method':10} {'batch':>5} {'weights':>8} {'optimizer':>10} {'activations':>12} {'peak':>6}  fits "
            f"{'TFLOP':>7} {'floor ms':>9}",
        ]
        for row in self.rows:
            memory = row["weights"] / 1e9, row["optimizer"] / 1e9, row["activations"] / 1e9, row["peak"] / 1e9
            lines.append(
                f"{row['method']:10} {row['batch']:5} {memory[0]:8.2f} {memory[1]:10.2f} {memory[2]:12.2f} "
                f"{memory[3]:6.2f}  {'yes' if row['fits'] else 'no':4} {row['flops'] / 1e12:7.1f} "
                f"{row['floor_ms']:9.0f}"
            )
        lines += [
            f"{row['method']}, batch {row['batch']}: {row['waiting'] / 1e9:.2f} GB wait in the host's memory, "
            "and cross to the card and back in a step"
            for row in self.rows
            if "waiting" in row
        ]
        if self.work.together > 1:
            lines.append(f"{self.work.together} trainings take their steps together: a step is one of each")
        lines += self._sent()
        for method, size in self.largest.items():
            more = " or more" if size >= plan.LARGEST_BATCH else ""
            lines.append(f"largest batch that fits, {method}: {size or 'none'}{more}")
        for both in self.ensembles:
            needs = f"{both['peak'] / 1e9:.2f} GB, {both['weights'] / 1e9:.2f} of them weights"
            outcome = "fits" if both["fits"] else "does not fit"
            lines.append(f"an ensemble of {both['members']}, {both['method']}: answers with {needs}: {outcome}")
        if self.compiling:
            lines.append("counted by XLA in the step compiled for this card")
        else:
            error = SPREAD_ERROR if self.devices > 1 else step_memory.ESTIMATE_ERROR
            lines.append(
                f"estimated from sizes, not compiled: within {error:.0%} of XLA's count where both were "
                "run. JAX's CUDA plugin (pip install -e '.[cuda12]') makes it exact, without a GPU"
            )
        return "\n".join(lines)
