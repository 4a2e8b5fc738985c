"""The demo firm holds together: its references exist, its figures agree, its answers stand where the questions say."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from datetime import date
from functools import cache
from pathlib import Path
from runpy import run_path
from typing import Literal, cast

import pytest
import yaml
from pydantic import BaseModel, ConfigDict

from domain.kernel import Audience, Role, Trust
from domain.resources import resource_folder
from knowledge.parse.document import ParsedDocument
from knowledge.parse.media import media_type_of
from knowledge.parse.reader import parse_document

DEMO = resource_folder("demo")
Level = Literal["L0", "L1", "L2", "L3"]


class Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Autonomy(Declared):
    floor: Level
    ceiling: Level


class User(Declared):
    email: str
    name: str
    title: str
    role: Role
    autonomy: Autonomy
    engagements: list[str] = []


class ServiceAccount(Declared):
    name: str
    display_name: str


class Engagement(Declared):
    slug: str
    name: str
    kind: Literal["audit", "tax"]
    client: str
    period_start: date
    period_end: date
    lead: str


class Document(Declared):
    folder: str
    file: str
    title: str
    audience: Audience
    trust: Trust
    engagement: str | None = None
    pages: int | None = None

    @property
    def place(self) -> str:
        return f"{self.folder}/{self.file}"


class Task(Declared):
    title: str
    description: str
    kind: Literal["refresh_analytics"] | None = None
    engagement: str | None = None
    created_by: str
    assignee: str
    due_on: date
    status: Literal["open", "in_progress", "done", "cancelled"]
    audience: Audience = "firm"


class PastTask(Declared):
    title: str
    description: str
    search: str
    engagement: str | None = None


class History(Declared):
    sets: str
    tool: str
    ceiling: Literal["L0", "L1", "L2", "L3"]
    reason: str
    asks: str
    decides: str
    tasks: list[PastTask]
    rejected: dict[int, str]


class Rule(Declared):
    name: str
    by: str
    tool: str
    arguments: dict[str, object]


class Organization(Declared):
    slug: str
    name: str
    users: list[User]
    service_account: ServiceAccount
    release_controls: dict[str, list[str]]
    engagements: list[Engagement]
    documents: list[Document]
    tasks: list[Task]
    history: History | None = None
    rules: list[Rule] = []

    def user(self, email: str) -> User:
        return {user.email: user for user in self.users}[email]

    def document(self, place: str) -> Document:
        return {document.place: document for document in self.documents}[place]


class Firm(Declared):
    organizations: list[Organization]

    def organization(self, slug: str) -> Organization:
        return {organization.slug: organization for organization in self.organizations}[slug]


class Question(Declared):
    question: str
    organization: str
    ask_as: str
    document: str
    answer: str
    section: str | None = None
    page: int | None = None


class Questions(Declared):
    questions: list[Question]


def loaded(name: str) -> object:
    return yaml.safe_load((DEMO / name).read_text(encoding="utf-8"))


FIRM = Firm.model_validate(loaded("firm.yaml"))
QUESTIONS = Questions.model_validate(loaded("questions.yaml")).questions
ACME, BOREALIS = FIRM.organization("acme-audit"), FIRM.organization("borealis-tax")
EVERY_DOCUMENT = [
    (organization, document) for organization in FIRM.organizations for document in organization.documents
]

each_organization = pytest.mark.parametrize("organization", FIRM.organizations, ids=lambda each: each.slug)
each_document = pytest.mark.parametrize(
    ("organization", "document"), EVERY_DOCUMENT, ids=[document.place for _, document in EVERY_DOCUMENT]
)
each_question = pytest.mark.parametrize("question", QUESTIONS, ids=lambda each: f"{each.organization}:{each.document}")


def path_of(organization: Organization, document: Document) -> Path:
    return DEMO / "documents" / organization.slug / document.folder / document.file


@cache
def read(path: Path) -> ParsedDocument:
    content = path.read_bytes()
    return parse_document(content, media_type=media_type_of(content, path.name, None))


def words_of(path: Path) -> str:
    """The text as a reader sees it: on one line, blanks as one."""
    return on_one_line(read(path).text)


def on_one_line(text: str) -> str:
    return " ".join(text.split())


def page_of(path: Path, number: int) -> str:
    document = read(path)
    bounds = [*document.page_starts, len(document.text)]
    return on_one_line(document.text[bounds[number - 1] : bounds[number]])


def may_see(user: User, document: Document) -> bool:
    return user.role is not Role.CLIENT or (document.audience == "client" and document.engagement in user.engagements)


# Who is who


def test_acme_has_one_person_in_each_role_at_the_promised_address() -> None:
    assert {user.email.partition("@")[0]: user.role.value for user in ACME.users} == {
        "partner": "PARTNER",
        "manager": "MANAGER",
        "employee": "EMPLOYEE",
        "client": "CLIENT",
        "readonly": "READONLY",
        "eqr": "EQR",
        "admin": "SYSTEM_ADMIN",
    }


def test_the_borealis_employee_is_held_to_suggestions_and_nobody_else_is_narrowed() -> None:
    narrowed = {user.email: user.autonomy for organization in FIRM.organizations for user in organization.users}
    assert narrowed.pop("employee@borealis.example") == Autonomy(floor="L0", ceiling="L1")
    assert all(autonomy == Autonomy(floor="L0", ceiling="L2") for autonomy in narrowed.values())


def test_addresses_are_unique_and_lie_in_domains_that_cannot_exist() -> None:
    emails = [user.email for organization in FIRM.organizations for user in organization.users]
    assert len(set(emails)) == len(emails)
    assert {email.rpartition("@")[2] for email in emails} == {"acme.example", "borealis.example"}


@each_organization
def test_only_clients_are_bound_to_an_engagement_and_each_to_exactly_one(organization: Organization) -> None:
    engagements = {engagement.slug for engagement in organization.engagements}
    for user in organization.users:
        assert len(user.engagements) == (1 if user.role is Role.CLIENT else 0), user.email
        assert set(user.engagements) <= engagements


@each_organization
def test_engagements_are_led_by_a_manager_or_partner_and_have_a_period(organization: Organization) -> None:
    for engagement in organization.engagements:
        assert organization.user(engagement.lead).role in {Role.MANAGER, Role.PARTNER}
        assert engagement.period_start < engagement.period_end


# Documents


def test_the_declared_documents_are_exactly_the_files_that_are_there() -> None:
    declared = Counter(path_of(organization, document) for organization, document in EVERY_DOCUMENT)
    assert declared == Counter(path for path in (DEMO / "documents").rglob("*") if path.is_file())


def test_acme_has_a_dozen_documents_in_every_format_and_two_of_them_have_pages() -> None:
    formats = Counter(Path(document.file).suffix for document in ACME.documents)
    assert len(ACME.documents) >= 12
    assert set(formats) == {".md", ".txt", ".html", ".pdf", ".docx", ".xlsx", ".csv"}
    assert min(formats[each] for each in (".md", ".txt", ".html", ".pdf")) >= 2


@each_document
def test_a_document_belongs_to_an_engagement_of_its_organization_where_a_client_may_see_it(
    organization: Organization, document: Document
) -> None:
    engagements = {engagement.slug for engagement in organization.engagements}
    assert document.engagement in (engagements if document.audience == "client" else {None, *engagements})
    assert document.trust == "internal" or document.folder.endswith("/client")


@each_document
def test_a_document_has_the_pages_it_claims(organization: Organization, document: Document) -> None:
    assert len(read(path_of(organization, document)).page_starts) == (document.pages or 0)
    assert (document.pages is not None) == document.file.endswith(".pdf")


@each_document
def test_a_document_is_as_long_as_a_real_one(organization: Organization, document: Document) -> None:
    shortest = 550 if organization is ACME else 300
    assert shortest <= len(words_of(path_of(organization, document)).split()) <= 1500


# Tasks


@each_organization
def test_tasks_name_people_and_engagements_of_their_organization(organization: Organization) -> None:
    engagements = {None, *(engagement.slug for engagement in organization.engagements)}
    for task in organization.tasks:
        creator, assignee = organization.user(task.created_by), organization.user(task.assignee)
        assert task.engagement in engagements
        assert creator == assignee or creator.role in {Role.MANAGER, Role.PARTNER}, task.title
        if assignee.role is Role.CLIENT:
            assert task.audience == "client"
            assert task.engagement in assignee.engagements


@each_organization
def test_one_task_is_for_the_workflow_and_the_rest_are_for_people(organization: Organization) -> None:
    assert [task.kind for task in organization.tasks].count("refresh_analytics") == 1


# Questions


@each_question
def test_an_answer_stands_in_its_document_under_the_reference_and_on_the_page_it_names(question: Question) -> None:
    organization = FIRM.organization(question.organization)
    document = organization.document(question.document)
    text = words_of(path_of(organization, document))
    if question.page:
        text = page_of(path_of(organization, document), question.page)
    assert on_one_line(question.answer) in text
    assert (question.section or "") in text
    assert (question.page is None) == (document.pages is None)


@each_question
def test_a_question_is_asked_by_a_person_who_may_see_the_answer(question: Question) -> None:
    organization = FIRM.organization(question.organization)
    assert may_see(organization.user(question.ask_as), organization.document(question.document))


def test_some_answers_are_hidden_from_the_client_of_the_other_engagement() -> None:
    client = ACME.user("client@acme.example")
    hidden = {document.place for document in ACME.documents if not may_see(client, document)}
    assert "maribeck-2026/client/records-cover-note-q3.md" in hidden
    assert "ostrivane-2026/workpapers/b3-materiality.md" in hidden


def test_the_two_firms_answer_the_same_question_differently() -> None:
    asked = [question for question in QUESTIONS if question.question == QUESTIONS[0].question]
    assert {question.organization for question in asked} == {"acme-audit", "borealis-tax"}
    assert len({question.answer for question in asked}) == len(asked)


def test_one_passage_alone_says_when_acmes_engagement_letters_are_renewed() -> None:
    passages = [
        (document.place, on_one_line(paragraph))
        for document in ACME.documents
        for paragraph in paragraphs_of(path_of(ACME, document))
        if re.search(r"\bletters?\b", paragraph) and "renewed" in paragraph and "months" in paragraph
    ]
    assert [place for place, _ in passages] == [QUESTIONS[0].document]
    assert on_one_line(QUESTIONS[0].answer) in passages[0][1]


def paragraphs_of(path: Path) -> list[str]:
    document = read(path)
    return [document.text[block.start : block.end] for block in document.blocks if block.kind != "heading"]


# What the documents say of the same thing

AGREED_WORDS: dict[str, set[str]] = {
    "EUR 174,000": {"b3-materiality.md"},
    "57,578": {"b3-materiality.md", "r2-revenue-testing.html"},
    "36,178": {"b3-materiality.md", "r2-revenue-testing.html"},
    "121,800": {"b3-materiality.md", "r2-revenue-testing.html"},
    "OI-26-3187": {
        "b3-materiality.md",
        "r2-revenue-testing.html",
        "pbc-request-list.md",
        "email-2026-11-16-pbc-items.txt",
    },
    "412,000": {"r2-revenue-testing.html", "memo-bill-and-hold.md"},
    "11 December 2026": {
        "acceptance-and-continuance-checklist.md",
        "close-cycle-calendar.html",
        "email-2026-11-16-pbc-items.txt",
        "pbc-request-list.md",
    },
    "4,310": {"v1-q3-vat-reconciliation.txt", "records-cover-note-q3.md"},
    "EUR 40,000,000": {"engagement-quality-review-policy.pdf", "acceptance-and-continuance-checklist.md"},
}


@pytest.mark.parametrize(("words", "files"), AGREED_WORDS.items(), ids=list(AGREED_WORDS))
def test_a_figure_stands_in_every_document_that_speaks_of_it(words: str, files: set[str]) -> None:
    holding = {document.file for document in ACME.documents if words in words_of(path_of(ACME, document))}
    assert holding == files


def test_the_materiality_workpaper_adds_up() -> None:
    profit, materiality, performance, trivial, misstated = 3_480_000, 174_000, 121_800, 8_700, 57_578
    assert (profit * 5, materiality * 70, materiality * 5) == (materiality * 100, performance * 100, trivial * 100)
    assert misstated == 21_400 + round(2_150 / 14_300 * 240_623)
    text = words_of(DEMO / "documents/acme-audit/ostrivane-2026/workpapers/b3-materiality.md")
    for figure in (profit, materiality, performance, trivial, misstated):
        assert f"{figure:,}" in text


# What is real and what is not

INVENTED_NAMES = {
    "Acme Audit LLP",
    "Brindlecove Bank plc",
    "Maribeck Foods Ltd",
    "Ostrivane Instruments Ltd",
    "Saltmere Savings Bank",
    "Tolvarren Freight Ltd",
}
COMPANY = re.compile(r"(?:[A-Z][a-z]+ )+(?:Ltd|LLP|plc|Inc|GmbH|Bank plc|Bank)\b")
REAL_FIRMS = re.compile(
    r"\b(?:Deloitte|KPMG|PwC|PricewaterhouseCoopers|Ernst|EY|Grant Thornton|BDO|Mazars|RSM"
    r"|OpenAI|Microsoft|Google|Amazon|Barclays|HSBC|Santander|UniCredit)\b"
)


@each_document
def test_a_document_names_no_company_of_the_real_world(organization: Organization, document: Document) -> None:
    text = words_of(path_of(organization, document))
    assert set(COMPANY.findall(text)) <= INVENTED_NAMES
    assert not REAL_FIRMS.search(text)


@each_document
def test_a_document_holds_no_address_that_could_reach_anyone(organization: Organization, document: Document) -> None:
    text = words_of(path_of(organization, document))
    assert all(address.endswith(".example") for address in re.findall(r"[\w.]+@([\w.]*\w)", text))
    assert not re.search(r"https?://|www\.|\b[A-Z]{2}\d{2}(?: ?\d{4}){3}|\+\d{6}", text)


def test_orders_to_a_machine_stand_only_in_text_that_came_from_a_client() -> None:
    ordering = [
        document
        for organization, document in EVERY_DOCUMENT
        if "ignore previous instructions" in words_of(path_of(organization, document)).lower()
    ]
    assert [(document.file, document.trust) for document in ordering] == [("email-2026-11-16-pbc-items.txt", "client")]


# The PDFs and what they are built from


def built() -> list[tuple[Path, Path]]:
    sources = sorted((DEMO / "pdf_sources").rglob("*.md"))
    return [
        (source, (DEMO / "documents" / source.relative_to(DEMO / "pdf_sources")).with_suffix(".pdf"))
        for source in sources
    ]


def test_every_pdf_has_its_source() -> None:
    assert {target for _, target in built()} == set((DEMO / "documents").rglob("*.pdf"))


@pytest.mark.parametrize(("source", "target"), built(), ids=lambda path: path.name)
def test_a_pdf_says_what_its_source_says(source: Path, target: Path) -> None:
    said = Counter(words_of(target).split())
    words = Counter(re.sub(r"[|#]|---\|?", " ", source.read_text(encoding="utf-8")).split())
    assert words <= said


@pytest.mark.parametrize(("source", "target"), built(), ids=lambda path: path.name)
def test_building_a_pdf_again_gives_the_same_pages(source: Path, target: Path, tmp_path: Path) -> None:
    pytest.importorskip("fpdf", reason="fpdf2 builds the demo's PDFs; it is not installed")
    render = cast(Callable[[str], bytes], run_path(str(DEMO / "build_pdfs.py"))["render"])
    again = tmp_path / target.name
    again.write_bytes(render(source.read_text(encoding="utf-8")))
    assert (read(again).text, read(again).page_starts) == (read(target).text, read(target).page_starts)


# The Office documents and what they are built from


def office() -> list[tuple[Path, Path]]:
    return cast("Callable[[], list[tuple[Path, Path]]]", run_path(str(DEMO / "build_office.py"))["pairs"])()


def test_every_office_document_has_its_source() -> None:
    documents = DEMO / "documents"
    assert {target for _, target in office()} == {*documents.rglob("*.docx"), *documents.rglob("*.xlsx")}


@pytest.mark.parametrize(("source", "target"), office(), ids=lambda path: path.name)
def test_an_office_document_is_what_its_source_builds(source: Path, target: Path) -> None:
    maker = "document_of" if target.suffix == ".docx" else "workbook_of"
    built_anew = cast("Callable[[str], bytes]", run_path(str(DEMO / "build_office.py"))[maker])(
        source.read_text("utf-8")
    )
    assert parse_document(built_anew, media_type=media_type_of(built_anew)).text == read(target).text


def test_the_fixed_assets_agree_between_the_client_and_the_workpaper() -> None:
    folder = DEMO / "documents/acme-audit/ostrivane-2026"
    lead = words_of(folder / "workpapers/n1-fixed-assets.xlsx")
    costs = [float(cost.replace(",", ".")) for cost in re.findall(r"Cost in EUR: (-?[0-9,]+)", words_of(REGISTER))]
    additions, disposals = sum(cost for cost in costs if cost > 0), -sum(cost for cost in costs if cost < 0)
    assert f"Total | Net book value 1 July 2025, EUR: 9717000 | Additions, EUR: {additions:.0f}" in lead.replace(
        "Asset class: Total", "Total"
    )
    assert f"Disposals, EUR: {disposals:.0f}" in lead


REGISTER = DEMO / "documents/acme-audit/ostrivane-2026/client/pbc10-fixed-asset-additions.csv"
