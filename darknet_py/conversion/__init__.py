"""Conversion of weights between file formats, layouts of other frameworks, and batch norm fusing."""
