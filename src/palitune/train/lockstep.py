"""Several attempts in lockstep: each step of all of them is one program, over the same frozen parameters.

What they learn and their states are on a new first axis. A row of one of them is there when that of another one is
asked for, and is kept until somebody asks for it; so each attempt can be followed from its start to its end, one after
another, as if it had been alone.
"""

import collections
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from palitune.checkpoint import run_state
from palitune.data import batches
from palitune.data.batches import Batch
from palitune.errors import DivergedError
from palitune.models.arrays import AnyArray, Flat, Tree, Weights
from palitune.train.evaluation import Evaluation
from palitune.train.loop import Attempt, Row

# Examples in the step of all attempts up to which one program is the quicker one on a CPU: bench/README.md
MOST_EXAMPLES = 12
GROUPS = ("trainable", "state")  # of an attempt, which are put on a new first axis


class Kept(NamedTuple):
    """What a saved lockstep resumes one of its attempts with."""

    facts: Mapping[str, Any]
    best: Weights
    observed: Weights


class Lane:
    """One attempt of several, and the rows of it that nobody has asked for yet.

    Attributes:
      observed: what `observe` returned, by the step.
      error: why the attempt is over before its end.
    """

    def __init__(
        self,
        attempt: Attempt,
        feed: Callable[[int], Iterator[Batch]],
        observe: Callable[[Flat, Evaluation], AnyArray] | None,
        kept: Kept | None = None,
    ) -> None:
        """Args:
        feed: the batches after so many steps.
        observe: what is kept of all parameters at an evaluation; None is nothing.
        kept: where it stood.
        """
        self.attempt, self.observe = attempt, observe
        self.rows: collections.deque[Row] = collections.deque()
        self.observed: dict[str, AnyArray] = {}
        self.error: DivergedError | None = None
        if kept is not None:
            attempt.restore_facts(kept.facts["attempt"], kept.best)
            self.rows.extend(_row(values) for values in kept.facts["rows"])
            self.observed = dict(kept.observed)
            if kept.facts["error"] is not None:
                what, hint = kept.facts["error"]
                self.error = DivergedError(what, hint=hint)
        self.feed, self.rates = feed(attempt.count), attempt.rates()

    @property
    def is_over(self) -> bool:
        """Whether it takes no further step."""
        return self.attempt.is_over or self.error is not None

    @property
    def position(self) -> int:
        """The step after which its next row is."""
        return self.rows[0].step - 1 if self.rows else self.attempt.count

    def facts(self) -> dict[str, object]:
        """Where it stands, as JSON has it."""
        error = None if self.error is None else (self.error.what, self.error.hint)
        return {"attempt": self.attempt.facts(), "rows": list(self.rows), "error": error}

    def add(self, row: Row) -> None:
        """Keeps a row, and observes what has been learned by then where that is evaluated."""
        if row.evaluation is not None and self.observe is not None:
            params = {**self.attempt.setup.frozen, **self.attempt.result}
            self.observed[str(row.step)] = self.observe(params, row.evaluation)
        self.rows.append(row)


class Lockstep:
    """Lanes by their numbers, whose attempts have the same setup but for what they learn from and are evaluated on."""

    def __init__(
        self, lanes: Mapping[int, Lane], first: int, size: int, saved: Mapping[str, Weights] | None = None
    ) -> None:
        """Args:
        lanes: those that somebody will still ask for.
        first: the number of the first that there was at the start.
        size: how many there were at the start.
        saved: the arrays of a lockstep that was saved, of all lanes.

        Raises:
          BadDataError: they are not those of such lanes.
        """
        self.lanes, self.first, self.size = dict(lanes), first, size
        self.trainable: Flat = {}
        self.state: dict[str, Tree] = {}
        self.ahead: Batch | None = None  # the next batch, where that has been drawn
        self.is_begun = saved is not None
        if saved is None:
            return
        own = next(iter(self.lanes.values())).attempt
        shapes = [jax.eval_shape(_stacked, [vars(own)[name]] * size) for name in GROUPS]
        for lane in self.lanes.values():
            _emptied(lane.attempt)
        if not self.is_over:
            self.trainable, self.state = (_read(shape, saved[name]) for name, shape in zip(GROUPS, shapes, strict=True))

    @property
    def is_over(self) -> bool:
        """Whether no lane takes a further step."""
        return all(lane.is_over for lane in self.lanes.values())

    def rows(self, number: int) -> Iterator[Row | None]:
        """The rows of a lane that are left, each when it is asked for; None is a step of other lanes alone.

        Raises:
          DivergedError: the lane has diverged. The others have come to their ends before that is said, so that whoever
            starts the lane again has their memory.
        """
        lane = self.lanes[number]
        while lane.rows or not (lane.is_over and self.is_begun):
            if not lane.rows:
                self._advance()
            if lane.rows:
                yield lane.rows.popleft()
        if lane.error is not None:
            while not self.is_over:
                self._advance()
                yield None
            raise lane.error

    def arrays(self) -> dict[str, Weights]:
        """What is saved of it beside `facts`, by group."""
        found: dict[str, Weights] = {name: run_state.leaves_of(vars(self)[name]) for name in GROUPS}
        for number, lane in self.lanes.items():
            best = lane.attempt.best
            found |= {f"best {number}": best.arrays if best else {}, f"observed {number}": lane.observed}
        return found

    def facts(self) -> dict[str, object]:
        """Everything about where it stands that is no array, as JSON has it."""
        lanes = {str(number): lane.facts() for number, lane in self.lanes.items()}
        return {"first": self.first, "size": self.size, "lanes": lanes}

    def _begin(self) -> None:
        """Evaluates each lane before its first step, and puts what they have on the new first axis."""
        own = list(self.lanes.values())
        for lane in own:
            self._settle(lane, lane.attempt.before)
        self.trainable, self.state = (_joined([vars(one.attempt).pop(name) for one in own]) for name in GROUPS)
        for lane in own:
            _emptied(lane.attempt)
        self.is_begun = True

    def _advance(self) -> None:
        """Takes the next step of every lane that is not over."""
        if not self.is_begun:
            self._begin()
            return
        at_work = self._at_work()
        batch = self.ahead or self._drawn()
        assert batch is not None  # somebody is at work
        setup = next(iter(at_work.values())).attempt.setup
        self.trainable, self.state, outcome = setup.step(self.trainable, self.state, setup.frozen, batch)
        self.ahead = self._drawn()  # while the device is at work
        values = np.stack(jax.device_get(outcome), axis=1).tolist()
        for place, lane in at_work.items():
            self._settle(lane, self._step_of, lane, place, values[place])
        if self.is_over:
            self.trainable, self.state = {}, {}

    def _at_work(self) -> dict[int, Lane]:
        """The lanes that are not over, by their places on the first axis."""
        return {number - self.first: lane for number, lane in self.lanes.items() if not lane.is_over}

    def _drawn(self) -> Batch | None:
        """The next batch of all lanes; None where nobody has one left."""
        found = {place: next(lane.feed, None) for place, lane in self._at_work().items()}
        drawn = {place: batch for place, batch in found.items() if batch is not None}
        if not drawn:
            return None
        # What a lane does that is over is of no interest to anybody.
        filling = next(iter(drawn.values()))
        return batches.stacked([drawn.get(place, filling) for place in range(self.size)])

    def _step_of(self, lane: Lane, place: int, outcome: Sequence[float]) -> Row:
        attempt = lane.attempt
        if attempt.is_evaluated(attempt.count + 1):
            ema = {"ema": self.state["ema"]} if "ema" in self.state else {}
            attempt.trainable, attempt.state = _of_one((self.trainable, ema), place)
        loss, accuracy, finite = outcome
        return attempt.after(next(lane.rates), loss, accuracy, bool(finite))

    def _settle(self, lane: Lane, row_of: Callable[..., Row | None], *arguments: Any) -> None:
        """Adds a lane's next row, or why there is none."""
        try:
            row = row_of(*arguments)
        except DivergedError as error:
            lane.error = error
        else:
            if row is not None:
                lane.add(row)
        if self.is_begun:
            _emptied(lane.attempt)


def _emptied(attempt: Attempt) -> None:
    """Drops what an attempt in lockstep has only while it is evaluated."""
    attempt.trainable, attempt.state = {}, {}


@jax.jit
def _of_one(tree: Tree, place: int) -> Tree:
    return jax.tree.map(lambda leaf: jax.lax.dynamic_index_in_dim(leaf, place, keepdims=False), tree)


def _stacked(trees: Sequence[Tree]) -> Tree:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def _joined(trees: list[Tree]) -> Tree:
    """As `_stacked`; leaf by leaf, so that hardly more than the result is in memory. The trees are given up."""
    structure = jax.tree.structure(trees[0])
    leaves = [jax.tree.leaves(tree) for tree in trees]
    trees.clear()
    return jax.tree.unflatten(structure, [jnp.stack([own.pop(0) for own in leaves]) for _ in range(len(leaves[0]))])


def _read(shapes: Tree, leaves: Weights) -> Tree:
    return run_state.tree_of(jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes), leaves)


def _row(values: Sequence[Any]) -> Row:
    """A row as JSON has it."""
    row = Row(*values)
    return row if row.evaluation is None else row._replace(evaluation=Evaluation(*row.evaluation))
