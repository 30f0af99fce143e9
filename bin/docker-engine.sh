# Sourced by docker-build.sh and docker-run.sh: which program runs containers, and how paths and commands reach it.
# shellcheck shell=sh

# shellcheck disable=SC2034 # the scripts use it
image=${PALITUNE_IMAGE:-palitune}

# The comment at the beginning of a script is its help.
usage() {
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "$1"
  exit 0
}

# Sets $engine: docker where it is, else podman.
find_engine() {
  engine=${PALITUNE_ENGINE:-}
  for known in docker podman; do
    if [ -z "$engine" ] && command -v "$known" >/dev/null; then
      engine=$known
    fi
  done
  if [ -z "$engine" ] || [ -d "$engine" ] || ! command -v "$engine" >/dev/null; then
    echo "${0##*/}: no ${engine:-docker or podman} here. Install one, or run without a container: bin/demo.sh" >&2
    exit 78
  fi
}

# A folder's name as the engine knows it: on Windows C:/Users/..., which MSYS2 and Git call /c/Users/...
host_path() {
  if [ -n "${MSYSTEM:-}" ]; then
    cygpath -m "$1"
  else
    printf '%s\n' "$1"
  fi
}

# A command as it could be typed.
quoted() {
  line=
  for word in "$@"; do
    case $word in
      '' | *[!A-Za-z0-9_./:=,@%+-]*) word="'$(printf '%s' "$word" | sed "s/'/'\\\\''/g")'" ;;
    esac
    line="$line$word "
  done
  printf '%s\n' "${line% }"
}

# Runs a command, or prints it with --dry-run; either is the end of the script.
go() {
  if [ -n "$dry" ]; then
    quoted "$@"
    exit 0
  fi
  # MSYS2 and Git's shell would make Windows paths of what are paths inside the container.
  MSYS_NO_PATHCONV=1
  MSYS2_ARG_CONV_EXCL='*'
  export MSYS_NO_PATHCONV MSYS2_ARG_CONV_EXCL
  exec "$@"
}
