"""What the offline model understands of plain sentences and commands."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.offline.dates import Period, read_day, read_period
from agent.offline.intents import (
    AskAutonomy,
    CancelRun,
    CheckRelease,
    CreateTask,
    Help,
    Intent,
    ListTasks,
    MarkTask,
    ReadDocument,
    Report,
    RunTask,
    Search,
    ShowCall,
    ShowTask,
    ShowTaskRun,
    ThingReference,
)
from agent.offline.reading import read_intent

TODAY = date(2026, 11, 22)  # a Sunday
ID = "0b6f5dfe-8a4b-4a37-9e32-0f7b8f3f8a11"
IT = ThingReference()
REFRESH = "refresh_analytics"


THIS_WEEK = Period(first=date(2026, 11, 16), last=date(2026, 11, 22))
LAST_MONTH = Period(first=date(2026, 10, 1), last=date(2026, 10, 31))
LAST_YEAR = Period(first=date(2025, 1, 1), last=date(2025, 12, 31))


@pytest.mark.parametrize(
    ("message", "intent"),
    [
        ("create a task to refresh the analytics", CreateTask(title="Refresh the analytics", kind=REFRESH)),
        (
            "Please create a task to refresh the analytics, and run it!",
            CreateTask(title="Refresh the analytics", kind=REFRESH, then_run=True),
        ),
        ("mark task Send the letter as done", MarkTask(task=ThingReference(title="Send the letter"), status="done")),
        ("Please mark the task in progress.", MarkTask(task=IT, status="in_progress")),
        (f"set task {ID} to cancelled", MarkTask(task=ThingReference(id=ID), status="cancelled")),
        (f"cancel run {ID}", CancelRun(run=ThingReference(id=ID))),
        ("stop the run", CancelRun(run=IT)),
        (
            f"Is the report release of {ID} ready?",
            CheckRelease(control="report_release", engagement_id=ID),
        ),
        ("is the plan freeze of Ostrivane ready?", CheckRelease(control="plan_freeze")),
        (
            "Is a filing needed for October?",
            Search(query="Is a filing needed for October?"),
        ),
        ("refresh the analytics", CreateTask(title="Refresh the analytics", kind=REFRESH, then_run=True)),
        (
            'Create a task called "Send PBC reminder" due 2026-12-01.',
            CreateTask(title="Send PBC reminder", due_on="2026-12-01"),
        ),
        (
            "could you make a new task: call the client by next Friday",
            CreateTask(title="Call the client", due_on="2026-11-27"),
        ),
        ("add a task to file the letter by hand", CreateTask(title="File the letter by hand")),
        ("/task Do it due tomorrow", CreateTask(title="Do it", due_on="2026-11-23")),
        ("create a task", Help(reason="A task needs a title.")),
        ("/task", Help(reason="A task needs a title.")),
        ("run it", RunTask(task=IT)),
        ("please run the task", RunTask(task=IT)),
        ("/run", RunTask(task=IT)),
        (f"run task {ID.upper()}", RunTask(task=ThingReference(id=ID))),
        (f"/run {ID}", RunTask(task=ThingReference(id=ID))),
        ("Run the task called “Send reminder”.", RunTask(task=ThingReference(title="Send reminder"))),
        ("start the audit of Ostrivane", Search(query="start the audit of Ostrivane")),
        ("list tasks", ListTasks(words="list tasks")),
        ("show me all my open tasks", ListTasks(words="show me all my open tasks")),
        ("what tasks are there?", ListTasks(words="what tasks are there?")),
        ("/tasks open", ListTasks(words="open")),
        ("Which tasks must be done before lock?", Search(query="Which tasks must be done before lock?")),
        ("show task Send reminder", ShowTask(task=ThingReference(title="Send reminder"))),
        (f"/task {ID}", ShowTask(task=ThingReference(id=ID))),
        (f"what is the status of task {ID}?", ShowTask(task=ThingReference(id=ID))),
        (f"status of run {ID}", ShowTaskRun(run=ThingReference(id=ID))),
        ("what is the status of the run?", ShowTaskRun(run=IT)),
        ("is it done?", ShowTaskRun(run=IT)),
        ("/status", ShowTaskRun(run=IT)),
        (f"/call {ID}", ShowCall(call_id=ID)),
        (f"what became of call {ID}?", ShowCall(call_id=ID)),
        ("/call 7", Help(reason="/call takes the id of a call.")),
        ("/call", ShowCall()),
        ("Was it approved?", ShowCall()),
        ("what became of my request?", ShowCall()),
        ("What may you do on your own?", AskAutonomy(words="What may you do on your own?")),
        ("may you run task_run?", AskAutonomy(words="may you run task_run?")),
        ("/autonomy task_run", AskAutonomy(words="task_run")),
        ("What may the agent do on its own at L2?", Search(query="What may the agent do on its own at L2?")),
        ("report", Report()),
        ("report approvals", Report(name="approvals")),
        ("Show me the tasks report", ListTasks(words="Show me the tasks report")),
        ("report on tasks this week", Report(name="tasks", period=THIS_WEEK)),
        ("report cost last month", Report(name="cost", period=LAST_MONTH)),
        ("make a cost report for last year", Report(name="cost", period=LAST_YEAR)),
        ("/report knowledge", Report(name="knowledge")),
        ("report activity", Report(name="activity")),
        ("Report the incident to the partner", Search(query="Report the incident to the partner")),
        ("How were the tools used last week?", Report(period=Period(first=date(2026, 11, 9), last=date(2026, 11, 15)))),
        ("/report yesterday", Report(period=Period(first=date(2026, 11, 21), last=date(2026, 11, 21)))),
        ("When is the auditor's report released?", Search(query="When is the auditor's report released?")),
        (f"read document {ID} page 3", ReadDocument(document_id=ID, page=3)),
        ("search bank confirmations", Search(query="bank confirmations")),
        ("search the documents for gifts", Search(query="gifts")),
        ("/search bank  letters", Search(query="bank letters")),
        ("/search", Help(reason="/search needs words to search for.")),
        ("/nothing at all", Help(reason="There is no command /nothing.")),
        ("  ", Help(reason="The message was empty.")),
        ("hello", Help()),
        ("/help", Help()),
        ("Who signs the engagement letter?", Search(query="Who signs the engagement letter?")),
        ("How do I create a task?", Search(query="How do I create a task?")),
    ],
)  # fmt: skip
def test_a_message_is_read_as_what_it_asks_for(message: str, intent: Intent) -> None:
    assert read_intent(message, TODAY) == intent


@given(st.text() | st.text(alphabet="/ atskrunepordlich0123456789-\n"))
def test_no_message_is_beyond_reading(message: str) -> None:
    assert isinstance(read_intent(message, TODAY), Intent)


@pytest.mark.parametrize(
    "message", ["what may you " + "a " * 50_000, "create a task " + "by until due " * 9_000, "/" * 9_999]
)
def test_a_long_message_is_read_quickly(message: str) -> None:
    assert isinstance(read_intent(message, TODAY), Intent)


@pytest.mark.parametrize(
    ("words", "day"),
    [
        ("2026-12-01", "2026-12-01"),
        ("1.12.2026", "2026-12-01"),
        ("1 December 2026", "2026-12-01"),
        ("the 1st of December", "2026-12-01"),
        ("Dec. 1st, 2026", "2026-12-01"),
        ("December 1", "2026-12-01"),
        ("1 March", "2027-03-01"),
        ("today", "2026-11-22"),
        ("Tomorrow.", "2026-11-23"),
        ("sunday", "2026-11-29"),
        ("next monday", "2026-11-23"),
        ("in two weeks", "2026-12-06"),
        ("in 10 days", "2026-12-02"),
        ("end of the month", "2026-11-30"),
        ("30 February", None),
        ("2026-13-01", None),
        ("99.99.9999", None),
        ("hand", None),
        ("", None),
    ],
)
def test_a_day_is_read_or_not_guessed_at(words: str, day: str | None) -> None:
    found = read_day(words, TODAY)
    assert (found.isoformat() if found else None) == day


@pytest.mark.parametrize(
    ("words", "first", "last"),
    [
        ("last 7 days", "2026-11-16", "2026-11-22"),
        ("this week", "2026-11-16", "2026-11-22"),
        ("last month", "2026-10-01", "2026-10-31"),
        ("this month", "2026-11-01", "2026-11-22"),
        ("last year", "2025-01-01", "2025-12-31"),
        ("this year", "2026-01-01", "2026-11-22"),
        ("from 1 November to 15 November 2026?", "2026-11-01", "2026-11-15"),
        ("since Monday", "2026-11-16", "2026-11-22"),
        ("since 1 December", "2025-12-01", "2026-11-22"),
    ],
)
def test_a_period_lies_in_the_past(words: str, first: str, last: str) -> None:
    assert read_period(words, TODAY) == Period(first=date.fromisoformat(first), last=date.fromisoformat(last))


@pytest.mark.parametrize(
    "words", ["by tool", "from here to there", "from 2026-11-10 to 2026-11-01", "since 2027-01-01"]
)
def test_no_period_is_made_up(words: str) -> None:
    assert read_period(words, TODAY) is None


@given(st.text(), st.dates())
def test_no_words_break_the_reading_of_days(words: str, today: date) -> None:
    read_day(words, today)


@given(words=st.sampled_from(["29 February", "last year", "last month", "in 99 weeks", "sunday"]), today=st.dates())
def test_no_day_breaks_the_reading_of_words(words: str, today: date) -> None:
    read_day(words, today)
    read_period(words, today)
