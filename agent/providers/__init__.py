"""The language models the hub can talk to over a wire, each behind the port of agent/model.py."""
