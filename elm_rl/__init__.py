"""Evolution through language models: seeds become a map of walkers, the map a corpus, the corpus a conditional model."""
