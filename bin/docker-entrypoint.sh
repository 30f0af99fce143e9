#!/bin/sh
# What a container begins with: a home that can be written to, whoever runs it, and that is no folder of the host, in
# which programs would find what others have put there; and then the command in this process's place, so that signals
# reach it.
set -eu
if [ "${HOME:-}" = /tmp/home ]; then
  mkdir -m 700 /tmp/home 2>/dev/null || :
fi
if [ ! -w "${HOME:-/}" ]; then
  HOME=$(mktemp -d)
  export HOME
fi
USER=${USER:-palitune}
export USER
exec "$@"
