"""Which of two models' answers people prefer."""

import argparse
from typing import Any

from palitune import streams
from palitune.cli import arguments, values

DESCRIPTION = """\
Lets people say which of two models' answers they prefer: first a page to vote on, then the tally of the votes.

palitune ab A B -o HTML writes one page about two files of answers of 13-inference.py to the same examples. It shows
each text or image with both answers side by side, and not which file one is of: sides and order are random. It works
without a network, on a phone too. Votes stay in the voter's browser, and a button saves them as votes-NAME.json.

palitune ab tally FILE ... counts the saved votes of all voters: how often A and B are preferred with a 95 % interval,
whether that is more than chance, what each voter voted, and how far voters agree. It needs neither page nor answers.
"""
EXAMPLES = """\
examples:
  palitune ab tmp/zero.tsv tmp/out.tsv -i dataset -o vote.html
  palitune ab before.jsonl after.jsonl -o vote.html --most 40 --seed 7    40 examples, drawn at random
  palitune ab tally votes-*.json                                          what the votes say
  palitune ab tally votes-*.json --json | jq .p_value
"""
TALLY, MOST = "tally", 200
OF_PAGE = ("output", "lang", "seed", "most", "overwrite", "images", "allow_outside")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune ab` to its parser."""
    parser.epilog = EXAMPLES
    parser.usage = "%(prog)s A B -o HTML [options]\n       %(prog)s tally FILE [FILE ...] [--json]"
    text = f"two files of answers, TSV or JSONL, - is standard input; or the word {TALLY} and files of votes"
    parser.add_argument("files", nargs="+", metavar="FILE", help=text)
    page: Any = parser.add_argument_group("the page")
    arguments.add_page(page, "where the page goes")
    text = "of the order of examples, and of which answer is on the left (%(default)s)"
    page.add_argument("--seed", type=values.seed, default=0, help=text)
    text = "how many examples, drawn at random (%(default)s)"
    page.add_argument("--most", type=values.positive_int, default=MOST, metavar="N", help=text)
    arguments.add_folder(parser)
    parser.add_argument_group("the tally").add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> None:
    """Runs `palitune ab` with the arguments that were given."""
    from palitune.errors import UsageError

    is_tally = args.files[0] == TALLY
    if foreign := [name for name in (OF_PAGE if is_tally else ("json",)) if name in args.typed]:
        other = "palitune ab A B" if is_tally else f"palitune ab {TALLY}"
        raise UsageError(f"--{foreign[0].replace('_', '-')} is an option of {other}")
    if is_tally:
        _tally(args.files[1:], args)
    elif len(args.files) != 2 or args.output is None:
        raise UsageError("a page takes two files of answers and -o HTML", hint="palitune ab A B -o vote.html")
    else:
        _page((args.files[0], args.files[1]), args)


def _page(files: tuple[str, str], args: argparse.Namespace) -> None:
    from palitune import workspace
    from palitune.evaluate.report import vote_page

    target = workspace.file_to_write(args.output, args.overwrite, files)
    how = {"images": arguments.folders(args), "seed": args.seed, "most": args.most, "quiet": args.quiet}
    vote_page.write(target, files, args.lang, **how)


def _tally(files: list[str], args: argparse.Namespace) -> None:
    from palitune.errors import UsageError
    from palitune.evaluate import preference, vote_files
    from palitune.evaluate.report import preference_text

    if not files:
        raise UsageError("name files of votes", hint=f"palitune ab {TALLY} votes-*.json")
    found = preference.tally(vote_files.read_all(files, args.quiet))
    if args.json:
        streams.document(preference_text.as_json(found), 2)
    else:
        print("\n".join(preference_text.lines(found)))
