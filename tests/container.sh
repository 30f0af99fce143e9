#!/bin/sh
# Builds the image and runs it as bin/docker-run.sh says, where there is no container engine: a base system from
# debootstrap, the Dockerfile by buildah, and tests/engine.py in the place of docker. In the image, as nobody's root, with a
# root that cannot be written to, no network and 64 MB of shared memory: the demo, and tests. Then it looks for files that
# are root's and for secrets that were in the environment.
# Needs root and the packages buildah and debootstrap. BIG_VISION_URL names where to fetch big_vision from; without it the
# image has none.
set -eu
repository=$(CDPATH="" cd -- "$(dirname -- "$0")/.." && pwd)
work=$(mktemp -d)
base=localhost/palitune-base
trap 'rm -rf "$work"' EXIT

say() { printf '\n== %s\n' "$*"; }
fail() {
  echo "container.sh: $*" >&2
  exit 1
}

[ "$(id -u)" = 0 ] || fail "a chroot needs root"
for program in buildah debootstrap; do
  command -v "$program" >/dev/null || fail "there is no $program here: apt-get install buildah debootstrap"
done

export STORAGE_DRIVER="${STORAGE_DRIVER:-overlay}" BUILDAH_ISOLATION=chroot
export PALITUNE_ENGINE="$repository/tests/engine.py" PALITUNE_IMAGE=localhost/palitune-test PALITUNE_SHM=64m
# Whose files the container's are: docker-run.sh takes them from sudo.
export SUDO_UID=1234 SUDO_GID=1234
# What must not turn up anywhere.
secret=planted-$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
export KAGGLE_KEY="$secret" KAGGLE_USERNAME=somebody KAGGLE_API_TOKEN="$secret" HF_TOKEN="$secret" JAX_SECRET="$secret"

make_base() {
  mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    sed -n -e 's/^URIs: *\([^ ]*\).*/\1/p' -e 's/^deb *\(\[[^]]*\] *\)\{0,1\}\([^ ]*\).*/\2/p' | head -n 1)
  debootstrap --variant=minbase --include=ca-certificates,git,python3,python3-venv bookworm "$work/base" \
    ${mirror:+"$mirror"} >"$work/debootstrap.log" 2>&1 || { tail "$work/debootstrap.log"; fail "no base system"; }
  container=$(buildah from scratch)
  buildah add -q "$container" "$work/base" / >/dev/null
  rm -rf "$work/base"
  # This machine's certificates, where its network has some of its own; a build needs the network and nothing else of it.
  for variable in SSL_CERT_FILE REQUESTS_CA_BUNDLE PIP_CERT; do
    file=$(printenv "$variable" || true)
    if [ -f "$file" ]; then
      buildah add -q "$container" "$file" "$file" >/dev/null
      buildah config --env "$variable=$file" "$container"
    fi
  done
  buildah commit -q --rm "$container" "$base" >/dev/null
}

# What an earlier run left is taken again: a base system, and the layers on it.
say "a base system"
buildah inspect --type image "$base" >/dev/null 2>&1 || make_base

say "bin/docker-build.sh"
big_vision=0
[ -z "${BIG_VISION_URL:-}" ] || big_vision=1
# shellcheck disable=SC2086 # none or two words
"$repository/bin/docker-build.sh" --build-arg "BASE_IMAGE=$base" --build-arg REQUIREMENTS=dev \
  --build-arg "WITH_BIG_VISION=$big_vision" ${BIG_VISION_URL:+--build-arg "BIG_VISION_URL=$BIG_VISION_URL"} \
  ${BIG_VISION_FOLDER:+--volume "$BIG_VISION_FOLDER:$BIG_VISION_FOLDER:ro"} >"$work/build.log" 2>&1 ||
  { tail -n 30 "$work/build.log"; fail "the image was not built"; }

# A clone that belongs to the user, in a folder with a blank in its name.
clone="$work/a clone"
git clone -q "$repository" "$clone"
chown -R "$SUDO_UID:$SUDO_GID" "$clone"
chmod 755 "$work"

say "bin/docker-run.sh ../bin/demo.sh"
"$clone/bin/docker-run.sh" ../bin/demo.sh >"$work/demo.log" 2>&1 || { tail -n 30 "$work/demo.log"; fail "the demo failed"; }
tail -n 12 "$work/demo.log"
[ -f "$clone/checkpoints/demo.npz" ] || fail "the demo left no checkpoint"

say "a stage's exit code, signals, and what cannot be written"
code=0
"$clone/bin/docker-run.sh" ./04-validate.py -m no-such dataset/demo/data.jsonl 2>"$work/missing.log" || code=$?
[ "$code" = 66 ] || fail "a missing checkpoint ended with $code"
mkfifo "$work/lines"
"$clone/bin/docker-run.sh" ./03-do_learn.py -d dataset/demo/demo-set -m tiny -w stopped --examples 4000 \
  2>"$work/stopped.log" >"$work/lines" &
grep -m 1 '^step:' "$work/lines"
kill -TERM $!
code=0
wait $! || code=$?
[ "$code" = 75 ] || { cat "$work/stopped.log"; fail "a run that was asked to stop ended with $code"; }
tail -n 1 "$work/stopped.log"
# shellcheck disable=SC2016 # it is the container that expands it
"$clone/bin/docker-run.sh" sh -c '
  id; df -m /dev/shm | tail -n 1
  [ "$(id -u)" = 1234 ] && ! touch /opt/venv/x 2>/dev/null && ! touch /palitune/x 2>/dev/null && touch /tmp/x &&
    [ "$(df -m /dev/shm | tail -n 1 | tr -s " " | cut -d " " -f 2)" = 64 ] &&
    ! python3 -c "import socket; socket.create_connection((\"192.0.2.1\", 80), 2)" 2>/dev/null
' || fail "the container is not closed"

say "bin/test.sh, some of it"
[ $# -gt 0 ] || set -- tests/test_example_files.py tests/test_images.py tests/test_checkpoint.py tests/test_delta.py \
  tests/test_convert.py tests/test_features.py tests/test_doctor.py
"$PALITUNE_ENGINE" run --rm --init --read-only --tmpfs /tmp --shm-size 64m --user "$SUDO_UID:$SUDO_GID" \
  --env HOME=/tmp --env PALITUNE_HOME= --env USER=somebody --mount "type=bind,source=$clone,target=/palitune" --workdir /palitune \
  "$PALITUNE_IMAGE" bin/test.sh -p no:cacheprovider "$@" || fail "tests failed in the container"

say "files that are root's, secrets"
owned=$(find "$clone" -uid 0 | wc -l)
container=$(buildah from --pull-never "$PALITUNE_IMAGE")
root=$(buildah mount "$container")
buildah inspect --type image "$PALITUNE_IMAGE" >"$work/inspected.json"
found=$(grep -rlF "$secret" "$root" "$clone" "$work" 2>/dev/null | wc -l)
buildah rm "$container" >/dev/null
buildah rmi --prune >/dev/null 2>&1 || true # layers that nothing needs any more
echo "$owned root-owned files, $found files with a secret"
[ "$owned" = 0 ] || { find "$clone" -uid 0 | head; fail "files are root's"; }
[ "$found" = 0 ] || fail "secrets were kept"
