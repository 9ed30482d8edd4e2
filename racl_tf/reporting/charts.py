"""Light charts as inline SVG, for reports that are read on a phone, in the dark and on paper.

Colours are names of CSS variables that the page sets, a unit is a pixel of a narrow screen, and all text is escaped.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape
from PIL import Image

WIDTH = 340.0  # of every chart, so that letters have their size on a narrow screen
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 16.0, 10.0, 34.0
_MOST_POINTS = 300  # of a line, the double where neighbours are drawn as their least and their largest
EPOCH = "epoch"  # the label of an axis that is marked at whole numbers
COLORS = 8
"""The number of colours c0, c1, ... that the page sets."""


class Line(NamedTuple):
    """A curve.

    Arguments:
        label: its name.
        x, y: its points; where y is NaN it is broken.
        color: the index of its colour.
        dashed: whether it is.
    """

    label: str
    x: np.ndarray
    y: np.ndarray
    color: int = 0
    dashed: bool = False


class Figure(NamedTuple):
    """A chart with what is written around it.

    Arguments:
        title: above it.
        body: the chart.
        legend: colours' indices, labels and whether they are dashed.
        note: below it.
    """

    title: str
    body: Markup
    legend: tuple[tuple[int, str, bool], ...] = ()
    note: str = ""


def line_chart(
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str,
    y_range: tuple[float, float] | None = None,
    percent: bool = False,
    zero: bool = False,
    powers: bool = False,
    shaded: tuple[float, float] | None = None,
    note: str = "",
) -> Figure | None:
    """Returns curves over one axis; None if none of them has a point.

    Arguments:
        title: above the chart.
        lines: the curves.
        x_label: what is below the axis.
        y_range: of the other axis; as wide as the curves are if not given.
        percent: whether values are shares that are written in percent.
        zero: whether a line is drawn at 0.
        powers: whether x is the logarithm, to the base 10, of what is written along the axis.
        shaded: a range of x that has a ground of its own.
        note: below the chart.
    """
    lines = [line for line in lines if np.isfinite(np.asarray(line.y, float)).any()]
    if not lines:
        return None
    xs = np.concatenate([np.asarray(line.x, float) for line in lines])
    ys = np.concatenate([np.asarray(line.y, float) for line in lines])
    x_low, x_high = _widened(float(xs.min()), float(xs.max()), share=0.0)
    y_low, y_high = y_range or _widened(float(np.nanmin(ys)), float(np.nanmax(ys)))
    if zero:
        y_low, y_high = min(y_low, 0.0), max(y_high, 0.0)
    frame = _Frame(x_low, x_high, y_low, y_high, 200.0)
    parts = []
    if shaded is not None and shaded[1] > shaded[0]:
        left, right = frame.x(max(shaded[0], x_low)), frame.x(min(shaded[1], x_high))
        parts.append(
            f'<rect class="shade" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{frame.high}"/>'
        )
    parts += frame.axes(x_label, percent=percent, powers=powers)
    if zero:
        parts.append(f'<path class="zero" d="M{_LEFT} {frame.y(0):.1f}H{WIDTH - _RIGHT}"/>')
    for line in lines:
        x, y = _thinned(np.asarray(line.x, float), np.asarray(line.y, float))
        dash, color = " dashed" if line.dashed else "", f"var(--c{line.color % COLORS})"
        parts.append(f'<path class="line{dash}" style="stroke:{color}" d="{frame.path(x, y)}"/>')
        if np.isfinite(y).sum() <= 12:
            points = zip(x, y, strict=True)
            parts += [
                f'<circle style="fill:{color}" cx="{frame.x(a):.1f}" cy="{frame.y(b):.1f}" r="3"/>'
                for a, b in points
                if math.isfinite(b)
            ]
    legend = tuple((line.color % COLORS, line.label, line.dashed) for line in lines)
    return Figure(title, _svg(title, frame.height, parts), legend, note)


def density_chart(title: str, curves: Sequence[tuple[str, float, float]], *, note: str) -> Figure:
    """Returns densities of log-normal variables, in units of their target, which is at 1.

    Arguments:
        title: above the chart.
        curves: a label and the mean and the standard deviation of the logarithm, for each; the last one's part below
            the target is filled.
        note: below the chart.
    """
    low = min(mean - 4 * deviation for _, mean, deviation in curves)
    high = max(mean + 4 * deviation for _, mean, deviation in curves)
    low, high = math.exp(min(low, -0.02)), math.exp(max(high, 0.02))
    x = np.linspace(low, high, 240)
    lines = []
    for index, (label, mean, deviation) in enumerate(curves):
        shape = np.exp(-((np.log(x) - mean) ** 2) / (2 * deviation**2)) / (x * deviation * math.sqrt(2 * math.pi))
        last = index == len(curves) - 1
        lines.append(Line(label, x, shape, color=0 if last else 6, dashed=not last))
    top = 1.08 * max(float(line.y.max()) for line in lines)
    frame = _Frame(low, high, 0.0, top, 190.0)
    below = x <= 1
    parts = []
    if below.any():
        area = frame.path(x[below], lines[-1].y[below])
        ends = f"L{frame.x(float(x[below][-1])):.1f} {frame.y(0):.1f}L{frame.x(float(x[0])):.1f} {frame.y(0):.1f}Z"
        parts.append(f'<path style="fill:var(--c0);fill-opacity:.25" d="{area}{ends}"/>')
    parts += frame.axes("λF / λ*", percent=False, vertical=False)
    for line in lines:
        dash = " dashed" if line.dashed else ""
        parts.append(f'<path class="line{dash}" style="stroke:var(--c{line.color})" d="{frame.path(line.x, line.y)}"/>')
    parts.append(f'<path class="target" d="M{frame.x(1):.1f} {_TOP}V{frame.y(0):.1f}"/>')
    legend = tuple((line.color, line.label, line.dashed) for line in lines)
    return Figure(title, _svg(title, frame.height, parts), (*legend, (1, "target λ*", False)), note)


def interval_chart(title: str, rows: Sequence[tuple[str, float, float, float]], *, note: str = "") -> Figure:
    """Returns shares with their intervals, a row each.

    Arguments:
        title: above the chart.
        rows: of each a label, the share and the ends of its interval, all in [0, 1].
        note: below the chart.
    """
    step, left = 34.0, 18.0
    height = step * len(rows) + 30
    place = lambda share: left + (WIDTH - 2 * left) * share  # noqa: E731
    parts = [
        f'<path class="grid" d="M{place(tick):.1f} 4V{height - 24:.1f}"/>'
        f'<text class="tick" text-anchor="middle" x="{place(tick):.1f}" y="{height - 8:.1f}">{tick:.0%}</text>'
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    for index, (label, share, low, high) in enumerate(rows):
        y = step * index + 14
        text = f"{100 * share:.1f}% ({100 * low:.1f} to {100 * high:.1f})"
        parts.append(
            f'<text x="{left}" y="{y:.1f}">{escape(_short(label, 24))}</text>'
            f'<text class="tick" text-anchor="end" x="{WIDTH - left}" y="{y:.1f}">{text}</text>'
            f'<rect class="track" x="{left}" y="{y + 6:.1f}" width="{WIDTH - 2 * left}" height="7" rx="3.5"/>'
            f'<rect style="fill:var(--c0)" x="{left}" y="{y + 6:.1f}" width="{place(share) - left:.1f}" height="7" '
            f'rx="3.5"/><path class="whisker" d="M{place(low):.1f} {y + 9.5:.1f}H{place(high):.1f}'
            f'M{place(low):.1f} {y + 5.5:.1f}v8M{place(high):.1f} {y + 5.5:.1f}v8"/>'
        )
    return Figure(title, _svg(title, height, parts), (), note)


def bar_chart(
    title: str, labels: Sequence[str], series: Sequence[tuple[str, Sequence[float]]], *, note: str = ""
) -> Figure:
    """Returns shares in [0, 1] as bars beside one another.

    Arguments:
        title: above the chart.
        labels: of the groups of bars.
        series: a name and a share for each group.
        note: below the chart.
    """
    frame = _Frame(0.0, float(len(labels)), 0.0, 1.0, 180.0)
    parts = frame.axes("", percent=True, horizontal=False)
    width = 0.8 / len(series)
    for color, (name, values) in enumerate(series):
        for index, value in enumerate(values):
            left, top = frame.x(index + 0.1 + color * width), frame.y(value)
            size = frame.x(width) - frame.x(0)
            parts.append(
                f'<rect style="fill:var(--c{color})" x="{left:.1f}" y="{top:.1f}" width="{size:.1f}" '
                f'height="{frame.y(0) - top:.1f}"><title>{escape(labels[index])}, {escape(name)}: {value:.1%}</title>'
                "</rect>"
            )
    every = math.ceil(len(labels) / 12)
    parts += [
        f'<text class="tick" text-anchor="middle" x="{frame.x(index + 0.5):.1f}" y="{frame.y(0) + 16:.1f}">'
        f"{escape(_short(label, max(3, 44 // min(len(labels), 12))))}</text>"
        for index, label in enumerate(labels)
        if index % every == 0
    ]
    legend = tuple((color, name, False) for color, (name, _) in enumerate(series))
    return Figure(title, _svg(title, frame.height, parts), legend, note)


def heat_map(
    title: str,
    values: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    limit: float | None = None,
    marked: Iterable[tuple[int, int]] = (),
    written: bool = False,
    key: str = "",
    note: str = "",
) -> Figure:
    """Returns a table of values as colours: warm above 0, cool below, the stronger the farther.

    Arguments:
        title: above the map.
        values: shape (rows, columns); NaN is left empty.
        rows: names of rows.
        columns: names of columns.
        limit: the value of the strongest colour; the largest magnitude if not given.
        marked: places with a frame.
        written: whether values are written into their places, as whole numbers.
        key: by which the page's script finds the places, to change them.
        note: below the map.
    """
    finite = np.abs(values[np.isfinite(values)])
    limit = limit or max(float(finite.max()) if finite.size else 0.0, 1e-9)
    left = 10 + 6.2 * max(len(_short(row, 12)) for row in rows)
    columns = [_short(column, 12) for column in columns]
    longest = 6.4 * max(len(column) for column in columns)
    slanted = longest > 24  # names of columns, where they are longer than a place is wide
    head = 10 + 0.87 * longest if slanted else 18.0
    wide = (WIDTH - left - (0.5 * longest if slanted else 4)) / len(columns)
    tall = min(20.0, max(wide, 15.0))
    parts = []
    for column, name in enumerate(columns):
        x = left + (column + 0.5) * wide
        turned = "rotate(-60)" if slanted else ""
        anchor = "start" if slanted else "middle"
        parts.append(
            f'<text class="tick" text-anchor="{anchor}" transform="translate({x + 3 * slanted:.1f} {head - 4:.1f})'
            f'{turned}">{escape(name)}</text>'
        )
    for row, name in enumerate(rows):
        y = head + row * tall
        parts.append(
            f'<text class="tick" text-anchor="end" x="{left - 5:.1f}" y="{y + tall / 2 + 4:.1f}">'
            f"{escape(_short(name, 12))}</text>"
        )
        for column in range(len(columns)):
            value = float(values[row, column])
            if not math.isfinite(value):
                continue
            x, strength = left + column * wide, min(abs(value) / limit, 1.0)
            number = f"{value:.0f}" if written else f"{value:.3g}"
            place = f' data-place="{escape(key)}"' if key else ""
            parts.append(
                f'<rect class="{"warm" if value >= 0 else "cool"}" fill-opacity="{strength:.2f}"{place} '
                f'x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" width="{wide - 1:.1f}" height="{tall - 1:.1f}">'
                f"<title>{escape(name)}, {escape(columns[column])}: {number}</title></rect>"
            )
            if written and value:
                ink = ' class="over"' if strength > 0.55 else ""
                parts.append(
                    f'<text{ink} text-anchor="middle" x="{x + wide / 2:.1f}" y="{y + tall / 2 + 4:.1f}">{number}</text>'
                )
    for row, column in marked:
        parts.append(
            f'<rect class="mark" x="{left + column * wide + 1:.1f}" y="{head + row * tall + 1:.1f}" '
            f'width="{wide - 2:.1f}" height="{tall - 2:.1f}"/>'
        )
    return Figure(title, _svg(title, head + tall * len(rows) + 4, parts), (), note)


def picture(pixels: np.ndarray, description: str) -> Markup:
    """Returns an image of pixels in [0, 1], shape (H, W, 1) or (H, W, 3), as an `img` that holds its own data."""
    levels = np.round(255 * np.clip(pixels, 0, 1)).astype(np.uint8)
    image = Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels[..., :3])
    file = io.BytesIO()
    image.save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    return Markup('<img alt="{}" src="data:image/png;base64,{}">').format(description, data)


class _Frame(NamedTuple):
    """Axes from x_low to x_high and from y_low to y_high in a chart of some height."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    height: float

    @property
    def high(self) -> float:
        return self.height - _TOP - _BOTTOM

    def x(self, value: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (value - self.x_low) / (self.x_high - self.x_low)

    def y(self, value: float) -> float:
        return _TOP + self.high * (self.y_high - value) / (self.y_high - self.y_low)

    def path(self, x: np.ndarray, y: np.ndarray) -> str:
        words, begun = [], False
        for a, b in zip(x, y, strict=True):
            if math.isfinite(b):
                words.append(f"{'L' if begun else 'M'}{self.x(float(a)):.1f} {self.y(float(b)):.1f}")
            begun = bool(math.isfinite(b))
        return "".join(words)

    def axes(
        self, x_label: str, *, percent: bool, powers: bool = False, vertical: bool = True, horizontal: bool = True
    ) -> list[str]:
        parts = []
        floor = self.height - _BOTTOM
        for tick in ticks(self.y_low, self.y_high, 5) if vertical else ():
            text = f"{tick:.0%}" if percent else _number(tick)
            parts.append(
                f'<path class="grid" d="M{_LEFT} {self.y(tick):.1f}H{WIDTH - _RIGHT}"/>'
                f'<text class="tick" text-anchor="end" x="{_LEFT - 5}" y="{self.y(tick) + 4:.1f}">{text}</text>'
            )
        across = [
            tick for tick in ticks(self.x_low, self.x_high, 6) if tick == int(tick) or not (powers or x_label == EPOCH)
        ]
        for tick in across if horizontal else ():
            parts.append(
                f'<text class="tick" text-anchor="middle" x="{self.x(tick):.1f}" y="{floor + 15:.1f}">'
                f"{_number(10**tick if powers else tick)}</text>"
            )
        parts.append(f'<path class="axis" d="M{_LEFT} {floor:.1f}H{WIDTH - _RIGHT}"/>')
        middle = (_LEFT + WIDTH - _RIGHT) / 2
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{middle:.1f}" y="{self.height - 4:.1f}">'
            f"{escape(x_label)}</text>"
        )
        return parts


def ticks(low: float, high: float, most: int) -> list[float]:
    """Returns round values between two, at most so many.

    >>> ticks(0, 54, 6)
    [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    """
    unit = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (unit, 2 * unit, 5 * unit, 10 * unit, 20 * unit):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [round(index * step, 12) + 0.0 for index in range(first, last + 1)]


def _number(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _widened(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    if high - low < 1e-9 * max(1.0, abs(high)):
        return low - max(0.5, abs(low) * 0.1), high + max(0.5, abs(high) * 0.1)
    return low - share * (high - low), high + share * (high - low)


def _thinned(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns a curve of fewer points, of each group of neighbours the least and the largest, so that swings stay."""
    if len(x) <= 2 * _MOST_POINTS:
        return x, y
    kept: list[int] = []
    for group in np.array_split(np.arange(len(x)), _MOST_POINTS):
        finite = group[np.isfinite(y[group])]
        kept += (
            sorted({int(finite[y[finite].argmin()]), int(finite[y[finite].argmax()])}) if len(finite) else [group[0]]
        )
    return x[kept], y[kept]


def _svg(title: str, height: float, parts: Iterable[str]) -> Markup:
    return Markup(
        f'<svg viewBox="0 0 {WIDTH:g} {height:.0f}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
