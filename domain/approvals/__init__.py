"""Durable questions to a person about one exact call."""
