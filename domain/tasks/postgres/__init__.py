"""Tasks and their runs in SQL, and the progress that the worker writes beside them."""
