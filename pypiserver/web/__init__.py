"""HTTP: the route table, and the parts that turn requests into responses by means of bottle."""
