#!/bin/sh
# The container's entry point. It makes a home folder that the current user can write to. This is not a folder of the
# host, where programs would read configuration files that others have put there. Then the command replaces this
# process, so that signals reach it.
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
