"""Build hook of this project: adds compiled code, and folders that are links in a checkout."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import platform_tags

#: Folders that are links in `sweeper/`. A source distribution has no links, so it contains these folders twice.
LINKED = ("model", "search_spaces")

#: Files that are made from the source, and not distributed with it.
MADE = ("*.so", "*.pyc", "*.tmp")


class ProjectHook(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles the recurrence for a wheel; without a C compiler the wheel is pure Python."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add files to the build; hatchling calls this before it builds."""
        root = Path(self.root)
        if self.target_name == "sdist":
            for file in (file for folder in LINKED for file in (root / folder).rglob("*") if file.is_file()):
                if not any(file.match(pattern) for pattern in MADE):
                    build_data["force_include"][str(file)] = f"sweeper/{file.relative_to(root)}"
            return
        files, problems = runpy.run_path(str(root / "sweeper/model/native/build.py"))["compile_all"]()
        for line in problems:
            self.app.display_warning(f"the recurrence is not compiled for {line}")
        if files and version != "editable":
            build_data["force_include"].update({str(file): f"sweeper/model/native/{file.name}" for file in files})
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{next(platform_tags())}"
