"""Draws one chart with matplotlib: the program of the short-lived process, and nothing that the server itself imports.

Started by server.charts.painter as `python -m server.charts.drawing FORMAT`, a picture as JSON on standard input, the
file on standard output. The same picture gives the same bytes: no date, a fixed salt, the fonts that come along.
"""

import contextlib
import io
import resource
import sys
from typing import Any
from xml.sax.saxutils import escape

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from pydantic import TypeAdapter

from server.charts.picture import Picture, PictureFormat

CPU_S = 20
MEMORY_BYTES = 1 << 30
WIDTH_IN = 9.0
DPI: dict[PictureFormat, int] = {"svg": 72, "png": 144}
LEGEND_COLUMNS = 4
MOST_TICKS = 14
LEVEL_TICKS = 7
"""Names of so many bars stand side by side; more of them have to lean."""
FEW_BARS, FEW_ROWS = 8, 3

# Okabe and Ito's colours, told apart by who sees no red or no green; the hatches tell them apart in grey.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
HATCHES = ("", "//", "..", "\\\\", "xx", "oo")
INK, PALE = "#222222", "#d9d9d9"

Drawn = Any
"""The library's own objects, whose methods are typed in part only."""

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.color": "white",
    "hatch.linewidth": 0.8,
    "svg.hashsalt": "glow",
    # Words stay words: they can be read aloud, searched and selected.
    "svg.fonttype": "none",
    # A name with dollar signs is a name, not a formula.
    "text.parse_math": False,
}


def main(format: PictureFormat) -> None:
    """One picture in, one file out."""
    confine()
    picture = TypeAdapter(Picture).validate_json(sys.stdin.buffer.read())
    sys.stdout.buffer.write(drawn(picture, format))


def confine() -> None:
    """Time and memory, held by the kernel."""
    for kind, amount in ((resource.RLIMIT_CPU, CPU_S), (resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CORE, 0)):
        # Some systems refuse some of them.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (amount, amount))


def drawn(picture: Picture, format: PictureFormat) -> bytes:
    """The chart as a file."""
    use_own_fonts()
    settings: Drawn = mpl.rcParams
    settings.update(STYLE)
    bounded = picture.bounded()
    figure = _figure(bounded, DPI[format])
    return _svg(figure, bounded) if format == "svg" else _png(figure, bounded)


def use_own_fonts() -> None:
    """Only the fonts that come with the library, whatever the machine has besides: the picture is the same anywhere."""
    manager = font_manager.fontManager
    own = mpl.get_data_path()
    manager.ttflist = [font for font in manager.ttflist if font.fname.startswith(own)]


def _figure(picture: Picture, dpi: int) -> Figure:
    bars = max(len(picture.x), 1)
    per_bar = 0.34 if picture.stacked else 0.2 + 0.2 * len(picture.series)
    height = 4.8 if picture.in_time else min(max(2.2 + per_bar * bars, 3.4), 12.0)
    figure = Figure(figsize=(WIDTH_IN, height), dpi=dpi, layout="constrained", facecolor="white")
    axes: Drawn = figure.add_subplot()
    named = sum(any(series.values) for series in picture.series)
    lines = -(-named // LEGEND_COLUMNS) if picture.x else 0
    axes.set_title(picture.title, loc="left", fontsize=13, fontweight="bold", pad=10 + 17 * lines)
    if not picture.x:
        _nothing(axes)
        return figure
    draw = _columns if picture.in_time else _rows
    draw(axes, picture)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if named:
        look = {"frameon": False, "borderaxespad": 0.2, "fontsize": 9}
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=min(named, LEGEND_COLUMNS), **look)
    return figure


def _nothing(axes: Drawn) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, "Nothing in this period.", ha="center", va="center", fontsize=12, transform=axes.transAxes)


def _columns(axes: Drawn, picture: Picture) -> None:
    """Bars that stand in time, from left to right."""
    places = range(len(picture.x))
    for at, base, width, values, look in _parts(picture):
        axes.bar([place + at for place in places], values, width, bottom=base, **look)
    step = -(-len(picture.x) // MOST_TICKS)
    shown = list(places)[::step]
    axes.set_xticks(shown, [picture.x[place] for place in shown])
    if len(shown) > LEVEL_TICKS:
        axes.tick_params(axis="x", labelrotation=30)
        for label in axes.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")
    # A few bars stand in the middle, and do not grow into walls.
    aside = max(FEW_BARS - len(picture.x), 0) / 2
    axes.set_xlim(-0.7 - aside, len(picture.x) - 0.3 + aside)
    axes.set_ylim(0, _end(picture))
    axes.set_xlabel(picture.x_label)
    axes.set_ylabel(picture.y_label)
    axes.grid(axis="y", color=PALE, linewidth=0.7)
    _count_on(axes.yaxis)


def _rows(axes: Drawn, picture: Picture) -> None:
    """Bars that have names, the first one on top, with its sum at the end."""
    places = range(len(picture.x))
    for at, base, width, values, look in _parts(picture):
        axes.barh([place + at for place in places], values, width, left=base, **look)
        if not picture.stacked:
            _write_ends(axes, [place + at for place in places], values)
    if picture.stacked:
        _write_ends(axes, [float(place) for place in places], _sums(picture))
    axes.set_yticks(list(places), list(picture.x))
    aside = max(FEW_ROWS - len(picture.x), 0) / 2
    axes.set_ylim(len(picture.x) - 0.4 + aside, -0.6 - aside)
    axes.set_xlim(0, _end(picture))
    axes.set_xlabel(picture.y_label)
    axes.set_ylabel(picture.x_label)
    axes.grid(axis="x", color=PALE, linewidth=0.7)
    _count_on(axes.xaxis)


def _parts(picture: Picture) -> list[tuple[float, list[float], float, list[float], dict[str, Any]]]:
    """Each series' bars: where they stand beside their place, on what, how wide, how long, and how they look."""
    count = len(picture.series)
    width = 0.72 if picture.stacked else 0.8 / count
    base = [0.0] * len(picture.x)
    parts: list[tuple[float, list[float], float, list[float], dict[str, Any]]] = []
    for number, series in enumerate(picture.series):
        values = list(series.values)
        look = {
            # A colour that nothing has is not explained; the library leaves out what begins so.
            "label": series.label if any(series.values) else "_",
            "color": COLOURS[number % len(COLOURS)],
            "hatch": HATCHES[number % len(HATCHES)],
            "edgecolor": "white",
            "linewidth": 0.5 if len(picture.x) <= 120 else 0.0,
        }
        at = 0.0 if picture.stacked else (number - (count - 1) / 2) * width
        parts.append((at, base, width, values, look))
        if picture.stacked:
            base = [below + value for below, value in zip(base, values, strict=True)]
    return parts


def _sums(picture: Picture) -> list[float]:
    return [sum(values) for values in zip(*(series.values for series in picture.series), strict=True)]


def _end(picture: Picture) -> float:
    """Where the axis of counts ends: behind the longest bar and what is written at it."""
    lengths = _sums(picture) if picture.stacked else [value for each in picture.series for value in each.values]
    return max(*lengths, 0.0) * 1.1 or 1.0


def _write_ends(axes: Drawn, places: list[float], values: list[float]) -> None:
    for place, value in zip(places, values, strict=True):
        axes.annotate(counted(value), (value, place), (4, 0), textcoords="offset points", va="center", fontsize=8.5)


def _count_on(axis: Drawn) -> None:
    axis.set_major_locator(MaxNLocator(nbins=7, integer=True, min_n_ticks=2))
    axis.set_major_formatter(FuncFormatter(_tick))


def _tick(value: float, _place: object) -> str:
    return counted(value)


def counted(value: float) -> str:
    """A number as people read it: 12,500; of millions and more, three figures."""
    for size, letter in ((1e9, " G"), (1e6, " M")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.2f}"


def _png(figure: Figure, picture: Picture) -> bytes:
    file = io.BytesIO()
    metadata = {"Software": None, "Title": picture.title, "Description": picture.description}
    canvas: Drawn = FigureCanvasAgg(figure)
    canvas.print_png(file, metadata=metadata, pil_kwargs={"dpi": (DPI["png"], DPI["png"])})
    return file.getvalue()


def _svg(figure: Figure, picture: Picture) -> bytes:
    file = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    canvas: Drawn = FigureCanvasSVG(figure)
    canvas.print_svg(file, metadata=nothing)
    return _told(file.getvalue(), picture).encode()


def _told(svg: str, picture: Picture) -> str:
    """The picture with its title and its figures in words, where screen readers look for them."""
    start = svg.index("<svg ")
    end = svg.index(">", start)
    told = f'<title id="title">{escape(picture.title)}</title><desc id="figures">{escape(picture.description)}</desc>'
    # What stands before is a document type that names another machine's file.
    head = '<?xml version="1.0" encoding="utf-8"?>\n'
    return f'{head}{svg[start:end]} role="img" aria-labelledby="title figures">{told}{svg[end + 1 :]}'


if __name__ == "__main__":
    main("svg" if sys.argv[1] == "svg" else "png")
