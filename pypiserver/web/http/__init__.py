"""What any application needs of HTTP: bodies, ranges, validators, caches, forwarded headers."""
