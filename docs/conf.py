"""Settings of Sphinx, which makes the site of the Markdown pages beside this: `tox run -e docs`."""

from importlib import metadata
from urllib.request import urlopen

project = "userharbor-sqlalchemy"
release = metadata.version(project)

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
myst_heading_anchors = 3


def is_reachable(site: str) -> bool:
    """Whether its names can be linked to; the site is made without a network, too."""
    try:
        with urlopen(f"{site}/objects.inv", timeout=5):
            return True
    except OSError:
        return False


intersphinx_mapping = {
    name: (site, None)
    for name, site in {
        "python": "https://docs.python.org/3",
        "sqlalchemy": "https://docs.sqlalchemy.org/en/20",
    }.items()
    if is_reachable(site)
}

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["site.css", "site.js"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_copyright = False

autoclass_content = "both"
autodoc_typehints_format = "short"
# What docstrings have between single backticks.
default_role = "code"

# The reference has each name of ours that a signature shows; those of others stand elsewhere.
nitpicky = True
nitpick_ignore = [
    ("py:class", "userharbor_sqlalchemy.schema.user_model.ModelT"),
    ("py:class", "userharbor_sqlalchemy.store.P"),
    ("py:class", "userharbor_sqlalchemy.store.T"),
]
nitpick_ignore_regex = [("py:.*", r"(?!userharbor_sqlalchemy).*")]
