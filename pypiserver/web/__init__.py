"""HTTP: the route table, and what turns requests into answers; everything that knows bottle."""
