"""What folders and buckets have in common: protocols, values, and helpers that both use."""
