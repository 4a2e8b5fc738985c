"""Where the bytes of files are kept outside of the database: a folder of this machine, or a bucket of S3."""
