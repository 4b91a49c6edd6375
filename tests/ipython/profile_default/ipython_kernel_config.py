"""Kernels of `make test` and `make notebooks`: warnings and C++ messages stay out of the notebooks."""

c = get_config()  # noqa: F821
c.IPKernelApp.capture_fd_output = False
c.HistoryManager.enabled = False
c.InteractiveShellApp.exec_lines = [
    "import logging",
    "logging.getLogger('gtzan_keras').setLevel('ERROR')",
    # A filter, because TensorFlow sets the level of its logger again.
    "logging.getLogger('tensorflow').addFilter(lambda record: record.levelno >= 40)",
    "del logging",
]
