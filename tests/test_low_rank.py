"""Changed weights as adapters: the closest of a rank, exact where the change has no larger one, and what is refused."""

import hf_golden
import numpy as np
import pytest
from hf_golden import WHOLE

from palitune.checkpoint import low_rank, opening, peft_modules, peft_writer
from palitune.checkpoint.delta import Overlay
from palitune.errors import BadDataError, ConfigurationError
from palitune.models import lora

Arrays = dict[str, np.ndarray]


def changed(base: Arrays, rank: int | None, dtype: str = "float32") -> Arrays:
    """Attention weights, all layers of which have learned something, of a rank or of any."""
    rng = np.random.default_rng(0)
    found = {}
    for path in [path for path in base if "/attn/" in path and lora.can_adapt(path)]:
        change = rng.normal(size=base[path].shape).astype(np.float32) * 0.01
        if rank:
            sizes = lora.shapes(path, base[path].shape, rank).items()
            parts = {name: rng.normal(size=size).astype(np.float32) for name, size in sizes}
            alpha = np.full(len(base[path]), 0.05, np.float32)
            made = lora.merged(path, np.zeros_like(base[path]), parts[path + lora.A], parts[path + lora.B], alpha)
            change = np.asarray(made)
        found[path] = (base[path] + change).astype(dtype)
    return found


def with_adapters(base: Arrays, path: str, adapters: Arrays) -> np.ndarray:
    return np.asarray(lora.merged(path, base[path], *(adapters[path + part] for part in (lora.A, lora.B, lora.ALPHA))))


@pytest.mark.parametrize("name", WHOLE)
def test_a_change_of_low_rank_is_exact(name: str) -> None:
    golden = hf_golden.load(name)
    learned = changed(golden.params, 3)
    adapters, errors = low_rank.factors(golden.spec, golden.params, learned, 4)
    assert set(lora.adapted(adapters)) == set(learned)
    assert errors.frobenius < 1e-6
    assert errors.largest < 1e-6
    assert errors.of_change < 1e-4
    for path, weight in learned.items():
        np.testing.assert_allclose(with_adapters(golden.params, path, adapters), weight, rtol=0, atol=1e-6)


def test_the_errors_are_those_of_the_adapters() -> None:
    """Of the best there is of this rank, by NumPy's singular values, and of the worst linear layer."""
    golden = hf_golden.load("gemma3_text")
    learned = changed(golden.params, None)
    adapters, errors = low_rank.factors(golden.spec, golden.params, learned, 5)
    frobenius, largest = {}, []
    for name, module in peft_modules.modules(golden.spec).items():
        if module.path not in learned:
            continue
        shape = (module.inputs, module.outputs) if name.endswith("o_proj") else (-1, *learned[module.path].shape[-2:])
        both = with_adapters(golden.params, module.path, adapters)
        three = (learned[module.path], golden.params[module.path], both)
        after, before, made = (array[module.place].reshape(shape) for array in three)
        change = after - before
        if not name.endswith("o_proj"):  # [heads, inputs, width of a head]
            change = change.swapaxes(0, 1).reshape(module.inputs, module.outputs)
        left = np.linalg.svd(change, compute_uv=False)[5:]
        frobenius[name] = np.linalg.norm(left) / np.linalg.norm(after)
        assert np.linalg.norm(after - made) == pytest.approx(np.linalg.norm(left), rel=1e-4)
        largest.append(np.abs(after - made).max() / np.abs(after).max())
    assert errors.worst == max(frobenius, key=frobenius.__getitem__)
    assert errors.frobenius == pytest.approx(max(frobenius.values()), rel=1e-4)
    assert errors.largest == pytest.approx(max(largest), rel=1e-3)
    assert errors.frobenius < errors.of_change < 1
    whole = low_rank.factors(golden.spec, golden.params, learned, 64).errors
    assert whole.frobenius < 1e-6 < errors.frobenius


def test_a_rank_above_the_sizes_is_filled_with_zeros() -> None:
    golden = hf_golden.load("paligemma1")  # its keys have 16 outputs
    adapters, _ = low_rank.factors(golden.spec, golden.params, changed(golden.params, 2), 24)
    a = adapters[f"llm/layers/attn/kv_einsum/w{lora.A}"]
    assert a.shape[-1] == 24
    assert a[..., :2].any()
    assert not a[..., 16:].any()


def test_what_comes_of_it_goes_out_and_in(tmp_path_factory: pytest.TempPathFactory) -> None:
    golden, folder = hf_golden.load("gemma3_vision"), tmp_path_factory.mktemp("adapter")
    adapters, _ = low_rank.factors(golden.spec, golden.params, changed(golden.params, 2, "float16"), 3)
    peft_writer.write(folder, golden.spec, adapters, "gemma3_vision")
    opened = opening.load(folder, lambda name: hf_golden.FOLDER / name)
    assert isinstance(opened, Overlay)
    assert all(opened.changed[path].tobytes() == array.tobytes() for path, array in adapters.items())


def test_what_adapters_cannot_say_is_named() -> None:
    golden = hf_golden.load("gemma1_text")
    base, same = golden.params, "llm/embedder/input_embedding"
    learned = {**changed(base, 2), same: base[same].copy()}
    assert low_rank.factors(golden.spec, base, learned, 2).errors.frobenius < 1e-6  # which has not changed
    for path in (same, "llm/final_norm/scale", "llm/layers/pre_attention_norm/scale"):
        with pytest.raises(ConfigurationError, match=f"adapters cannot say what has changed in {path}"):
            low_rank.factors(golden.spec, base, {**learned, path: base[path] + 1}, 2)
    with pytest.raises(ConfigurationError, match="adapters cannot say what has changed in llm/new"):
        low_rank.factors(golden.spec, base, {**learned, "llm/new": base[same]}, 2)
    with pytest.raises(ConfigurationError, match="nothing has changed that adapters could say"):
        low_rank.factors(golden.spec, base, {same: base[same]}, 2)
    path = "llm/layers/attn/q_einsum/w"
    with pytest.raises(BadDataError, match=f"{path} has values that are not finite"):
        low_rank.factors(golden.spec, base, {path: np.full_like(base[path], np.nan)}, 2)


def test_nothing_changed_is_an_adapter_of_zeros() -> None:
    golden = hf_golden.load("gemma1_text")
    path = "llm/layers/attn/q_einsum/w"
    adapters, errors = low_rank.factors(golden.spec, golden.params, {path: golden.params[path]}, 2)
    assert not adapters[path + lora.A].any()
    assert not adapters[path + lora.B].any()
    assert errors[:3] == (0, 0, 0)
