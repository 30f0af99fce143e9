#!/bin/sh
# Runs a command in the container, inside playground/: bin/docker-run.sh [--cpu] [--dry-run] COMMAND ...
#   bin/docker-run.sh ../bin/demo.sh
#   bin/docker-run.sh ./03-do_learn.py -d set1
#   bin/docker-run.sh                            a shell
#   --cpu        run without the graphics card
#   --dry-run    print the command instead of running it
# Files belong to you, not to root. playground/, checkpoints/ and cache/ are those of the repository; the rest of the
# container is read-only. Kaggle's credentials are read from ~/.kaggle (or KAGGLE_CONFIG_DIR) and from KAGGLE_* variables,
# Hugging Face's token from HF_TOKEN; HF_ENDPOINT and HF_HUB_OFFLINE are passed to the container too.
# XLA_*, JAX_*, CUDA_*, NVIDIA_*, TF_GPU_ALLOCATOR, HTTP(S)_PROXY and NO_COLOR are passed to the container.
# PALITUNE_IMAGE sets the image's name (palitune), PALITUNE_ENGINE the program (docker, else podman), PALITUNE_SHM the
# size of /dev/shm (1g), PALITUNE_GRACE the seconds that a stopped command has to save its state (300).
set -eu
repository=$(CDPATH="" cd -- "$(dirname -- "$0")/.." && pwd)
. "$repository/bin/docker-engine.sh"
dry=
gpu=yes
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage "$0" ;;
    --cpu) gpu= ;;
    --dry-run) dry=yes ;;
    --) shift && break ;;
    -*)
      echo "docker-run.sh: unknown option $1. See bin/docker-run.sh --help" >&2
      exit 2
      ;;
    *) break ;;
  esac
  shift
done
find_engine
podman=
case $("$engine" --version 2>/dev/null) in podman*) podman=yes ;; esac
[ $# -gt 0 ] || set -- bash

# From here on, options are added at the beginning of "$@"; the image and the command stay at its end.
set -- "$image" "$@"

pass_through() {
  # Only the names are passed: the engine takes the values from its environment, so no secret is on a command line.
  env | sed -n 's/^\(\(XLA_\|JAX_\|CUDA_\|NVIDIA_\|KAGGLE_\)[A-Z0-9_]*\|HF_TOKEN\|HF_ENDPOINT\|HF_HUB_OFFLINE\|TF_GPU_ALLOCATOR\|NO_COLOR\|[Hh][Tt][Tt][Pp][Ss]\{0,1\}_[Pp][Rr][Oo][Xx][Yy]\|[Nn][Oo]_[Pp][Rr][Oo][Xx][Yy]\)=.*/\1/p' |
    grep -v '^KAGGLE_CONFIG_DIR$' | sort -u
}
for name in $(pass_through); do
  set -- --env "$name" "$@"
done

# bind FOLDER TARGET [,readonly]: sets $mount. It is for --mount, because -v would create a missing folder as root.
bind() {
  source=$(host_path "$1")
  # The fields are CSV: a field with a comma, a quotation mark or a line break has to be quoted.
  case $source in
    *[,\"]* | *"
"*) field="\"source=$(printf '%s' "$source" | sed 's/"/""/g')\"" ;;
    *) field="source=$source" ;;
  esac
  mount="type=bind,$field,target=$2${3:-}"
}
for part in cache checkpoints playground; do
  bind "$repository/$part" "/palitune/$part"
  set -- --mount "$mount" "$@"
done
kaggle=${KAGGLE_CONFIG_DIR:-${HOME:-}/.kaggle}
case $kaggle in
  /* | ?:*) ;;
  *) kaggle=./$kaggle ;;
esac
if [ -d "$kaggle" ]; then
  if kaggle=$(CDPATH="" cd -- "$kaggle" 2>/dev/null && pwd); then
    bind "$kaggle" /kaggle ,readonly
    set -- --mount "$mount" "$@"
  else
    echo "docker-run.sh: the folder of Kaggle's credentials cannot be entered and is not mounted" >&2
  fi
fi

# Files will belong to the caller, even with sudo.
user=$(id -u):$(id -g)
case ${SUDO_UID:-x}:${SUDO_GID:-x} in
  *[!0-9:]*) ;;
  *) user=$SUDO_UID:$SUDO_GID ;;
esac
set -- --user "$user" --env HOME=/tmp/home --env "USER=${USER:-palitune}" "$@"
if [ -n "${MSYSTEM:-}" ] && [ -z "${JAX_COMPILATION_CACHE_DIR:-}" ]; then
  # Windows' folders seem to be writable by everybody; unless told, palitune keeps no compiled programs in such folders.
  set -- --env JAX_COMPILATION_CACHE_DIR=/palitune/cache/compiled "$@"
fi
if [ -n "$podman" ]; then
  # Podman has no daemon that runs as root, so it has to be told to keep the caller's user id; and SELinux would deny access
  # to what is mounted.
  [ "${user%%:*}" = 0 ] || set -- --userns keep-id "$@"
  set -- --security-opt label=disable "$@"
fi

if [ -n "$gpu" ] && nvidia-smi -L >/dev/null 2>&1; then
  if [ -n "$podman" ]; then
    set -- --device nvidia.com/gpu=all "$@"
  else
    set -- --gpus all "$@"
  fi
fi

set -- --read-only --tmpfs /tmp --shm-size "${PALITUNE_SHM:-1g}" --stop-timeout "${PALITUNE_GRACE:-300}" "$@"
terminal=-i
if [ -t 0 ] && [ -t 1 ]; then
  terminal=-it
fi
set -- "$engine" run --rm --init "$terminal" "$@"
if [ "$terminal" = -it ] && [ -n "${MSYSTEM:-}" ]; then
  # docker.exe recognises mintty's terminals only through winpty.
  if command -v winpty >/dev/null; then
    set -- winpty "$@"
  fi
fi
go "$@"
