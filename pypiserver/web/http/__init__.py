"""HTTP mechanics for any application: bodies, ranges, validators, caches, forwarded headers."""
