"""The parts of ``bin/bench``: corpora, servers, loads, measures and the report, one module each."""
