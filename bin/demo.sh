#!/bin/sh
# Runs the main job on the tiny model and drawn data: makes the environment, then downloads, draws, splits, trains and
# validates. Everything it writes is in the repository: .venv, cache/, playground/dataset/demo*, checkpoints/demo.npz.
set -eu
repository=$(CDPATH="" cd -- "$(dirname -- "$0")/.." && pwd)
. "$repository/bin/environment.sh"
make_environment "$repository"
cd "$repository/playground"

say() { printf '\n$ %s\n' "$*"; }
run() { say "$@"; "$@"; }

run ./01-download_models.py --model tiny
run palitune demo-data -o dataset/demo --overwrite
run ./02-shuffle_data.sh -d dataset/demo/data.jsonl -v 10 -n demo-set --overwrite
run ./03-do_learn.py -d dataset/demo/demo-set -m tiny -w demo --overwrite
run palitune demo-data -o dataset/demo-new --count 200 --seed 1 --overwrite
echo
echo "Results on 200 advertisements that were not used for training, before and after fine-tuning:"
run ./04-validate.py -m tiny dataset/demo-new/data.jsonl
run ./04-validate.py -m demo dataset/demo-new/data.jsonl --sheet dataset/demo-new/sheet.png --overwrite

cat <<EOF

Done. playground/dataset/demo-new/sheet.png shows every image with the model's answer.
Next, try it yourself:   . .venv/bin/activate && cd playground && ./03-do_learn.py --help
EOF
