"""`glow eval`: how well search finds and answers hold, measured against a judged set."""

from typing import Annotated, Literal

import typer

from server.cli.options import AsJson

REFUSED = 1

app = typer.Typer(help="Measure search and answers against a judged set.", no_args_is_help=True, rich_markup_mode=None)

Set = Annotated[
    str, typer.Argument(metavar="SET", help="A folder in the BEIR layout, or `demo`: the set about the demo firm.")
]
InOrganization = Annotated[
    str | None,
    typer.Option(
        "--organization",
        metavar="SLUG",
        help="Whose documents are searched; without it those of the set's corpus, in an organization of its own.",
    ),
]
As = Annotated[
    str | None,
    typer.Option("--user", metavar="EMAIL", help="As whom is asked; without it, as the service account."),
]


@app.command("retrieval")
def retrieval(
    judged: Set,
    organization: InOrganization = None,
    user: As = None,
    mode: Annotated[Literal["hybrid", "lexical", "vector"], typer.Option(help="How is searched.")] = "hybrid",
    k: Annotated[int, typer.Option(min=1, max=100, help="The depth of recall.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Ask the set's questions of the search: nDCG@10, recall, reciprocal rank, latency."""
    from server.cli import evaluating

    _exit_with(evaluating.retrieval(judged, organization, user, mode, k, as_json=as_json))


@app.command("weights")
def weights(
    judged: Set,
    organization: InOrganization = None,
    user: As = None,
    constant: Annotated[
        float | None, typer.Option(min=0, max=100, help="Of reciprocal ranks; without it, the one in force.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Try what words and meaning should count in a hybrid search: chosen on half the questions, judged on the rest."""
    from server.cli import weighing

    _exit_with(weighing.weights(judged, organization, user, constant, as_json=as_json))


@app.command("answers")
def answers(
    judged: Set = "demo",
    organization: InOrganization = None,
    user: As = None,
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="Who is to answer; `glow agents list`.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask the set's questions of the agent: citation precision, and whether it refuses what nothing answers."""
    from server.cli import evaluating

    _exit_with(evaluating.answers(judged, organization, user, agent, as_json=as_json))


def _exit_with(done: bool) -> None:
    if not done:
        raise typer.Exit(REFUSED)
