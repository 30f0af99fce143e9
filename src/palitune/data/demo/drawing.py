"""Advertisements drawn from a description, for the tiny models' pretraining and for the demo data.

A `Scene` says what is to be seen; `draw` makes an image of it. Both depend on nothing but the random generator that
is passed in, so that a seed gives the same pixels with the same Pillow.
"""

import dataclasses
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

BACKGROUNDS = {
    "white": (250, 250, 248),
    "yellow": (255, 238, 150),
    "pink": (255, 214, 224),
    "sky": (196, 228, 250),
    "mint": (205, 240, 214),
    "grey": (206, 208, 212),
}
COLOURS = {
    "red": (208, 38, 44),
    "blue": (36, 84, 200),
    "green": (28, 140, 66),
    "orange": (238, 130, 24),
    "purple": (128, 48, 160),
    "black": (34, 34, 38),
}
PRODUCTS = ("bottle", "jar", "box", "tube")
BADGES = ("star", "circle", "heart", "triangle", "cross", "none")
SLOGANS = ("SALE", "NEW", "-30%", "FRESH", "DAILY", "GLOW", "VITAL", "PURE", "ONLY 9.90", "TRY ME")


@dataclasses.dataclass(frozen=True)
class Scene:
    """What an advertisement shows. Positions and sizes are fractions of the image's width and height."""

    background: str
    product: str
    product_colour: str
    product_at: tuple[float, float]
    product_size: float
    badge: str
    badge_colour: str
    badge_at: tuple[float, float]
    badge_size: float
    banner: str  # a colour, or "none"
    banner_at: str  # "top" or "bottom"
    slogan: str
    lines: int


def random_scene(rng: np.random.Generator, badge: str | None = None) -> Scene:
    """A scene with everything drawn at random, or everything but its badge."""
    names = list(COLOURS)
    left = rng.random() < 0.5
    product_x, badge_x = rng.uniform(0.24, 0.3), rng.uniform(0.7, 0.76)
    if not left:
        product_x, badge_x = 1 - product_x, 1 - badge_x
    return Scene(
        background=str(rng.choice(list(BACKGROUNDS))),
        product=str(rng.choice(PRODUCTS)),
        product_colour=str(rng.choice(names)),
        product_at=(product_x, rng.uniform(0.46, 0.54)),
        product_size=rng.uniform(0.46, 0.56),
        badge=badge if badge is not None else str(rng.choice(BADGES)),
        badge_colour=str(rng.choice(names)),
        badge_at=(badge_x, rng.uniform(0.46, 0.54)),
        badge_size=rng.uniform(0.42, 0.5),
        banner=str(rng.choice(names)) if rng.random() < 0.5 else "none",
        banner_at=str(rng.choice(("top", "bottom"))),
        slogan=str(rng.choice(SLOGANS)),
        lines=int(rng.integers(0, 4)),
    )


def random_size(rng: np.random.Generator) -> tuple[int, int]:
    """A size in pixels as advertisements have them: square, or up to 5:4 either way."""
    long_side = int(rng.integers(144, 257))
    short_side = int(long_side * rng.uniform(0.8, 1.0))
    return (long_side, short_side) if rng.random() < 0.5 else (short_side, long_side)


def draw(scene: Scene, size: tuple[int, int], rng: np.random.Generator, turn: float = 0.0) -> Image.Image:
    """An RGB image of `scene`, `size` (width, height) in pixels, with its badge turned by `turn` degrees."""
    width, height = size
    drawn = Image.new("RGB", size, BACKGROUNDS[scene.background])
    pen = ImageDraw.Draw(drawn)
    _draw_text(pen, scene, size)
    side = min(width, height)
    x, y = scene.product_at[0] * width, scene.product_at[1] * height
    _draw_product(pen, scene, x, y, scene.product_size * side)
    x, y = scene.badge_at[0] * width, scene.badge_at[1] * height
    outline = badge_outline(scene.badge, x, y, scene.badge_size * side / 2, turn)
    if outline:
        pen.polygon(outline, fill=COLOURS[scene.badge_colour], outline=(255, 255, 255))
    noise = rng.normal(0, 3, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(drawn) + noise, 0, 255).astype(np.uint8))


def _draw_text(pen: ImageDraw.ImageDraw, scene: Scene, size: tuple[int, int]) -> None:
    width, height = size
    font = ImageFont.load_default(max(9, height // 11))
    ink = (60, 60, 66)
    top = scene.banner_at == "top"
    strip = (0, 0, width, height * 0.15) if top else (0, height * 0.85, width, height)
    if scene.banner != "none":
        pen.rectangle(strip, fill=COLOURS[scene.banner])
        ink = (255, 255, 255)
    pen.text((width / 2, (strip[1] + strip[3]) / 2), scene.slogan, fill=ink, font=font, anchor="mm")
    for line in range(scene.lines):
        y = height * (0.92 - 0.05 * line) if top else height * (0.07 + 0.05 * line)
        pen.line((width * 0.2, y, width * (0.6 + 0.07 * line), y), fill=(120, 120, 128), width=max(1, height // 80))


def _draw_product(pen: ImageDraw.ImageDraw, scene: Scene, x: float, y: float, size: float) -> None:
    fill, label, cap = COLOURS[scene.product_colour], (246, 244, 236), (92, 92, 100)
    half = size / 2
    if scene.product == "bottle":
        pen.rounded_rectangle((x - half * 0.42, y - half * 0.4, x + half * 0.42, y + half), half * 0.16, fill)
        pen.rectangle((x - half * 0.16, y - half * 0.75, x + half * 0.16, y - half * 0.38), fill)
        pen.rectangle((x - half * 0.2, y - half, x + half * 0.2, y - half * 0.72), cap)
    elif scene.product == "jar":
        pen.rounded_rectangle((x - half * 0.72, y - half * 0.35, x + half * 0.72, y + half * 0.8), half * 0.25, fill)
        pen.rectangle((x - half * 0.76, y - half * 0.62, x + half * 0.76, y - half * 0.33), cap)
    elif scene.product == "box":
        pen.rectangle((x - half * 0.66, y - half * 0.85, x + half * 0.66, y + half * 0.9), fill)
        pen.line((x - half * 0.66, y - half * 0.6, x + half * 0.66, y - half * 0.6), fill=label, width=2)
    else:
        corners = [(x - half * 0.5, y - half), (x + half * 0.5, y - half)]
        pen.polygon([*corners, (x + half * 0.22, y + half * 0.7), (x - half * 0.22, y + half * 0.7)], fill)
        pen.rectangle((x - half * 0.24, y + half * 0.7, x + half * 0.24, y + half), cap)
    pen.rectangle((x - half * 0.3, y + half * 0.05, x + half * 0.3, y + half * 0.4), label)


def badge_outline(badge: str, x: float, y: float, radius: float, turn: float = 0.0) -> list[tuple[float, float]]:
    """Corners of a badge's polygon around (x, y); empty for "none"."""
    if badge == "none":
        return []
    if badge == "star":
        corners = [(math.pi * i / 5, 1.0 if i % 2 == 0 else 0.42) for i in range(10)]
    elif badge == "circle":
        corners = [(2 * math.pi * i / 40, 0.95) for i in range(40)]
    elif badge == "triangle":
        corners = [(2 * math.pi * i / 3, 1.05) for i in range(3)]
    elif badge == "heart":
        points = [(2 * math.pi * i / 40) for i in range(40)]
        curve = [
            (16 * math.sin(t) ** 3 / 17, -(13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t)) / 17)
            for t in points
        ]
        corners = [(math.atan2(px, -py), math.hypot(px, py)) for px, py in curve]
    else:
        arm = 0.33
        plus = [(-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm)]
        plus += [(arm, 1), (-arm, 1), (-arm, arm), (-1, arm), (-1, -arm), (-arm, -arm)]
        corners = [(math.atan2(px, -py), math.hypot(px, py)) for px, py in plus]
    angle = math.radians(turn)
    return [(x + radius * r * math.sin(a + angle), y - radius * r * math.cos(a + angle)) for a, r in corners]
