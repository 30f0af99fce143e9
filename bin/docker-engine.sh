# docker-build.sh and docker-run.sh source this file. It finds the program that runs containers, and passes paths and
# commands to it.
# shellcheck shell=sh

# shellcheck disable=SC2034 # the scripts that source this file use it
image=${PALITUNE_IMAGE:-palitune}

# Prints the comment at the beginning of a script, which is its help.
usage() {
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "$1"
  exit 0
}

# Sets $engine to docker where it is installed, else to podman.
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

# Prints a folder's name as the engine needs it: on Windows C:/Users/..., which MSYS2 and Git call /c/Users/...
host_path() {
  if [ -n "${MSYSTEM:-}" ]; then
    cygpath -m "$1"
  else
    printf '%s\n' "$1"
  fi
}

# Prints a command, quoted so that it could be typed.
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

# Runs a command, or prints it with --dry-run, and ends the script.
go() {
  if [ -n "$dry" ]; then
    quoted "$@"
    exit 0
  fi
  # Otherwise MSYS2 and Git's shell would convert paths inside the container to Windows paths.
  MSYS_NO_PATHCONV=1
  MSYS2_ARG_CONV_EXCL='*'
  export MSYS_NO_PATHCONV MSYS2_ARG_CONV_EXCL
  exec "$@"
}
