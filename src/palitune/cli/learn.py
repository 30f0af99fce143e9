"""Stage 3: learning, judged before and after."""

import argparse
import sys
from typing import Any

from palitune.cli import arguments

DESCRIPTION = """\
Fine-tunes a model on dataset/SET/train.jsonl and judges it on train.jsonl and valid.jsonl before and after.

Learning is a lottery: a run can fail, so keep it short, look at the blocks it prints, and run it again with another
--seed, prompt or data. When the "trained" block of train.jsonl says accuracy 1.0, learning has converged; what the
model is worth is what the block of valid.jsonl says. A run whose loss runs away stops with exit code 79 and saves
nothing.
"""
EXAMPLES = """\
examples:
  ./03-do_learn.py -d set1 -w trained-set1        learn on set1, save checkpoints/trained-set1.npz
  ./03-do_learn.py -d set2 -w trained-set2 -2     and once more at a tenth of the learning rate
  ./03-do_learn.py -d set1 -m pt-224 --seed 7     from PaliGemma 3B, with another order of the examples
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("-d", "--data", default="set1", metavar="SET", help="a split in dataset/, or its folder (set1)")
    parser.add_argument("-w", "--write", metavar="NAME", help="save the result: a bare name goes into checkpoints/")
    parser.add_argument(
        "-2", "--second-pass", action="store_true", help="after the first pass, a second at a tenth of the rate"
    )
    parser.add_argument("-b", "--batch-size", type=arguments.positive_int, metavar="N", help="examples a step (2)")
    text = "the highest value of the learning rate, after warm-up (0.03)"
    parser.add_argument("-r", "--learning-rate", type=arguments.positive_float, metavar="R", help=text)
    text = "training examples shown in a pass; records come again as often as that takes (512)"
    parser.add_argument("--examples", type=arguments.positive_int, metavar="N", help=text)
    parser.add_argument("--seed", type=arguments.seed, help="another seed shows the examples in another order (0)")
    parser.add_argument("--overwrite", action="store_true", help="let -w replace a checkpoint")
    arguments.add_model(parser)
    arguments.add_records(parser)


def run(args: argparse.Namespace) -> None:
    from palitune import files
    from palitune.checkpoint import manifest, npz
    from palitune.cli import workspace
    from palitune.cli.judging import Judge, load_records
    from palitune.cli.model import announce, load
    from palitune.config import PROMPT
    from palitune.data.pictures import Pictures
    from palitune.errors import DivergedError, OutputExistsError, UsageError
    from palitune.judge.report import result_block

    target = workspace.checkpoint_to_write(args.write) if args.write is not None else None
    if target is not None and target.exists() and not args.overwrite:
        hint = "Use another name with -w, or --overwrite"
        raise OutputExistsError("this checkpoint exists", where=str(target), hint=hint)
    folder = workspace.data_set(args.data)
    source = workspace.checkpoint_to_read(args.model)
    config = configured(args, manifest.prompt(source, PROMPT))
    if config.examples < config.batch_size:
        raise UsageError(f"--examples {config.examples} is less than one batch of {config.batch_size}")
    model = load(source, args)
    pictures = Pictures(model.sizes.img.image_size)
    paths = [folder / part for part in workspace.PARTS]
    sets = [load_records(path, args, pictures) for path in paths]
    if target is not None:
        files.check_writable(target)
        files.check_writable(manifest.path_of(target))
    if not args.quiet:
        announce(model)
    judge = Judge(model, pictures, config.prompt, args.quiet)

    def judge_all(params: Any, label: str) -> None:
        for path, records in zip(paths, sets, strict=True):
            shown = str(path) if path.is_absolute() else f"./{path}"
            print(result_block(shown, judge(params, records).confusion, label), flush=True)

    judge_all(model.params, "zero trained")
    params = model.params
    for name, scale in (("1st", 1.0), ("2nd", config.second_pass_scale)):
        if name == "2nd" and not config.second_pass:
            break
        try:
            params = _pass(model, params, sets[0], pictures, config, name, scale * config.learning_rate, args.quiet)
        except DivergedError as error:
            kept = f"{target} has what the first pass learned" if target and name == "2nd" else "no model was saved"
            raise DivergedError(f"{error.what}; {kept}", hint=error.hint) from None
        # At once and after each pass, so that nothing that comes later can cost what was learned.
        if target is not None:
            npz.save(target, params)
            manifest.write(target, base=model.path.stem, config=config.to_dict(), data=str(folder))
        judge_all(params, f"{name} trained")
    if target is not None and not args.quiet:
        print(f"saved {target}", file=sys.stderr)


def configured(args: argparse.Namespace, prompt: str) -> Any:
    """The run's configuration: defaults, the prompt the model was made with, then what was typed."""
    from palitune.config import learning

    config = learning()
    config.prompt = prompt
    for name in config:
        if getattr(args, name, None) is not None:
            config[name] = getattr(args, name)
    return config


def _pass(
    model: Any, params: Any, records: Any, pictures: Any, config: Any, name: str, learning_rate: float, quiet: bool
) -> dict[str, Any]:
    """One pass with its lines on stdout and, on a terminal, a progress bar on stderr."""
    from tqdm import tqdm

    from palitune.train import loop

    steps = config.examples // config.batch_size
    feed = loop.training_batches(records, model.tokenizer, pictures, config, steps, name)
    silent = quiet or not sys.stderr.isatty()
    with tqdm(total=steps, desc=f"{name} training", unit="steps", leave=False, disable=silent) as bar:

        def progress(step: int, steps: int, rate: float, loss: float) -> None:
            bar.update()
            if loop.is_line_due(step, steps):
                with tqdm.external_write_mode():
                    print(loop.line(step, steps, rate, loss), flush=True)

        return loop.learn(
            model.sizes,
            params,
            feed,
            method=config.method,
            steps=steps,
            learning_rate=learning_rate,
            dtype=model.dtype,
            progress=progress,
        )
