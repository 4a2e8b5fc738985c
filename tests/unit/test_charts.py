"""Charts as pictures: the same bytes for the same figures, words that can be read, nothing that a name can break."""

import asyncio
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from server.charts.painter import MOST_WAITING, DrawingBusy, Painter
from server.charts.picture import LONGEST_NAME, MOST_BARS, Picture, PictureSeries, cut

SVG = "{http://www.w3.org/2000/svg}"
EVIL = "<script>alert(1)</script> & $x_1$ ]]> \x07\u202e %s"


def picture(*names: str, in_time: bool = False, stacked: bool = True) -> Picture:
    return Picture(
        title="Use of tools, 2026-11-01 to 2026-11-30",
        description="From 2026-11-01 to 2026-11-30: 12 tool calls.",
        x_label="Tool",
        y_label="Tool calls",
        stacked=stacked,
        in_time=in_time,
        x=names,
        series=(
            PictureSeries(label="Allowed", values=tuple(float(n) for n in range(len(names)))),
            PictureSeries(label="Denied", values=tuple(1.0 for _ in names)),
        ),
    )


async def drawn(asked: Picture) -> ET.Element:
    async with Painter() as painter:
        return ET.fromstring(await painter.draw(asked, "svg"))


def words(svg: ET.Element) -> list[str]:
    return [(each.text or "").strip() for each in svg.iter(f"{SVG}text")]


async def test_a_picture_says_what_it_shows_to_who_cannot_see_it() -> None:
    asked = picture("task_list", "task_get")
    svg = await drawn(asked)
    assert (svg.get("role"), svg.get("aria-labelledby")) == ("img", "title figures")
    title, description = svg[0], svg[1]
    assert (title.tag, title.get("id"), title.text) == (f"{SVG}title", "title", asked.title)
    assert (description.tag, description.get("id"), description.text) == (f"{SVG}desc", "figures", asked.description)
    assert {"task_list", "task_get", "Tool", "Tool calls", "Allowed", "Denied", asked.title} <= set(words(svg))


@pytest.mark.parametrize("in_time", [True, False])
async def test_no_name_becomes_markup_or_a_formula(in_time: bool) -> None:
    asked = replace(picture(EVIL, "plain", in_time=in_time), title=EVIL, description=EVIL, x_label=EVIL)
    svg = await drawn(asked)
    assert not list(svg.iter(f"{SVG}script"))
    assert {each.tag for each in svg.iter()} <= {
        f"{SVG}{name}"
        for name in ("svg", "title", "desc", "defs", "style", "g", "path", "use", "text", "clipPath", "rect", "pattern")
    }
    assert cut(EVIL, LONGEST_NAME) in words(svg)
    assert not [name for each in svg.iter() for name in each.attrib if name.startswith("on")]


async def test_the_same_figures_give_the_same_bytes() -> None:
    asked = picture("task_list", "task_get")
    async with Painter() as painter:
        first, again = await asyncio.gather(painter.draw(asked, "svg"), painter.draw(asked, "svg"))
        assert first == again
        png = await painter.draw(asked, "png")
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert b"Description" in png
    assert asked.title.encode() in png


async def test_nothing_to_show_is_said() -> None:
    assert "Nothing in this period." in words(await drawn(picture()))


def test_many_bars_are_summed_up_and_many_days_are_not() -> None:
    names = [f"tool_{number}" for number in range(500)]
    by_name, by_day = picture(*names).bounded(), picture(*names, in_time=True).bounded()
    assert len(by_name.x) == MOST_BARS + 1
    assert by_name.x[-1] == "(480 more)"
    assert [sum(series.values) for series in by_name.series] == [sum(range(500)), 500]
    assert by_name.bounded() == by_name
    assert len(by_day.x) == 500


async def test_who_comes_when_many_wait_is_turned_away() -> None:
    async with Painter() as painter:
        asked = [asyncio.create_task(painter.draw(picture("a"), "svg")) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(DrawingBusy):
            await painter.draw(picture("a"), "svg")
        for each in asked:
            each.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        assert await painter.draw(picture("a"), "svg"), "there is room again"


def test_the_server_never_loads_what_draws() -> None:
    program = "import server.app, sys; sys.exit('matplotlib' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
