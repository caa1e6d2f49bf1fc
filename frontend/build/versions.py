"""The versions that an artifact records."""

from __future__ import annotations

from importlib.metadata import version

PACKAGE_VERSION = version("stepforge")
IREE_VERSION = version("iree-base-compiler")
