"""Several processes that do one work, kept alive by the one that started them."""
