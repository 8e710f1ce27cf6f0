"""Pages for people: their content, their frame, and sanitized descriptions."""
