"""Every setting once: its name, default, parser and help text, and the sources it comes from."""
