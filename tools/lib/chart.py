"""Pictures of two logarithmic axes, written as SVG by hand: they need nothing and read well in a repository, light or dark."""

import math
from html import escape

COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c564b", "#bcbd22", "#17becf"]
FONT = 'font-family="Helvetica, Arial, sans-serif"'


def tidy(value):
    """1e3 as 1000, 0.25 as 0.25."""
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


class Chart:
    """Data coordinates are given as they are; both axes are logarithmic."""

    def __init__(self, title, x, y, x_range, y_range, size=(760, 470), notes=()):
        self.size, self.box = size, (70, 46 + 16 * len(notes), size[0] - 24, size[1] - 54)
        self.x_range, self.y_range, self.parts, self.taken = x_range, y_range, [], []
        width, height = size
        self.parts.append(f'<rect width="{width}" height="{height}" rx="6" fill="#ffffff"/>')
        self.text(22, 28, title, size=16, weight="bold")
        for i, note in enumerate(notes):
            self.text(22, 46 + 16 * i, note, size=12, colour="#555555")
        left, top, right, bottom = self.box
        for value in self.ticks(x_range):
            at = self.at(value, y_range[0])[0]
            self.parts.append(f'<line x1="{at:.1f}" y1="{top}" x2="{at:.1f}" y2="{bottom}" stroke="#e4e4e4"/>')
            self.text(at, bottom + 18, tidy(value), anchor="middle", size=12)
        for value in self.ticks(y_range):
            at = self.at(x_range[0], value)[1]
            self.parts.append(f'<line x1="{left}" y1="{at:.1f}" x2="{right}" y2="{at:.1f}" stroke="#e4e4e4"/>')
            self.text(left - 8, at + 4, tidy(value), anchor="end", size=12)
        self.parts.append(f'<rect x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" fill="none" stroke="#888888"/>')
        self.text((left + right) / 2, height - 16, x, anchor="middle", size=13)
        middle = (top + bottom) / 2
        self.text(20, middle, y, anchor="middle", size=13, more=f'transform="rotate(-90 20 {middle:.1f})"')

    @staticmethod
    def ticks(span):
        """Powers of ten inside, with 2 and 5 between them where there are few."""
        low, high = span
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = (1, 2, 5) if math.log10(high / low) < 2.5 else (1,)
        return [step * 10.0**d for d in decades for step in steps if low * 0.999 <= step * 10.0**d <= high * 1.001]

    def at(self, x, y):
        left, top, right, bottom = self.box
        part = lambda v, span: (math.log(v) - math.log(span[0])) / (math.log(span[1]) - math.log(span[0]))  # noqa: E731
        return left + part(x, self.x_range) * (right - left), bottom - part(y, self.y_range) * (bottom - top)

    def text(self, x, y, words, size=12, anchor="start", colour="#222222", weight="normal", more=""):
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}" {FONT} {more}>'
            f"{escape(words)}</text>"
        )

    def line(self, points, colour="#222222", width=2, dash=None):
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (self.at(*p) for p in points))
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>')

    def dot(self, x, y, colour, radius=5.0):
        cx, cy = self.at(x, y)
        self.parts.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{radius:.1f}" fill="{colour}" fill-opacity="0.85" stroke="#ffffff"/>')

    def label(self, x, y, words, colour="#222222", gap=9, sides=("start", "end")):
        """Words beside a point, moved until they cover no others; a thin line leads back if they went far."""
        px, py = self.at(x, y)
        wide, (left, top, right, bottom) = 6.4 * len(words), self.box
        places = [(side, dy) for dy in (4, -9, 17, -22, 30, -35, 43, -48, 56, -61, 69) for side in sides]
        for side, dy in places:
            x0 = px + gap if side == "start" else px - gap - wide
            box = (x0, py + dy - 10, x0 + wide, py + dy + 3)
            inside = left <= box[0] and box[2] <= right and top <= box[1] and box[3] <= bottom
            if inside and not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in self.taken):
                break
        self.taken.append(box)
        if abs(dy - 4) > 20:
            end = x0 if side == "start" else x0 + wide
            self.parts.append(f'<line x1="{px:.1f}" y1="{py:.1f}" x2="{end:.1f}" y2="{py + dy - 4:.1f}" stroke="{colour}" stroke-width="0.7"/>')
        self.text(x0, py + dy, words, colour=colour)

    def keep_clear(self, x, y, radius=7):
        px, py = self.at(x, y)
        self.taken.append((px - radius, py - radius, px + radius, py + radius))

    def svg(self):
        width, height = self.size
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
        return "\n".join([head, *self.parts, "</svg>"]) + "\n"


def span(values, low=None, high=None):
    """A range around values with some room, in whole steps of 1, 2, 5."""
    found = [v for v in values if v > 0]
    first, last = low or min(found) / 1.3, high or max(found) * 1.3
    return first, max(last, first * 10)


def write(path, text):
    """The whole file or none of it."""
    import os
    waiting = f"{path}.{os.getpid()}.tmp"
    with open(waiting, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(waiting, path)


def load(path, fail):
    """A JSON file, or a word on why not."""
    import json
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        fail(f"{path}: {error}")
