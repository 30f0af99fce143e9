#!/bin/sh
# Fetches the reference implementation for palitune verify, at the commit that palitune is compared with.
# usage: bin/install-big_vision.sh [FOLDER]   (default: cache/big_vision)
# BIG_VISION_URL names another address to fetch that commit from.
set -eu
commit=0127fb6b337ee2a27bf4e54dea79cff176527356
url=${BIG_VISION_URL:-https://github.com/google-research/big_vision}
case ${1:-} in
  -h | --help)
    sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "$0"
    exit 0
    ;;
esac
case ${1:-} in
  -*)
    echo "install-big_vision.sh: unknown option $1. See bin/install-big_vision.sh --help" >&2
    exit 2
    ;;
esac
folder=${1:-$(dirname -- "$0")/../cache/big_vision}
while [ "${folder%/}" != "$folder" ] && [ "$folder" != / ]; do
  folder=${folder%/}
done
# In a git hook, these variables would name the repository of the hook.
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_COMMON_DIR GIT_NAMESPACE
if ! command -v git >/dev/null; then
  echo "install-big_vision.sh: git is needed to fetch it, and is not installed" >&2
  exit 78
fi
if [ -d "$folder/big_vision" ] && [ "$(git -C "$folder" rev-parse HEAD 2>/dev/null)" = "$commit" ]; then
  echo "$folder: already there" >&2
  exit 0
fi
if [ -e "$folder" ] && ! rmdir "$folder" 2>/dev/null; then
  echo "install-big_vision.sh: $folder: this folder holds something else. Move it away, or name another folder" >&2
  exit 73
fi
if ! { mkdir -p "$(dirname -- "$folder")" && part=$(mktemp -d "$folder.XXXXXX"); } 2>/dev/null; then
  echo "install-big_vision.sh: $folder: this folder cannot be written. Name another folder" >&2
  exit 74
fi
trap 'rm -rf "$part"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
git init --quiet "$part"
if ! git -C "$part" fetch --quiet --depth 1 "$url" "$commit" 2>"$part/.git/said"; then
  sed 's#//[^/@]*@#//#' "$part/.git/said" >&2
  shown=$(printf '%s' "$url" | sed 's#//[^/]*@#//#')
  echo "install-big_vision.sh: $shown cannot be fetched. Check the network and run it again" >&2
  exit 69
fi
git -C "$part" checkout --quiet FETCH_HEAD
chmod 755 "$part"
mv "$part" "$folder"
echo "$folder: big_vision at ${commit%"${commit#????????}"}" >&2
