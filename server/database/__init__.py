"""The database's house: how PostgreSQL is found or started, prepared, migrated, and reached by its four logins."""
