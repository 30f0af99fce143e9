#!/bin/sh
# Stage 2: shuffles dataset/data.jsonl and splits it into dataset/NAME/{shuffle,train,valid}.jsonl. --help lists the options.
command -v palitune >/dev/null || {
  echo "palitune is not installed here: . ../.venv/bin/activate (bin/demo.sh makes it)" >&2
  exit 78
}
exec palitune split "$@"
