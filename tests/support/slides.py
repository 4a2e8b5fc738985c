"""Presentations as tests need them: packed by hand, with what a slide may hold."""

from tests.support.office import packed, relationships

_NAMES = (
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006" '
    'xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram"'
)


def deck(*slides: str, before: str = "", **parts: str) -> bytes:
    """A presentation of these slides (`slide`); `before`: what stands ahead of the first one's root element."""
    ids = "".join(f'<p:sldId id="{256 + number}" r:id="s{number}"/>' for number in range(len(slides)))
    named = "".join(
        f'<Relationship Id="s{number}" Type="t/slide" Target="slides/slide{number}.xml"/>'
        for number in range(len(slides))
    )
    held: dict[str, str | bytes] = {
        "[Content_Types].xml": "<Types xmlns='http://schemas.openxmlformats.org/package/2006/content-types'/>",
        "_rels/.rels": relationships(officeDocument="ppt/presentation.xml"),
        "ppt/presentation.xml": f"<p:presentation {_NAMES}><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": relationships().replace("</R", named + "</R"),
    }
    for number, each in enumerate(slides):
        held[f"ppt/slides/slide{number}.xml"] = (before if number == 0 else "") + each
    return packed({**held, **parts})


def slide(*shapes: str, attributes: str = "") -> str:
    """A slide of these shapes."""
    return f"<p:sld {_NAMES} {attributes}><p:cSld><p:spTree>{''.join(shapes)}</p:spTree></p:cSld></p:sld>"


def notes(text: str) -> str:
    """The part that holds what the speaker wants to say."""
    shapes = shape(text, place='type="body"') + shape("7", place='type="sldNum"')
    return f"<p:notes {_NAMES}><p:cSld><p:spTree>{shapes}</p:spTree></p:cSld></p:notes>"


def shape(*paragraphs: str, place: str | None = None, hidden: bool = False) -> str:
    """A shape with a paragraph for each text; `place`: the attributes of the placeholder that it fills."""
    placeholder = "" if place is None else f"<p:ph {place}/>"
    own = f'<p:cNvPr id="2" name="n" {"hidden=" + chr(34) + "1" + chr(34) if hidden else ""}/>'
    words = "".join(each if each.startswith("<") else f"<a:p><a:r><a:t>{each}</a:t></a:r></a:p>" for each in paragraphs)
    return (
        f"<p:sp><p:nvSpPr>{own}<p:cNvSpPr/><p:nvPr>{placeholder}</p:nvPr></p:nvSpPr><p:txBody>{words}</p:txBody></p:sp>"
    )


def table(*rows: tuple[str, ...]) -> str:
    """A frame around a table."""
    cells = "".join(
        "<a:tr>"
        + "".join(f"<a:tc><a:txBody><a:p><a:r><a:t>{cell}</a:t></a:r></a:p></a:txBody></a:tc>" for cell in row)
        + "</a:tr>"
        for row in rows
    )
    return (
        f"<p:graphicFrame><a:graphic><a:graphicData><a:tbl>{cells}</a:tbl></a:graphicData></a:graphic></p:graphicFrame>"
    )


def diagram(*words: str) -> str:
    """The data of a drawn diagram, named by the relationship `d`."""
    points = "".join(f"<dgm:pt><dgm:t><a:p><a:r><a:t>{each}</a:t></a:r></a:p></dgm:t></dgm:pt>" for each in words)
    return f"<dgm:dataModel {_NAMES}><dgm:ptLst>{points}</dgm:ptLst></dgm:dataModel>"


DRAWN = '<p:graphicFrame><a:graphic><a:graphicData><dgm:relIds r:dm="d"/></a:graphicData></a:graphic></p:graphicFrame>'
DRAWN_THERE = relationships().replace(
    "</R", '<Relationship Id="d" Type="t/diagramData" Target="../diagrams/data1.xml"/></R'
)
