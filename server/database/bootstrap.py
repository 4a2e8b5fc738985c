"""What a superuser runs once, before any migration: the four logins, the database, and the `vector` extension."""

import hashlib
import hmac
from collections.abc import Callable, Mapping

from server.logins import DATABASE_NAME, Login

_INTRODUCTION = """\
-- Run once by a superuser, with psql 16 or newer, connected to any database of the server (it may be run again):
--   psql -X -v ON_ERROR_STOP=1 -v glow_owner_password=... -v glow_app_password=... \\
--     -v glow_recorder_password=... -v glow_service_password=... -f bootstrap.sql
-- Another name for the database: -v database=...   Then put the four URLs into the environment:
-- GLOW_OWNER_DATABASE_URL, DATABASE_URL (glow_app), GLOW_RECORDER_DATABASE_URL, GLOW_SERVICE_DATABASE_URL.
"""

_VARIABLES = f"""\
\\set ON_ERROR_STOP on
\\if :{{?database}}
\\else
  \\set database {DATABASE_NAME}
\\endif
"""

# One bootstrap at a time: roles and databases cannot be made by two at once, and the psql of a process that was killed
# goes on by itself. The lock belongs to the session, so it is taken again in the new database.
_ALONE = "SELECT pg_advisory_lock(7101000413) \\g /dev/null\n"

# Nothing that the password protects may be written to the server's log when the statement is logged.
_QUIET = "SET log_statement = 'none';\nSET log_min_duration_statement = -1;\n"

_ROLES = "".join(
    f"""\
SELECT 'CREATE ROLE {login}' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{login}') \\gexec
ALTER ROLE {login} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION
  PASSWORD :'{login}_password';
"""
    for login in Login
)

# C.UTF-8 by the builtin provider sorts and folds the same on every machine; it came with PostgreSQL 17.
_DATABASE = """\
SELECT format('CREATE DATABASE %I OWNER glow_owner TEMPLATE template0 ENCODING ''UTF8'' %s', :'database',
         CASE WHEN current_setting('server_version_num')::int >= 170000
              THEN 'LOCALE_PROVIDER builtin BUILTIN_LOCALE ''C.UTF-8'' LOCALE ''C''' ELSE 'LOCALE ''C.UTF-8''' END)
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \\gexec
"""

_GRANTS = f"""\
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO {", ".join(Login)};
\\connect :"database"
{_ALONE}CREATE EXTENSION IF NOT EXISTS vector;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO {", ".join(Login)};
"""


def bootstrap_sql() -> str:
    """The script, for psql; it takes the passwords as variables and does no harm when run again."""
    return f"{_INTRODUCTION}\n{_VARIABLES}\n{_ALONE}{_QUIET}{_ROLES}\n{_DATABASE}\n{_GRANTS}"


def bootstrap(run_script: Callable[[str], str], passwords: Mapping[str, str], *, database: str = DATABASE_NAME) -> None:
    """Runs the script on a server of our own, unless exactly this was done there before.

    `run_script` runs psql as superuser; `passwords` holds one for each login.
    """
    mark = _mark(passwords, database)
    asked = f"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = {_quoted(database)}"
    if run_script(asked) == mark:
        return
    variables = {"database": database} | {f"{login}_password": passwords[login] for login in Login}
    settings = "".join(f"\\set {name} {_quoted(value)}\n" for name, value in variables.items())
    # The mark comes last: creating a database is no part of a transaction, so a killed bootstrap must run again.
    run_script(f'{settings}{bootstrap_sql()}COMMENT ON DATABASE :"database" IS {_quoted(mark)};\n')


def _mark(passwords: Mapping[str, str], database: str) -> str:
    """Says that this script was run with these passwords, without telling them (the comment can be read by all)."""
    key = "\n".join(passwords[login] for login in Login)
    return "glow " + hmac.new(key.encode(), f"{database}\n{bootstrap_sql()}".encode(), hashlib.sha256).hexdigest()


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
