"""The routes of the interface that are not chat: lists and gets under row level security, acts through the gate."""
