"""What is drawn and embedded: letters that there is a font for, and pixels alone."""

import base64
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from palitune.data.example import Example
from palitune.errors import ConfigurationError
from palitune.evaluate import metrics
from palitune.evaluate.language import IN_ENGLISH
from palitune.evaluate.report import canvas, curves, page, plots, summary


def test_what_no_font_has_is_spelled_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever fonts this machine has: matplotlib warns of an empty box, and a warning fails a test."""
    own = canvas._fonts()[:1]
    monkeypatch.setattr(canvas, "_fonts", lambda: own)
    assert canvas.text("可é") == r"\u53efé"
    reason = canvas.reason()
    assert reason is not None
    assert "no font here has 可" in reason
    assert reason.endswith("(apt-get install fonts-ipaexfont)")
    assert canvas.text("👩🔧") == r"\U0001f469\U0001f527"
    assert str(canvas.reason()).endswith("(apt-get install fonts-symbola)")
    canvas.text("可👩")
    assert str(canvas.reason()).endswith("(apt-get install fonts-ipaexfont fonts-symbola)")
    assert canvas.reason() is None
    labels = ["可", "不可😀", "$x$", "a\u202eb"]
    one = metrics.outcomes_of(labels * 3, (labels * 4)[1:13], [None] * 12, labels)
    assert set(curves.draw(one, {}, IN_ENGLISH, before=one)) == {"confusion"}
    Image.new("RGB", (8, 8)).save(tmp_path / "日本.png")
    shown = plots.SheetImage(tmp_path / "日本.png", "可", "$", "写真/日本.png", 0.5)
    plots.sheet(tmp_path / "sheet.png", [shown], IN_ENGLISH)
    assert canvas.reason() is not None


def test_a_font_that_has_japanese_is_taken() -> None:
    """The system's, or our own."""
    with canvas.styled(IN_ENGLISH, ["可"]):
        assert canvas.text("可") == "可"


def test_what_matplotlib_cannot_draw_is_one_line() -> None:
    with pytest.raises(ConfigurationError, match="matplotlib cannot draw: no"), canvas.styled(IN_ENGLISH):
        raise ValueError("no")


@pytest.mark.parametrize(
    ("losses", "expected"),
    [((2.0, 0.1, 0.003), {"0.01", "0.1", "1"}), ((0.5, 0.4, 0.3), {"0.3", "0.4"}), ((3e-7, 2e-6), {"1e-06"})],
)
def test_losses_stand_at_plain_numbers(losses: tuple[float, ...], expected: set[str]) -> None:
    rows = [{"step": step, "train_loss": loss, "valid_loss": loss} for step, loss in enumerate(losses)]
    with canvas.styled(IN_ENGLISH):
        figure = canvas.Figure()
        cell = figure.subplots()
        plots._losses_of(cell, rows, IN_ENGLISH)
        canvas.png(figure, IN_ENGLISH)
        written = {label.get_text() for label in cell.get_yticklabels(which="both")}
    assert expected <= written
    assert not any("$" in label for label in written)


def test_thousands_of_classes() -> None:
    names = [f"c{i}" for i in range(3_000)]
    one = metrics.outcomes_of(names, names[::-1], [None] * len(names), names)
    assert len(curves.draw(one, {}, IN_ENGLISH)["confusion"]) < 300_000
    assert "and 2936 more classes" in metrics.classification(one)


def embedded(content: str) -> list[bytes]:
    return [base64.b64decode(found) for found in re.findall(r"base64,([A-Za-z0-9+/=]+)", content)]


def test_only_pixels_are_embedded(tmp_path: Path) -> None:
    """Not a link's target, not what is no image, and not what hides behind an image's end."""
    outcomes = metrics.outcomes_of(["yes", "no"], ["yes", "yes"], [None, None], ("yes", "no"))
    records = [Example.of("a.png", label="yes"), Example.of("b.png", label="no")]
    image, losses = tmp_path / "image.png", tmp_path / "loss.png"
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(image)

    def made() -> str:
        one = summary.summarize("t", {}, records, outcomes)
        one.losses = losses
        return page.html(one, {}, IN_ENGLISH)

    image.write_bytes(image.read_bytes() + b"s3cret")
    losses.symlink_to(image)
    assert embedded(made()) == []
    losses.unlink()
    losses.write_bytes(b"s3cret")
    assert embedded(made()) == []
    losses.write_bytes(image.read_bytes())
    (found,) = embedded(made())
    assert found.startswith(b"\x89PNG")
    assert b"s3cret" not in found
