"""Who somebody is to an issuer of tokens, and which member of the organization that is."""
