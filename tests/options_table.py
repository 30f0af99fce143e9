"""The table of a run's options in docs/runs.md, made from the settings.

python tests/options_table.py            writes it anew, between its markers
"""

from pathlib import Path

from palitune.config.run_config import RunConfig
from palitune.config.settings import Setting, groups_of, settings_of

PAGE = Path(__file__).parent.parent / "docs" / "runs.md"
BEGIN, END = "<!-- options: python tests/options_table.py -->", "<!-- end of options -->"


def row(one: Setting) -> str:
    """One option as a line of the table."""
    names = " ".join(f"`{name}`" for name in (*one.details.short, one.option))
    cells = (names, "" if one.is_flag else one.details.kind.describe(), one.default_text, one.details.help)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table() -> str:
    """All options of `palitune learn` and `palitune train`, in the order of --help."""
    settings = [one for group in groups_of(RunConfig) for one in settings_of(group)]
    return "\n".join(["| option | values | default | what it does |", "|---|---|---|---|", *map(row, settings)])


def page(text: str) -> str:
    """The page with today's table."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
