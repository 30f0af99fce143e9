"""Several devices compute what one does, and no more of a model is ever in one place than a layer."""

import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest
from conftest import REPOSITORY, golden_model
from jax.sharding import PartitionSpec as P

from palitune import parallel
from palitune.errors import ConfigurationError
from palitune.train import communication

DEVICES = 8
TOLERANCE = 1e-5
# Of a process of its own: how many devices a CPU is, JAX wants to know before it starts.
SCRIPT = """
import os, sys
os.environ.update(JAX_NUM_CPU_DEVICES="8", JAX_PLATFORMS="cpu")
sys.path.insert(0, {folder!r})
from palitune import jax_environment
jax_environment.clean()
import spread_run
spread_run.main(sys.argv[1:])
"""


def run_spread(*arguments: str) -> str:
    """What `spread_run` prints."""
    script = SCRIPT.format(folder=str(REPOSITORY / "tests"))
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Devices:
    """As many places of a mesh as a test wants; nothing runs on them."""

    def __init__(self, fsdp: int, data: int = 1) -> None:
        self.placement = parallel.Placement(jax.devices() * 1, 1)
        self.placement.fsdp, self.placement.data, self.placement.count = fsdp, data, fsdp * data

    def spec(self, path: str, *shape: int) -> P:
        return self.placement.spec(path, shape)


def test_large_parameters_are_split_and_never_by_layers() -> None:
    devices = Devices(8)
    assert devices.spec("llm/layers/mlp/gating_einsum", 18, 2, 2048, 16384) == P(None, None, "fsdp")
    assert devices.spec("llm/layers/attn/kv_einsum/w", 18, 2, 1, 2048, 256) == P(None, None, None, "fsdp")
    assert devices.spec("llm/layers/attn/q_einsum/w_lora_a", 8, 2048, 16) == P(None, "fsdp")
    assert devices.spec("llm/embedder/input_embedding", 257_152, 2048) == P("fsdp")
    assert devices.spec("img/Transformer/encoderblock/MlpBlock_0/Dense_0/kernel", 27, 1152, 4304) == P(None, "fsdp")
    assert devices.spec("llm/layers/attn/q_einsum/w", 18, 8, 2048, 256) == P(None, "fsdp")
    # More matrices than are gathered one by one: its largest axis.
    assert devices.spec("llm/layers/attn/q_einsum/w", 18, 9, 256, 2048) == P(None, None, None, "fsdp")
    # Codes of 4 bits and their scales are split by blocks.
    assert devices.spec("llm/layers/mlp/linear_nf4", 18, 524_288, 32) == P(None, "fsdp")
    assert devices.spec("llm/layers/mlp/linear_nf4_low", 18, 2048) == P(None, "fsdp")
    assert devices.spec("llm/embedder/input_embedding_int8_scale", 257_152) == P("fsdp")
    # 8 layers could be divided; what is left of a shape cannot.
    assert devices.spec("llm/layers/attn/q_einsum/w", 8, 3, 5, 7) == P()
    for path in ("llm/layers/attn/q_einsum/w_lora_alpha", "llm/final_norm/scale", "img/head/bias"):
        assert devices.spec(path, 1024) == P()


def test_every_parameter_of_every_golden_model_has_a_rule() -> None:
    for name in ("paligemma1_mqa", "paligemma2_gqa_softcap", "gemma7b_mha"):
        for path, leaf in golden_model(name).params.items():
            Devices(2).spec(path, *leaf.shape)
    with pytest.raises(ConfigurationError, match="no rule covers"):
        Devices(2).spec("llm/layer/w", 2, 2)


def test_devices_that_cannot_be_divided_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="1 devices cannot hold 2 copies"):
        parallel.Placement(jax.devices()[:1], 2)


@pytest.mark.parametrize("method", ["attention", "full", "lora"])
def test_losses_are_those_of_one_device(method: str) -> None:
    """Of 20 steps, on 2, 4 and 8 devices, with one copy of the model and with two."""
    lines = [line.split() for line in run_spread("losses", method, "20").splitlines()]
    found: dict[str, Any] = {name: np.array(values, float) for name, *values in lines}
    assert set(found) == {"1x1", "1x2", "1x4", "1x8", "2x4"}
    one = found.pop("1x1")
    assert len(one) == 20
    assert one[-1] < one[0]
    for name, losses in found.items():
        np.testing.assert_allclose(losses, one, rtol=0, atol=TOLERANCE, err_msg=name)


def test_no_stack_is_gathered() -> None:
    """The largest array that comes of a gathering is one tensor of one layer, or smaller; no table is among them."""
    for line in run_spread("gathered").splitlines():
        method, largest, layer, _table = line.split()
        assert 0 < int(largest) <= int(layer), method


PROGRAM = """
%body.1 (p: (s32[], f32[4,2])) -> (s32[], f32[4,2]) {
  %all-gather-start = (bf16[2,4]{1,0}, bf16[16,4]{1,0}) all-gather-start(%x), replica_groups=[1,8]<=[8], dimensions={0}
  %all-gather-done = bf16[16,4]{1,0} all-gather-done(%all-gather-start)
  ROOT %t = (s32[], f32[4,2]) tuple(%i, %y)
}

%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %s = f32[] add(%a, %b)
}

ENTRY %main (p0: f32[4,2]) -> f32[4,2] {
  %while = (s32[], f32[4,2]) while(%t0), condition=%c, body=%body.1, backend_config={"known_trip_count":{"n":"17"}}
  %all-reduce = f32[10]{0} all-reduce(%z), replica_groups={{0,1,2,3}}, to_apply=%add
  %rs = ((f32[8,3]{1,0}), f32[1,3]{1,0}) reduce-scatter-start(%g), replica_groups=mesh['axis_0'=8,'axis_1'=1] {'axis_0'}
  %ag = pred[8]{0} all-gather(%b), replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_1'}, dimensions={0}
}
"""


def test_what_a_loop_sends_counts_as_often_as_it_goes_round() -> None:
    assert communication.sent(PROGRAM) == {
        "all-gather": 17 * (2 * 16 * 4 * 7 // 8) + 8 * 3 // 4,
        "all-reduce": 2 * 40 * 3 // 4,
        "reduce-scatter": 4 * 3 * 7,
    }


def test_a_step_gathers_what_it_has_to() -> None:
    """Of a compiled step: its gatherings are those of the layers, forward and back, beside which all else is small."""
    (line,) = run_spread("sent").splitlines()
    gathered, least = map(int, line.split())
    assert 0.6 * least < gathered < 1.1 * least
