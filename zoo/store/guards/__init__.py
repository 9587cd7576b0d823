"""Guards: every file of a model is judged here before a big library opens it. Nothing here imports one."""
