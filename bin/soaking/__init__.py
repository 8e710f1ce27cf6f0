"""What bin/soak does to servers on loopback: packages made to harm their reader, and faults of the catalog."""
