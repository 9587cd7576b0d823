"""Makes a model where there is none to reuse."""
