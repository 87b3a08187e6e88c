"""Settings of Sphinx, which makes the site of the Markdown pages beside this: `tox run -e docs`."""

from importlib import metadata

project = "userharbor-sqlalchemy"
release = metadata.version(project)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False

autoclass_content = "both"
autodoc_typehints_format = "short"
# What docstrings have between single backticks.
default_role = "code"

# The reference has each name of ours that a signature shows; those of others stand elsewhere.
nitpicky = True
nitpick_ignore = [("py:class", "userharbor_sqlalchemy.schema.user_model.ModelT")]
nitpick_ignore_regex = [("py:.*", r"(?!userharbor_sqlalchemy).*")]
