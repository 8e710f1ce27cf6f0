"""Every setting once: its name, default, parser and help, and the sources it is read from."""
