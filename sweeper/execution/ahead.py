"""What a worker imports before it has a job: it is named to Ray, and is not imported by anything else.

Ray ends a worker in which such an import raises anything but an ImportError. What cannot be imported is told when a job
needs it, so nothing may be raised here but that. It always is, at the end: so that this module, and the `sweeper` that
it is a part of, are not there when a job brings the folder of its own.
"""

import importlib
import os
import sys
from contextlib import suppress

#: Names the modules to import, separated by commas.
NAMES = "SWEEPER_IMPORTED_AHEAD"

for _name in filter(None, os.environ.get(NAMES, "").split(",")):
    with suppress(BaseException):  # a package may also exit
        importlib.import_module(_name)
for _name in [_name for _name in sys.modules if _name.split(".")[0] == "sweeper"]:
    del sys.modules[_name]
raise ImportError("everything is imported that can be; this error is meant, see sweeper/execution/ahead.py")
