"""The JSON in which tools and routes show what the services give: one shape a thing, whichever door shows it."""
