"""Documents: parsed, chunked, indexed and searched, under the permissions of whoever asks."""
