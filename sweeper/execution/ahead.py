"""Imports modules in a worker before it has a job; only Ray imports this file, by its name.

Ray ends a worker in which such an import raises anything but an ImportError. A missing module is reported when a job
needs it, so this file raises only ImportError. It always raises one at the end: then this file, and its `sweeper`, are
not loaded when a job brings its own folder.
"""

import importlib
import os
import sys
from contextlib import suppress

#: Names the modules to import, separated by commas.
NAMES = "SWEEPER_IMPORTED_AHEAD"

for _name in filter(None, os.environ.get(NAMES, "").split(",")):
    with suppress(BaseException):  # a package may even exit
        importlib.import_module(_name)
for _name in [_name for _name in sys.modules if _name.split(".")[0] == "sweeper"]:
    del sys.modules[_name]
raise ImportError("everything is imported that can be; this error is meant, see sweeper/execution/ahead.py")
