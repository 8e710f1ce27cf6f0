"""Jobs over all packages of a place."""
