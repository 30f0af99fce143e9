#!/bin/sh
# Runs the main job on a tiny model and drawn data: makes the environment, then downloads, draws, splits, trains and
# validates. Everything it writes is in the repository: .venv, cache/, playground/dataset/demo*, checkpoints/demo*.
# usage: bin/demo.sh [--task adverts|toxicity|emoji|sentiment|chat]
set -eu
task=adverts
case $# in
  0) ;;
  2) [ "$1" = --task ] && task=$2 || task= ;;
  *) task= ;;
esac
case $task in
  adverts | toxicity | emoji | sentiment | chat) ;;
  *)
    echo "usage: bin/demo.sh [--task adverts|toxicity|emoji|sentiment|chat]" >&2
    exit 2
    ;;
esac
repository=$(CDPATH="" cd -- "$(dirname -- "$0")/.." && pwd)
. "$repository/bin/environment.sh"
make_environment "$repository"
cd "$repository/playground"

say() { printf '\n$ %s\n' "$*"; }
run() { say "$@"; "$@"; }

if [ "$task" != adverts ]; then
  name=demo-$task
  data=dataset/$name
  file=data.jsonl
  columns=
  case $task in
    sentiment) settings="-b 8 --epochs 5" ;;
    emoji) settings="-b 8 --epochs 15" file=data.tsv ;;
    toxicity)
      settings="-b 4 --epochs 4" file=data.csv
      columns="--label-columns obscene,violent,insult,personal --questions $data/questions.tsv"
      ;;
    chat) settings="-b 4 --epochs 5 --method full --optimizer adamw -r 0.001" ;;
  esac
  run ./01-download_models.py --model tinytext
  run palitune demo-data --task "$task" -o "$data" --overwrite
  # shellcheck disable=SC2086  # several options in one variable, none of them with a blank in it
  run ./02-shuffle_data.sh -d "$data/$file" -v 10 -n demo-set --overwrite $columns
  # shellcheck disable=SC2086
  run ./03-do_learn.py -d "$data/demo-set" -m tinytext -w "$name" --overwrite $settings $columns
  run palitune demo-data --task "$task" -o "$data-new" --seed 1 --overwrite
  echo
  echo "Results on records that were not used for training, before and after fine-tuning:"
  # shellcheck disable=SC2086
  run ./04-validate.py -m tinytext "$data-new/$file" $columns
  # shellcheck disable=SC2086
  run ./04-validate.py -m "$name" "$data-new/$file" $columns
  exit
fi

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
