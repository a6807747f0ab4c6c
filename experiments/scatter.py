"""Points with names in an SVG picture: the same rows give the same bytes, whatever is installed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 380, 300, 56, 16, 30, 46
INK, GRID, DOT = "#333", "#ddd", "#1f6fb2"


@dataclass(frozen=True)
class Panel:
    """A plane of points `(name, x, y)`; `log` is of x, whose values are then above 0."""

    title: str
    x_label: str
    y_label: str
    points: Sequence[tuple[str, float, float]]
    log: bool = False


def svg(panels: Sequence[Panel], abreast: int | None = None) -> str:
    """The panels side by side, `abreast` in a row; all of them by default."""
    abreast = min(abreast or len(panels), len(panels))
    width, height = WIDTH * abreast, HEIGHT * -(-len(panels) // abreast)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="11" fill="{INK}">'
    )
    places = [(i % abreast * WIDTH, i // abreast * HEIGHT) for i in range(len(panels))]
    drawn = [f'<g transform="translate({x} {y})">\n{_panel(panel)}\n</g>' for (x, y), panel in zip(places, panels)]
    return "\n".join([head, f'<rect width="{width}" height="{height}" fill="white"/>', *drawn, "</svg>\n"])


def ticks(low: float, high: float, log: bool = False) -> list[float]:
    """Round numbers from `low` to `high`: steps of 1, 2 or 5 times a power of ten; on a log axis 1, 2 and 5 of each."""
    if log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]
        return found if len(found) > 2 else ticks(low, high)  # of less than a decade
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(m * power for m in (1, 2, 5, 10) if (high - low) / (m * power) <= 6)
    return [k * step for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _panel(panel: Panel) -> str:
    xs, ys = ([point[k] for point in panel.points] for k in (1, 2))
    x_of, x_ticks = _axis(xs, LEFT, WIDTH - RIGHT, panel.log)
    y_of, y_ticks = _axis(ys, HEIGHT - BOTTOM, TOP, False)
    lines = [f'<text x="{LEFT}" y="18" font-size="13" font-weight="bold">{escape(panel.title)}</text>']
    for value in x_ticks:
        at = f"{x_of(value):.1f}"
        lines += [
            f'<path d="M{at} {TOP}V{HEIGHT - BOTTOM}" stroke="{GRID}"/>',
            f'<text x="{at}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{value:.4g}</text>',
        ]
    for value in y_ticks:
        at = y_of(value)
        lines += [
            f'<path d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>',
            f'<text x="{LEFT - 5}" y="{at + 4:.1f}" text-anchor="end">{value:.4g}</text>',
        ]
    middle = (TOP + HEIGHT - BOTTOM) / 2
    lines += [
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(panel.x_label)}</text>',
        f'<text x="13" y="{middle}" text-anchor="middle" transform="rotate(-90 13 {middle})">'
        f"{escape(panel.y_label)}</text>",
    ]
    taken = [(x_of(x) - 5, y_of(y) + 4, 10.0) for _, x, y in panel.points]  # dots: no name lies over one
    for name, x, y in sorted(panel.points, key=lambda point: point[2]):
        lines += _point(name, x_of(x), y_of(y), taken)
    return "\n".join(lines)


def _point(name: str, x: float, y: float, taken: list[tuple[float, float, float]]) -> list[str]:
    """A dot and its name, on whichever side and at whichever height no other name is."""
    width = 6.2 * len(name)
    right = x + 7 + width < WIDTH
    left = x + 7 if right else x - 7 - width
    places = (y + 4 + sign * 12 * k for k in range(12) for sign in (-1, 1))
    free = lambda at: all(left > l + w or left + width < l or abs(at - t) > 10 for l, t, w in taken)  # noqa: E731, E741
    at = next((place for place in places if TOP < place < HEIGHT - BOTTOM and free(place)), y + 4)
    taken.append((left, at, width))
    lead = (
        f'<path d="M{x:.1f} {y:.1f}L{left if right else left + width:.1f} {at - 4:.1f}" stroke="{DOT}" opacity=".4"/>'
    )
    return [
        *([lead] if abs(at - 4 - y) > 1 else []),
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{DOT}"/>',
        f'<text x="{left:.1f}" y="{at:.1f}">{escape(name)}</text>',
    ]


def _axis(values: Sequence[float], start: float, end: float, log: bool):
    scale = math.log10 if log else float
    low, high = scale(min(values)), scale(max(values))
    room = 0.08 * (high - low) or (0.1 if log else 0.05 * abs(high) or 1.0)
    low, high = low - room, high + room
    place = lambda value: start + (scale(value) - low) / (high - low) * (end - start)  # noqa: E731
    return place, ticks(10**low, 10**high, True) if log else ticks(low, high)
