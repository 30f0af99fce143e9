"""Yes or no about images with PaliGemma 3B on a card with 12 GB: attention alone, eight examples an update.

./03-do_learn.py -d set1 -w mine --config configs/yes_no_12gb.py
./03-do_learn.py -d set1 -w mine --config configs/yes_no_12gb.py:examples=1024,method=lora
"""

import ml_collections

from palitune.run.recipe import parse_arg


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """Settings of learning. `arg` may name the examples of a pass and the method."""
    arg = parse_arg(arg, examples=512, method="attention")
    config = ml_collections.ConfigDict()
    config.method = arg.method
    config.examples = arg.examples
    config.batch_size = 2
    config.accumulate = 4  # as a batch of eight, in the memory of two
    config.clip_global = 1.0  # one odd example cannot move everything
    config.attempts = 3
    return config
