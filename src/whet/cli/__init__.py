"""The command line: the only place that knows of terminals, options and exit codes."""
