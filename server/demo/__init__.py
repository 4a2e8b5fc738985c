"""The demo firm: two organizations to try everything on, loaded once into an empty installation."""
