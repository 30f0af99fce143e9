"""The documentation's table of options is that of the settings."""

import options_table


def test_the_table_is_up_to_date() -> None:
    text = options_table.PAGE.read_text("utf-8")
    assert text == options_table.page(text), "python tests/options_table.py writes it anew"
