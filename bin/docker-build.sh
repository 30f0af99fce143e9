#!/bin/sh
# Builds the container image: bin/docker-build.sh [--cpu] [--dry-run] [options of docker build]
#   --cpu        for machines without an NVIDIA card: 0.4 GB of JAX instead of 5 GB
#   --dry-run    print the command instead of running it
# Other options go to docker build: --build-arg BASE_IMAGE=python:3.11-slim, --build-arg WITH_BIG_VISION=0, --no-cache.
# PALITUNE_IMAGE sets the image's name (palitune), PALITUNE_ENGINE the program (docker, else podman).
set -eu
repository=$(CDPATH="" cd -- "$(dirname -- "$0")/.." && pwd)
. "$repository/bin/docker-engine.sh"
dry=
requirements=cuda12
count=$#
while [ "$count" -gt 0 ]; do
  count=$((count - 1))
  option=$1
  shift
  case $option in
    -h | --help) usage "$0" ;;
    --cpu) requirements=cpu ;;
    --dry-run) dry=yes ;;
    *) set -- "$@" "$option" ;;
  esac
done
find_engine
set -- "$engine" build --tag "$image" --build-arg "REQUIREMENTS=$requirements" "$@" "$(host_path "$repository")"
go "$@"
