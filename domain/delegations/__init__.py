"""Who decides in whose stead while somebody is away."""
