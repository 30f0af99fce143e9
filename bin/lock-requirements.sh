#!/bin/sh
# Writes requirements/*.txt from pyproject.toml: every package of the container image with its version and hashes, for
# Python 3.11 and newer on any platform. usage: bin/lock-requirements.sh [--upgrade]
set -eu
repository=$(CDPATH="" cd -- "$(dirname -- "$0")/.." && pwd)
cd "$repository"
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -I -m pip install --quiet --disable-pip-version-check --target "$tools" uv
for kind in cpu cuda12 cuda13 dev; do
  case $kind in
    cpu) extras= ;;
    *) extras="--extra $kind" ;;
  esac
  # shellcheck disable=SC2086 # two words
  "$tools/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
    --no-emit-index-url --custom-compile-command bin/lock-requirements.sh \
    --extra search --extra tensorboard $extras "$@" \
    --output-file "requirements/$kind.txt" pyproject.toml requirements/build.in
done
