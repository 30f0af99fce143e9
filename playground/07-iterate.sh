#!/bin/sh
# Stage 7: learns, evaluates and chooses in a loop, and says whether it was worth it. --help lists the options.
command -v palitune >/dev/null || {
  echo "palitune is not installed here: . ../.venv/bin/activate (bin/demo.sh makes it)" >&2
  exit 78
}
exec palitune iterate "$@"
