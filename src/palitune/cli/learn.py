"""Stage 3: learning, judged before and after."""

import argparse
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from palitune.cli import arguments

DESCRIPTION = """\
Fine-tunes a model on dataset/SET/train.jsonl and judges it on train.jsonl and valid.jsonl before and after.

Learning is a lottery: a run can fail, so keep it short, look at the blocks it prints, and run it again with another
--seed, prompt or data. When the "trained" block of train.jsonl says accuracy 1.0, learning has converged; what the
model is worth is what the block of valid.jsonl says. A run whose loss runs away stops with exit code 79 and saves
nothing. A run that cannot fit into memory is refused before it starts (`palitune plan` shows what fits).
"""
EXAMPLES = """\
examples:
  ./03-do_learn.py -d set1 -w trained-set1        learn on set1, save checkpoints/trained-set1.npz
  ./03-do_learn.py -d set2 -w trained-set2 -2     and once more at a tenth of the learning rate
  ./03-do_learn.py -d set1 -m pt-224 --seed 7     from PaliGemma 3B, with another order of the examples
  ./03-do_learn.py -d set1 --method lora -b 8     adapters beside frozen weights
  ./03-do_learn.py -d set1 --method full --learning-rate-scale 'img/.*=0.1'
                                                  every parameter, the image tower at a tenth of the rate

NAME.npz holds what was learned and NAME.json which base it belongs to; `palitune merge` makes one whole file of both.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.add_argument("-d", "--data", default="set1", metavar="SET", help="a split in dataset/, or its folder (set1)")
    parser.add_argument("-w", "--write", metavar="NAME", help="save the result: a bare name goes into checkpoints/")
    parser.add_argument(
        "-2", "--second-pass", action="store_true", help="after the first pass, a second at a tenth of the rate"
    )
    text = "training examples shown in a pass; records come again as often as that takes (512)"
    parser.add_argument("--examples", type=arguments.positive_int, metavar="N", help=text)
    parser.add_argument("--seed", type=arguments.seed, help="another seed shows the examples in another order (0)")
    parser.add_argument("--overwrite", action="store_true", help="let -w replace a checkpoint")
    arguments.add_method(parser)
    arguments.add_model(parser)
    arguments.add_records(parser)


def run(args: argparse.Namespace) -> None:
    from palitune import files
    from palitune.checkpoint import manifest
    from palitune.cli import workspace
    from palitune.cli.judging import Judge, check_pictures, load_records
    from palitune.cli.model import announce, files_of, load, pictures, shown_params
    from palitune.config import PROMPT
    from palitune.errors import DivergedError, UsageError
    from palitune.judge.report import result_block

    target = workspace.checkpoint_to_write(args.write) if args.write is not None else None
    if target is not None:
        workspace.check_free(target, args.overwrite)
    folder = workspace.data_set(args.data)
    source = workspace.checkpoint_to_read(args.model)
    config = arguments.configured(args, manifest.prompt(source, PROMPT))
    if config.examples < config.batch_size * config.accumulate:
        one = f"one batch of {config.batch_size}" + (f" x {config.accumulate}" if config.accumulate > 1 else "")
        raise UsageError(f"--examples {config.examples} is less than {one}")
    model = load(source, args)
    if target is not None and target.resolve() in files_of(model.checkpoint):
        raise UsageError(f"-w {args.write} would replace the model that it learns from")
    _go_on_with_adapters(model.checkpoint, args, config)
    # A tower that learns needs pixels, and has no tokens that stay.
    args.features = args.features and config.method != "full"
    shown = pictures(model, args)
    paths = [folder / part for part in workspace.PARTS]
    sets = [load_records(path, args) for path in paths]
    if target is not None:
        files.check_writable(target)
        files.check_writable(manifest.path_of(target))
    run = Run(model, shown, sets[0], config, args.quiet)
    check_pictures(sets, shown)
    if not args.quiet:
        announce(model)
    judge = Judge(model, shown, config.prompt, args.quiet)

    def judge_all(params: Any, label: str) -> None:
        for path, records in zip(paths, sets, strict=True):
            shown = str(path) if path.is_absolute() else f"./{path}"
            print(result_block(shown, judge(params, records).confusion, label), flush=True)

    params = shown_params(model, shown)
    judge_all(params, "zero trained")
    run.add_adapters(params)
    for name, scale in (("1st", 1.0), ("2nd", config.second_pass_scale)):
        if name == "2nd" and not config.second_pass:
            break
        try:
            params = run(params, name, scale * config.learning_rate)
        except DivergedError as error:
            kept = f"{target} has what the first pass learned" if target and name == "2nd" else "no model was saved"
            raise DivergedError(f"{error.what}; {kept}", hint=error.hint) from None
        # At once and after each pass, so that nothing that comes later can cost what was learned.
        if target is not None:
            run.save(target, params, str(folder))
        judge_all(params, f"{name} trained")
    if target is not None and not args.quiet:
        print(f"saved {target}", file=sys.stderr)


def _go_on_with_adapters(checkpoint: Mapping[str, Any], args: argparse.Namespace, config: Any) -> None:
    """Makes the configuration say what the adapters are, where the checkpoint has some.

    Raises:
      UsageError: others were asked for.
    """
    from palitune.errors import UsageError
    from palitune.models import lora

    if config.method != "lora" or not (adapted := lora.adapted(checkpoint)):
        return
    if typed := [name for name in ("lora_rank", "lora_alpha", "lora_targets") if getattr(args, name) is not None]:
        option = f"--{typed[0].replace('_', '-')}"
        hint = "Leave it out to go on with them, or merge them into the weights first: palitune merge"
        raise UsageError(f"{option} is for new adapters, and this model has some already", hint=hint)
    config.lora_rank = int(checkpoint[adapted[0] + lora.A].shape[-1])
    config.lora_alpha = float(checkpoint[adapted[0] + lora.ALPHA][0])


class Run:
    """Passes of learning on one set of records, checked against the device's memory before the first."""

    def __init__(self, model: Any, shown: Any, records: Any, config: Any, quiet: bool) -> None:
        from palitune.data import batches
        from palitune.infer.features import Features
        from palitune.train import loop, plan

        self.model, self.shown, self.records, self.config, self.quiet = model, shown, records, config, quiet
        self.texts = loop.examples_of(records, model.tokenizer, config.prompt)
        stored = {path: model.checkpoint[path] for path in model.checkpoint}
        length, answer = batches.longest(self.texts)
        work = plan.Work(model.sizes, stored, config, model.dtype, length, answer, isinstance(shown, Features))
        arguments.check_rules(config, list(plan.parameters(work)[0]))
        self.prepared = plan.prepare(work)

    def add_adapters(self, params: MutableMapping[str, Any]) -> None:
        """Puts new adapters beside the weights of `params`, if the method wants some and there are none yet."""
        import jax

        from palitune.models import lora

        c = self.config
        if c.method == "lora" and not lora.adapted(params):
            key = jax.random.key(c.seed)
            params.update(lora.init(params, c.lora_targets, c.lora_rank, c.lora_alpha, key))

    def __call__(self, params: MutableMapping[str, Any], name: str, learning_rate: float) -> dict[str, Any]:
        """One pass with its lines on stdout and, on a terminal, a progress bar on stderr; takes `params` over."""
        from tqdm import tqdm

        from palitune.train import loop

        steps = loop.steps_of(self.config)
        transform, options, update = self.prepared.transform, self.prepared.options, self.prepared.step
        feed = loop.training_batches(self.records, self.texts, self.shown, self.config, name)
        silent = self.quiet or not sys.stderr.isatty()
        with tqdm(total=steps, desc=f"{name} training", unit="steps", leave=False, disable=silent) as bar:

            def progress(step: int, steps: int, rate: float, loss: float) -> None:
                bar.update()
                if loop.is_line_due(step, steps):
                    with tqdm.external_write_mode():
                        print(loop.line(step, steps, rate, loss), flush=True)

            learned = loop.learn(
                params,
                feed,
                update,
                transform,
                options,
                config=self.config,
                learning_rate=learning_rate,
                weights_dtype=self.prepared.weights_dtype,
                progress=progress,
            )
        return self.rounded(learned)

    def rounded(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters as they are saved, so that what is judged is what is saved."""
        from palitune.checkpoint import delta
        from palitune.train.loop import is_finite
        from palitune.train.optimizers import TRAINABLE

        result = dict(params)
        for path in params:
            if TRAINABLE[self.config.method](path):
                dtype = delta.stored_dtype(self.model.checkpoint, path, params[path].dtype)
                smaller = result[path].astype(dtype)
                if is_finite(smaller):  # float16 ends at 65,504
                    result[path] = smaller
        return result

    def save(self, target: Path, params: Mapping[str, Any], data: str) -> None:
        """Writes what differs from the base, and the manifest."""
        from palitune.checkpoint import delta, manifest, npz
        from palitune.models import lora
        from palitune.train.optimizers import TRAINABLE

        kept = set(delta.inherited(self.model.checkpoint))
        learned = [path for path in params if TRAINABLE[self.config.method](path) or lora.is_adapter(path)]
        changed: dict[str, Any] = {path: self.model.checkpoint[path] for path in kept}
        changed |= {path: params[path] for path in learned}
        changed = dict(sorted(changed.items()))
        npz.save(target, changed)
        manifest.write(
            target,
            base=delta.describe(self.model.checkpoint, self.model.path.stem),
            dtypes={path: array.dtype for path, array in changed.items()},
            config=self.config.to_dict(),
            data=data,
        )
