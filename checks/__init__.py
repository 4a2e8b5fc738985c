"""What `make check` asks of the tree beside the linters: small scripts, each run as `python -m checks.NAME`."""
