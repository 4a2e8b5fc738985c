"""What is drawn: a chart as data, bounded and cleaned of what no picture can show."""

from dataclasses import dataclass
from typing import Literal

PictureFormat = Literal["svg", "png"]

MOST_BARS = 20
"""Of bars that have names; what is beyond them is summed up in one more, which stands for two bars at least."""
LONGEST_NAME = 40
LONGEST_TITLE = 100
LONGEST_DESCRIPTION = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSeries:
    """One colour."""

    label: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One chart; `in_time`: its bars stand in their own order, from left to right."""

    title: str
    description: str
    """The figures in words, for who cannot see them."""
    x_label: str
    y_label: str
    stacked: bool
    in_time: bool
    x: tuple[str, ...]
    series: tuple[PictureSeries, ...]

    def bounded(self) -> "Picture":
        """As it can be drawn: names cut, characters that XML or a font cannot hold replaced, few enough bars."""
        return Picture(
            title=cut(self.title, LONGEST_TITLE),
            description=cut(self.description, LONGEST_DESCRIPTION),
            x_label=cut(self.x_label, LONGEST_NAME),
            y_label=cut(self.y_label, LONGEST_NAME),
            stacked=self.stacked,
            in_time=self.in_time,
            x=tuple(cut(name, LONGEST_NAME) for name in self._names()),
            series=tuple(
                PictureSeries(label=cut(each.label, LONGEST_NAME), values=self._values(each)) for each in self.series
            ),
        )

    @property
    def _folded(self) -> bool:
        return not self.in_time and len(self.x) > MOST_BARS + 1

    def _names(self) -> tuple[str, ...]:
        if not self._folded:
            return self.x
        return (*self.x[:MOST_BARS], f"({len(self.x) - MOST_BARS} more)")

    def _values(self, series: PictureSeries) -> tuple[float, ...]:
        if not self._folded:
            return series.values
        return (*series.values[:MOST_BARS], sum(series.values[MOST_BARS:]))


def cut(text: str, length: int) -> str:
    """The text on one line, at most so long, of characters that can be shown."""
    line = " ".join("".join(character if character.isprintable() else "\ufffd" for character in text).split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "\u2026"
