"""Builds what the judged set has beside its questions: run by hand after editing those or a document, never otherwise.

    python -m demo.build_judged

Written from judged/queries.jsonl and the documents of acme-audit: judged/corpus.jsonl, the documents as they are read,
under <folder>/<file>; and judged/qrels/test.tsv, each document in which words stand that answer a question.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from knowledge.parse.media import media_type_of
from knowledge.parse.reader import parse_document
from server.demo.firm import DemoOrganization, load_firm

HERE = Path(__file__).parent
JUDGED = HERE / "judged"
ORGANIZATION = "acme-audit"


def corpus() -> Iterator[str]:
    """The lines of corpus.jsonl."""
    organization = _organization()
    for document in organization.documents:
        place = f"{document.folder}/{document.file}"
        content = (HERE / "documents" / organization.slug / place).read_bytes()
        text = parse_document(content, media_type=media_type_of(content, document.file)).text
        yield json.dumps({"_id": place, "title": document.title, "text": text}, ensure_ascii=False)


def judgements() -> Iterator[str]:
    """The lines of qrels/test.tsv."""
    yield "query-id\tcorpus-id\tscore"
    for line in (JUDGED / "queries.jsonl").read_text("utf-8").splitlines():
        query = json.loads(line)
        for document in dict.fromkeys(answer["document"] for answer in query["metadata"]["answers"]):
            yield f"{query['_id']}\t{document}\t1"


def _organization() -> DemoOrganization:
    return next(each for each in load_firm(HERE).organizations if each.slug == ORGANIZATION)


def main() -> None:
    """Write both files."""
    (JUDGED / "qrels").mkdir(exist_ok=True)
    (JUDGED / "corpus.jsonl").write_text("\n".join(corpus()) + "\n", "utf-8")
    (JUDGED / "qrels" / "test.tsv").write_text("\n".join(judgements()) + "\n", "utf-8")


if __name__ == "__main__":
    main()
