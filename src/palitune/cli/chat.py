"""Stage 6: a conversation with a model."""

import argparse

from palitune.cli import arguments
from palitune.config.chat import ChatConfig
from palitune.config.model import FolderSettings
from palitune.config.settings import settings_of

DESCRIPTION = """\
Talks to a model: it answers each question that is typed, as it writes it. Ctrl-C ends an answer, Ctrl-D the chat.
Each question is asked alone; with --history N the model is told the latest N questions and answers too. --labels lets
it answer with one of a few labels, and shows the probability of each.

In a pipe each line with text is a question, and each answer a line: line ends, tabs and backslashes in it are written
as \\n, \\t and \\\\. With --base the base's answer follows behind a tab; with --labels a label is followed by the
probability of each label, in the order in which they were named.
"""
EXAMPLES = """\
examples:
  ./06-chat.py -m trained-chat --history 4 --system "You are brief."
  ./06-chat.py -m tiny --image dataset/images/000.png --base
  ./06-chat.py -m trained-chat --temperature 0.8 --top-p 0.95 --seed 1 < questions.txt > answers.txt
  ./06-chat.py -m trained-sentiment --labels positive,normal,negative < texts.txt
"""
LEFT_OUT = tuple(one.name for one in settings_of(FolderSettings))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `palitune chat` to its parser."""
    parser.epilog = EXAMPLES
    arguments.add(parser, ChatConfig, LEFT_OUT)


def run(args: argparse.Namespace) -> None:
    """Runs `palitune chat` with the arguments that were given."""
    from palitune.run.chat import chat

    chat(arguments.read(ChatConfig, args), args.quiet)
