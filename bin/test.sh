#!/bin/sh
# Every check of the project: format, lint, types, tests. Arguments go to pytest: bin/test.sh -k golden
# bin/test.sh --gpu-plan: memory at real sizes, compiled for a described card in a second environment (.venv-cuda,
# 5.5 GB, with JAX's CUDA plugin); it needs no GPU.
# bin/test.sh --faults: the whole campaign of kills, full disks and signals, of which the tests run a small part.
set -eu
repository=$(CDPATH="" cd -- "$(dirname -- "$0")/.." && pwd)
. "$repository/bin/environment.sh"
if [ "${1:-}" = --gpu-plan ]; then
  shift
  make_environment "$repository" cuda12 "$repository/.venv-cuda"
  cd "$repository"
  exec python tests/gpu_plan.py "$@"
fi
make_environment "$repository" dev
cd "$repository"
if [ "${1:-}" = --faults ]; then
  shift
  exec pytest tests/faults tests/test_records.py tests/test_split.py --faults -rP "$@"
fi
ruff format --check .
ruff check .
mypy
exec pytest "$@"
