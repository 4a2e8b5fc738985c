"""`glow doctor`: every finding as it is made, and what mends what is wrong."""

from collections.abc import AsyncGenerator

from server.cli.printing import say, say_json
from server.cli.running import run
from server.doctor.examination import examine
from server.doctor.finding import Finding
from server.doctor.machine import Address


def doctor(host: str, port: int, *, as_json: bool) -> bool:
    """Print the findings; False when anything is wrong."""
    found = run(_gathered(examine(Address(host=host, port=port)), shown=not as_json))
    wrong = sum(finding.state == "wrong" for finding in found)
    if as_json:
        say_json({"items": [_as_json(finding) for finding in found]})
    elif wrong:
        say(f"\n{wrong} of {len(found)} findings need mending.")
    else:
        say("\nNothing is wrong.")
    return wrong == 0


async def _gathered(findings: AsyncGenerator[Finding], *, shown: bool) -> list[Finding]:
    found: list[Finding] = []
    async for finding in findings:
        found.append(finding)
        if shown:
            say(_line(finding))
    return found


def _line(finding: Finding) -> str:
    line = f"{finding.state:6} {finding.part + ':':15} {finding.says}"
    return line if finding.mend is None else f"{line}\n{'':23}to mend: {finding.mend}"


def _as_json(finding: Finding) -> dict[str, str]:
    shown = {"part": finding.part, "state": str(finding.state), "says": finding.says}
    return shown if finding.mend is None else {**shown, "mend": finding.mend}
