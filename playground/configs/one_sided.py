"""Data in which one answer is much more frequent than the other: both count the same, and so they do in the selection.

./03-do_learn.py -d set1 -w mine --config configs/one_sided.py
./03-do_learn.py -d set1 -w mine --config configs/one_sided.py:balance=sample
"""

import ml_collections

from palitune.run.recipe import parse_arg


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """Settings of learning. `arg` may name how labels are balanced."""
    arg = parse_arg(arg, examples=512, balance="weights")
    config = ml_collections.ConfigDict()
    config.examples = arg.examples
    config.balance = arg.balance  # bench/README.md: balanced accuracy 0.937 instead of 0.765 with 85 % yes
    config.select = "balanced_accuracy"
    return config
