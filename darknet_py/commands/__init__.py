"""The verbs of the command line, one module each: ``configure(parser)`` and ``run(args) -> exit status``.

The first line of a module's docstring is what ``darknet-py --help`` says of it. Modules that start with
an underscore are shared between verbs.
"""
