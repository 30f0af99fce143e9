"""Measures thresholds, temperatures and the search for wrong labels on the demo task, over several seeds.

    python bench/evaluation.py [--seeds 5]

Each seed draws 96 advertisements and trains on them with the defaults of `palitune learn`, draws 200 for choosing and
1,000 that nothing else uses. It prints the precision on the 1,000 of the threshold chosen for 0.95 on the 200, the
calibration error on the 1,000 before and after the temperature that was fitted on the 200, whether scoring and
decoding gave the same answers, and how many of 5 % flipped labels are among the first 10 % that `palitune suspect`
doubts, of 96 and of 400.
"""

import argparse
import json
import tempfile
from pathlib import Path

from stages import counts, palitune

CHOOSING, NEW = 1_000_000, 2_000_000  # seeds far from those of the training sets


def answers(folder: Path, name: str, model: str, data: str, *options: str) -> str:
    """Writes a file of answers; its name."""
    text = palitune(folder, "inference", "-m", model, "-d", f"{data}/data.jsonl", *options)
    (folder / name).write_text(text)
    return name


def calibration_error(folder: Path, file: str) -> float:
    return json.loads(palitune(folder, "report", file, "--json"))["figures"]["ece"]["value"]


def found(folder: Path, count: int, seed: int) -> tuple[int, int]:
    """Flipped labels among the most doubted tenth, and all flipped ones."""
    name = f"flipped{count}-{seed}"
    palitune(folder, "demo-data", "-o", name, "--count", str(count), "--seed", str(seed))
    file = folder / name / "data.jsonl"
    records = [json.loads(line) for line in file.read_text().splitlines()]
    flipped = set()
    for record in records[seed::20][: round(count / 20)]:
        record["suffix"] = {"yes": "no", "no": "yes"}[record["suffix"]]
        flipped.add(record["image"])
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    lines = palitune(folder, "suspect", "-d", str(file), "-m", "tiny", "-n", str(count // 10)).splitlines()
    return len(flipped & {line.split("\t")[0] for line in lines}), len(flipped)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        palitune(folder, "download", "--model", "tiny")
        palitune(folder, "demo-data", "-o", "choosing", "--count", "200", "--seed", str(CHOOSING))
        palitune(folder, "demo-data", "-o", "new", "--count", "1000", "--seed", str(NEW))
        print("seed  threshold  precision  recall  temperature  ece before  ece after  decoding  found of 96  of 400")
        for seed in range(args.seeds):
            palitune(folder, "demo-data", "-o", f"set{seed}", "--seed", str(seed))
            palitune(folder, "split", "-d", f"set{seed}/data.jsonl", "-n", "split", "--seed", str(seed))
            palitune(
                folder, "learn", "-d", f"set{seed}/split", "-m", "tiny", "-w", "run", "--overwrite", "--seed", str(seed)
            )
            chosen_on = answers(folder, "choosing.tsv", "run", "choosing")
            before = calibration_error(folder, answers(folder, "raw.tsv", "run", "new"))
            decoded = answers(folder, "decoded.tsv", "run", "new", "--decode")
            same = (folder / decoded).read_text() == (folder / "raw.tsv").read_text()
            text = palitune(folder, "threshold", chosen_on, "--precision", "0.95", "--temperature", "-m", "run")
            threshold, temperature = (float(line.split()[-1]) for line in text.splitlines())
            tp, _, fp, fn = counts(palitune(folder, "validate", "-m", "run", "new/data.jsonl"))
            after = calibration_error(folder, answers(folder, "calibrated.tsv", "run", "new"))
            small, large = found(folder, 96, seed), found(folder, 400, seed)
            print(
                f"{seed:4}  {threshold:9.4f}  {tp / (tp + fp):9.4f}  {tp / (tp + fn):6.4f}  {temperature:11.4f}  "
                f"{before:10.4f}  {after:9.4f}  {'same' if same else 'OTHER':>8}  {small[0]:5} of {small[1]:2}  "
                f"{large[0]:3} of {large[1]}",
                flush=True,
            )


if __name__ == "__main__":
    main()
