"""How Sphinx makes the site: ``make docs``, with warnings as errors and no network."""

from __future__ import annotations

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from scrae import __version__

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # for the tutorial's kernel
os.environ.setdefault("JUPYTER_PLATFORM_DIRS", "1")

project = "scrae"
author = "The scrae developers"
copyright = author
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx_design",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "cli_reference",
    "demo_run",
    "figures",
]
exclude_patterns = ["build", "_ext", "_templates", "Thumbs.db"]
templates_path = ["_templates"]
default_role = "py:obj"  # a name in single backticks in a docstring
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "amsmath"]
myst_heading_anchors = 3
suppress_warnings = [
    "myst.xref_missing_source",
    "ref.python",  # "shape" in "ndarray of shape (n,)" does not refer to an attribute
]

nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_output_stderr = "remove"

napoleon_google_docstring = False

autosummary_ignore_module_all = False

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autoclass_content = "class"
python_maximum_signature_line_length = 80
add_module_names = True

html_theme = "furo"
html_title = f"scrae {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
