#!/bin/sh
# Stage 2: shuffle dataset/data.jsonl and part it into dataset/NAME/{shuffle,train,valid}.jsonl. --help tells more.
command -v palitune >/dev/null || {
  echo "palitune is not installed here: . ../.venv/bin/activate (bin/demo.sh makes it)" >&2
  exit 78
}
exec palitune split "$@"
