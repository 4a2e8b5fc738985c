"""Pages from the web, fetched in such a way that no address can lead into the network that this server stands in."""
