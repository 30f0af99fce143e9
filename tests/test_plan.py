"""What a run needs: figures against arithmetic, XLA's count against the estimate, and refusals that help."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from conftest import REPOSITORY, Run

from palitune.config import run_config
from palitune.errors import ConfigurationError, MissingInputError
from palitune.method import METHODS
from palitune.models import families, spec
from palitune.models.parameter_shapes import SiglipSizes
from palitune.train import cards, floor, plan, step_memory
from palitune.train.step_shapes import Work

NONE = "\N{EN DASH}"  # in the table of docs/models.md


def work(method: str = "attention", batch: int = 8, family: str = "paligemma-3b") -> Work:
    sizes = families.published(family, 224)
    settings = run_config.training(method=method, batch_size=batch)
    stored = {p: jax.ShapeDtypeStruct(leaf.shape, jnp.float16) for p, leaf in spec.expected(sizes).items()}
    return Work(sizes, stored, settings, jnp.dtype(jnp.bfloat16), 21, 2, method != "full")


def test_weights_are_counted_exactly() -> None:
    count = 2_923_335_408  # parameters of PaliGemma 3B, from its model card: 2.92 billion
    assert sum(leaf.size for leaf in work().stored.values()) == pytest.approx(count, rel=2e-3)
    attention = 18 * (2 * 8 * 2048 * 256 + 2 * 2048 * 256)
    tower = sum(leaf.size for path, leaf in work().stored.items() if path.startswith("img/"))
    total = sum(leaf.size for leaf in work().stored.values())
    assert step_memory.estimate(work(), 0).weights == 2 * (total - tower - attention) + 4 * attention
    assert step_memory.estimate(work("full"), 0).weights == 2 * total
    rank = 16 * 18 * (4 * 2048 + 2 * 256 + 2 * 2048 + 3 * (2048 + 16_384) + 0)
    lora_bytes = step_memory.estimate(work("lora"), 0).weights - 2 * (total - tower)
    assert lora_bytes == pytest.approx(4 * rank, rel=0.01)


def test_operations_are_those_of_the_textbook() -> None:
    """Two for each weight and token forward, two for the gradient that passes, two for a weight that learns."""
    few, many = floor.flops(work("full", 4)), floor.flops(work("full", 8))
    assert many == pytest.approx(2 * few, rel=1e-6)
    layers = 17 * (2 * 2048 * 256 * 9 + 3 * 2048 * 16_384)
    assert floor.flops(work("full", 8)) > 6 * layers * 8 * 280
    assert floor.flops(work("full", 8)) < 6 * 2.92e9 * 8 * 280
    assert floor.flops(work("attention", 8)) == pytest.approx(4 * layers * 8 * 280, rel=0.1)
    card = cards.find("rtx4070-12gb")
    assert card.flops == pytest.approx(58.3e12, rel=0.01)
    assert floor.seconds(work("full", 8), card) == pytest.approx(many / card.flops)


def test_the_estimate_is_near_what_xla_counts() -> None:
    """On the device at hand, with sizes that make the terms of the estimate large; bench/README.md has the card's."""
    sizes = spec.ModelSpec(
        SiglipSizes(64, 2, 128, 2, 14, 224, 128),
        spec.GemmaSpec(128, 6, 2048, 4, 1, 32, 512),
    )
    settings = run_config.training(batch_size=8)
    stored = {p: jax.ShapeDtypeStruct(leaf.shape, jnp.float32) for p, leaf in spec.expected(sizes).items()}
    each = Work(sizes, stored, settings, jnp.dtype(jnp.float32), 21, 2, True)
    counted, estimated = plan.compiled(each, 0).memory, step_memory.estimate(each, 0)
    assert (counted.weights, counted.optimizer) == (estimated.weights, estimated.optimizer)
    assert estimated.temporaries == pytest.approx(counted.temporaries, rel=0.35)
    kept = plan.compiled(each, 5).memory
    assert kept.temporaries > counted.temporaries
    assert step_memory.estimate(each, 5).temporaries - estimated.temporaries == 5 * 2 * 8 * 280 * 2048 * 4


def test_what_cannot_fit_is_refused_with_the_setting_to_change() -> None:
    with pytest.raises(ConfigurationError, match=r"needs 20.0 GB and 8.0 GB are free") as refused:
        raise plan.refusal(work(batch=64), 20 * 10**9, 8 * 10**9)
    size = int(str(refused.value.hint).split("--batch-size ")[1].split()[0])
    assert step_memory.estimate(work(batch=size), 0).peak <= 8e9 * plan.SAFETY
    assert step_memory.estimate(work(batch=size + 1), 0).peak > 8e9 * plan.SAFETY
    assert "--method attention or lora" in str(plan.refusal(work("full"), 7 * 10**9, 6 * 10**9).hint)
    assert "Use --method qlora" in str(plan.refusal(work("lora"), 7 * 10**9, 4 * 10**9).hint)
    assert "Lower --lora-rank" in str(plan.refusal(work("qlora"), 7 * 10**9, 2 * 10**9).hint)


def test_learn_refuses_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = spec.ModelSpec(SiglipSizes(16, 1, 16, 2, 14, 28, 16), spec.GemmaSpec(16, 2, 64, 2, 1, 8, 64))
    stored = {p: jax.ShapeDtypeStruct(leaf.shape, jnp.float32) for p, leaf in spec.expected(sizes).items()}
    each = Work(sizes, stored, run_config.training(), jnp.dtype(jnp.float32), 5, 2, True)
    assert plan.prepare(each).step.programs
    monkeypatch.setattr(plan, "device_memory", lambda: 20_000)
    with pytest.raises(ConfigurationError, match="this run needs"):
        plan.prepare(each)


def test_cards(tmp_path: Path) -> None:
    described = {
        "name": "mine",
        "compute_capability": "8.9",
        "multiprocessors": 46,
        "memory": 8 * 2**30,
        "bandwidth": 5 * 10**11,
        "l2": 1 << 20,
        "clock": 2.0,
        "shared_memory": 102_400,
        "flops_per_clock": 512,
    }
    path = tmp_path / "card.json"
    path.write_text(json.dumps(described))
    assert cards.find(str(path)).memory == 8 * 2**30
    assert cards.find("rtx4070-12gb").memory == 12_878_086_144
    for broken in ({**described, "memory": -1}, {**described, "compute_capability": "x"}, {"name": "mine"}, []):
        path.write_text(json.dumps(broken))
        with pytest.raises(ConfigurationError, match="not a card"):
            cards.find(str(path))
    with pytest.raises(MissingInputError, match=r"no card rtx9999.*rtx4070-12gb"):
        cards.find("rtx9999")


def test_names_of_models(run: Run, tmp_path: Path) -> None:
    short = ("palitune", "plan", "--estimate", "--batches", "1", "--method", "lora", "--json")
    for name, variant in (("google/gemma-3-4b-it", "gemma3-4b"), ("pt-448", "paligemma-3b-448")):
        done = run(*short, "--variant", name, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == json.loads(run(*short, "--variant", variant, cwd=tmp_path).stdout)
    by_names = [run(*short, option, "tiny3", cwd=tmp_path).stdout for option in ("-m", "--model", "--checkpoint")]
    assert len(set(by_names)) == 1
    assert json.loads(by_names[0])["rows"][0]["peak"]
    text = run("palitune", "plan", "--help", cwd=tmp_path).stdout
    assert all(card in text for card in cards.CARDS)


def test_the_documented_table() -> None:
    """What docs/models.md says of a 12 GB card, beside the estimate, which is near what was compiled for the table."""
    card = cards.find("rtx4070-12gb")
    limit = (card.memory - cards.RESERVED) * plan.SAFETY
    page = (REPOSITORY / "docs" / "models.md").read_text("utf-8")
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| ") and "google/" in line]
    seen = set()
    for row in rows:
        first, *others = re.findall("`([^`]+)`", row[0])
        names = [first, *(first.rpartition("-")[0] + other for other in others)]
        for method, cell in zip(METHODS, row[4:], strict=True):
            sizes = [part.strip() for part in cell.split("/")]
            for name, size in zip(names, sizes if len(sizes) > 1 else sizes * len(names), strict=True):
                peak = step_memory.estimate(published(name, method, 1 if size == NONE else int(size)), 0).peak
                assert peak > 0.9 * limit if size == NONE else peak <= 1.1 * limit, (name, method, size, peak / limit)
                seen.add(name)
    assert sorted(seen) == sorted(families.variants())


def published(name: str, method: str, batch: int) -> Work:
    """As bench/fits.py asks."""
    sizes = families.variant(name)
    assert sizes is not None, name
    stored = {p: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16) for p, leaf in spec.expected(sizes).items()}
    features = sizes.img is not None and not METHODS[method].trains_image_encoder
    settings = run_config.training(method=method, batch_size=batch)
    return Work(sizes, stored, settings, jnp.dtype(jnp.bfloat16), 21, 2, features)


def test_the_command(run: Run, tmp_path: Path) -> None:
    done = run("palitune", "plan", "--estimate", "--batches", "1,8", "--vram", "7.2", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    rows = {(row["method"], row["batch"]): row for row in content["rows"]}
    assert set(rows) == {(method, size) for method in METHODS for size in (1, 8)}
    row = rows["attention", 8]
    assert row["peak"] == row["weights"] + row["optimizer"] + row["activations"]
    assert row["fits"]
    assert not rows["full", 8]["fits"]
    for (method, size), row in rows.items():
        assert row["fits"] == (size <= content["largest_batch"][method])
    assert content["estimated"]
    assert content["largest_batch"]["full"] == 0
    table = run("palitune", "plan", "--estimate", "--batches", "8", "--method", "lora", cwd=tmp_path).stdout
    assert "largest batch that fits, lora: " in table
    assert "estimated from sizes" in table
    for arguments, message in (
        (["--variant", "pali-3b"], "called 'pali-3b'. Did you mean paligemma-3b-224 or paligemma-3b-448 or"),
        (["--variant", "gemma-3-4b"], "called 'gemma-3-4b'. Did you mean gemma3-4b?"),
        (["--variant", "qwerty"], "called 'qwerty'. docs/models.md has their names"),
        (["--variant", "gemma3-1b", "-m", "tiny"], "not allowed with argument"),
        (["--card", "none"], "no card none"),
        (["--batches", "0"], "0 is not at least 1"),
    ):
        failed = run("palitune", "plan", *arguments, cwd=tmp_path)
        assert failed.returncode in (2, 66)
        assert message in failed.stderr
        assert len(failed.stderr.splitlines()) == 1


def test_an_ensemble_takes_its_members_beside_one_base(run: Run, tmp_path: Path) -> None:
    found = {}
    for members in (1, 4):
        options = ("--method", "attention", "--batches", "1", "--estimate", "--json", "--ensemble", str(members))
        done = run("palitune", "plan", "--variant", "paligemma-3b-224", *options, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (found[members],) = json.loads(done.stdout)["ensembles"]
    own = 18 * (2048 * 2048 * 2 + 2 * 2048 * 256) * 2  # bytes of a member's attention in 16 bit
    assert found[4]["weights"] - found[1]["weights"] == 3 * own
    assert found[4]["activations"] > 3 * found[1]["activations"]
