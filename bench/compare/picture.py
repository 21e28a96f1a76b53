"""Curves -> a picture in SVG, both axes logarithmic. A curve is a list of points (x, y), both above zero."""

import math
from html import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 46, 50
COLOURS = ("#0b6e99", "#c2410c", "#4d7c0f", "#7e22ce")


def svg(axis, curves):
    """Each curve has the colour of its name. Where all values are within a decade there are lines between powers of ten."""
    points = [point for curve in curves.values() for point in curve]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    ticks = y_ticks([y for _, y in points])
    low, high = ticks[0], ticks[-1]

    def across(x):
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log(x / left) / math.log(right / left) if right > left else 0.5)

    def down(y):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(y / low) / math.log(high / low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for y in ticks:
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{down(y):.1f}" y2="{down(y):.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{down(y) + 4:.1f}" text-anchor="end">{number(y)}</text>')
    # Beside each other only where there is room.
    last = -math.inf
    for x in sorted({x for x, _ in points}):
        parts.append(f'<line x1="{across(x):.1f}" x2="{across(x):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" stroke="#eeeeee"/>')
        if across(x) - last > 34:
            last = across(x)
            parts.append(f'<text x="{last:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{number(x)}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(axis)}</text>')
    for at, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[at % len(COLOURS)]
        places = [(f"{across(x):.1f}", f"{down(y):.1f}") for x, y in curve]
        path = " ".join(f"{x},{y}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in places]
        parts.append(f'<text x="{LEFT + 250 * at}" y="24" fill="{colour}" font-weight="bold">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def y_ticks(values):
    """Powers of ten, and two and five times of them, around all values."""
    steps = [base * 10.0**power for power in range(-6, 10) for base in (1, 2, 5)]
    low = max(step for step in steps if step <= min(values))
    high = min(step for step in steps if step >= max(values) and step > low)
    return [step for step in steps if low <= step <= high]


def number(value):
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
