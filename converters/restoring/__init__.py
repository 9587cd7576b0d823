"""Restoring: values out of files of any origin into the variables of a model, all or some of them, by their names."""
