"""Authentication and authorization: the user of a request, and the allowed actions."""
