#!/bin/sh
# What a container begins with: a home that can be written to, whoever runs it, and then the command in this process's
# place, so that signals reach it.
set -eu
if [ ! -w "${HOME:-/}" ]; then
  HOME=$(mktemp -d)
  export HOME
fi
USER=${USER:-palitune}
export USER
exec "$@"
