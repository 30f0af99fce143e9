#!/bin/sh
# The checks of the project: format, lint, types and tests. Arguments go to pytest: bin/test.sh -k golden
# bin/test.sh --all: also the tests that take longer (the commands of README and docs, the wheel), the container image
# where this machine can build one, and --gpu-plan.
# bin/test.sh --gpu-plan: memory at real sizes, compiled for a described card in a second environment (.venv-cuda,
# 5.5 GB, with JAX's CUDA plugin); it needs no GPU.
# bin/test.sh --verify: palitune beside transformers and PEFT, in a third environment (.venv-verify, with torch: 1.5 GB where
# pip finds a build for CPUs, 6 GB else), which other tests do without. It writes tests/golden/verify.json.
# bin/test.sh --faults: the whole campaign of kills, full disks and signals, of which the tests run a small part.
set -eu
repository=$(CDPATH="" cd -- "$(dirname -- "$0")/.." && pwd)
. "$repository/bin/environment.sh"

part() { # NAME COMMAND...: says how long a part took
  name=$1
  shift
  began=$(date +%s)
  "$@"
  spent=$(($(date +%s) - began))
  printf '== %s: %d min %02d s\n' "$name" $((spent / 60)) $((spent % 60))
}

container() {
  if [ "$(id -u)" != 0 ]; then
    echo "the image was not built: tests/container.sh needs root"
  elif ! { command -v buildah && command -v debootstrap; } >/dev/null; then
    echo "the image was not built: tests/container.sh needs buildah and debootstrap, which are not installed here"
  else
    tests/container.sh
  fi
}

# In a process of its own: it has another environment. Whatever keeps it from running is an error.
gpu_plan() (
  make_environment "$repository" cuda12 "$repository/.venv-cuda"
  exec python tests/gpu_plan.py "$@"
)

# Side by side, because one waits for disk and network where the other compiles. What the container says comes in one
# piece, whether or not the other ends well.
container_and_gpu_plan() {
  said=$(mktemp)
  part container container >"$said" 2>&1 &
  beside=$!
  trap 'wait; cat "$said"; rm -f "$said"' EXIT
  part gpu-plan gpu_plan
  status=0
  wait "$beside" || status=$?
  trap - EXIT
  cat "$said"
  rm -f "$said"
  return "$status"
}

verification() (
  make_environment "$repository" dev,verify "$repository/.venv-verify"
  python -c 'import peft' 2>/dev/null || python -I -m pip install --quiet --disable-pip-version-check peft >&2
  exec pytest -n 0 tests/verify "$@"
)

checks() {
  ruff format --check .
  ruff check .
  mypy
}

cd "$repository"
if [ "${1:-}" = --gpu-plan ]; then
  shift
  gpu_plan "$@"
  exit
fi
if [ "${1:-}" = --verify ]; then
  shift
  verification "$@"
  exit
fi
part environment make_environment "$repository" dev
if [ "${1:-}" = --faults ]; then
  shift
  exec pytest tests/faults tests/test_example_files.py tests/test_splitter.py --faults -rP "$@"
fi
part "format, lint and types" checks
[ "${1:-}" != --all ] || container_and_gpu_plan
[ "${1:-}" != --all ] || set -- "$@" --durations=40 --durations-min=10 # where the time goes, before the last line
exec pytest "$@" # which knows --all too
