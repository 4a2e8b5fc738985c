"""Heads of the ledger, sent to where the database's owner cannot change them: a file, S3, a webhook."""
