"""Two passes, the second at a tenth of the rate, each ended when the validation set gets no better.

./03-do_learn.py -d set1 -w mine --config configs/second_pass.py
./03-do_learn.py -d set1 -w mine --config configs/second_pass.py:patience=5
"""

import ml_collections

from palitune.run.recipe import parse_arg


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """Settings of learning. `arg` may name the evaluations after which a pass without a better one ends."""
    arg = parse_arg(arg, examples=512, patience=3)
    config = ml_collections.ConfigDict()
    config.examples = arg.examples
    config.second_pass = True
    config.patience = arg.patience
    config.second_patience = arg.patience
    return config
