"""Schedules: which task is run, unattended, at which times of which clock."""
