"""The Slack door: mentions, direct messages and buttons in, streamed answers and questions out."""
