#!/bin/sh
# The main job on the tiny model and drawn data, from nothing: environment, model, data, split, learn, validate.
# Everything stays in the repository: .venv, cache/, playground/dataset/demo*, checkpoints/demo.npz.
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
echo "200 advertisements that no step above has seen, before and after fine-tuning:"
run ./04-validate.py -m tiny dataset/demo-new/data.jsonl
run ./04-validate.py -m demo dataset/demo-new/data.jsonl --sheet dataset/demo-new/sheet.png --overwrite

cat <<EOF

Done. Look at playground/dataset/demo-new/sheet.png: every picture with the model's answer.
Next, by hand:   . .venv/bin/activate && cd playground && ./03-do_learn.py --help
EOF
