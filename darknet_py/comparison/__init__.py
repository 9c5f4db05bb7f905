"""Is it the same model? Two networks, files or runtimes held against each other layer by layer."""
