"""The verbs of ``darknet-py data``, one module each."""
