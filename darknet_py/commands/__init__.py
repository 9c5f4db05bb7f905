"""The verbs of the command line, one module each: ``configure(parser)`` and ``run(args) -> exit status``.

The first line of a module's docstring is its help in ``darknet-py --help``. Modules that start with an underscore are
shared by verbs; options that several verbs have are defined in ``_options``.
"""
