#!/bin/sh
# Every check of the project: format, lint, types, tests. Arguments go to pytest: bin/test.sh -k golden
set -eu
repository=$(cd "$(dirname "$0")/.." && pwd)
. "$repository/bin/environment.sh"
make_environment "$repository" dev
cd "$repository"
ruff format --check .
ruff check .
mypy
exec pytest "$@"
