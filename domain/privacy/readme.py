"""The words that go with an export, for the person whose data it is."""

from datetime import datetime

from domain.privacy.model import PARTS


def readme(organization: str, person: str, at: datetime) -> str:
    """README.txt of the archive."""
    files = "\n".join(f"  data/{part}.ndjson\n      {words}" for part, words in PARTS.items())
    return f"""Your data at {organization}

This archive holds what {organization} keeps about {person} in its agent hub (Prisma Glow),
as it was on {at:%d %B %Y, %H:%M} UTC.

Each file under data/ is plain text: one entry a line, in a form (JSON) that any
text editor opens. A file without a line means that nothing of that kind is kept. Times are UTC.
Where an entry names another one by its id, look for that id in the file of that kind.

{files}

manifest.json says how many entries each file has, and its SHA-256, so that you can tell whether
anybody changed it. The entry "privacy_export" or "privacy_export_own" of {organization}'s
activity record says that this archive was made, when, and by whom.

Not in here: documents of the firm and of its clients, what other people said or asked, and copies
of these entries that only make the service work (search words, the stream of each answer as it
was shown). Backups of the database hold the same data for as long as the firm keeps them.

You may ask {organization} to correct or erase this data. What it has to keep by law (that calls,
approvals, sign-offs and releases happened) stays, without your name.
"""
