"""The command line: thin over `zoo`, and the only place that prints or exits."""
