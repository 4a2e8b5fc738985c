"""Judged sets, and what is measured against them: how well search finds, and how well answers hold."""
