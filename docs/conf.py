"""The site of documents: `make docs` builds it in English and in Chinese.

The pages are Markdown (MyST). Tables of the reference come from the code and are committed
(`make docs-tables`), so this build imports nothing of Kapok. Nothing is fetched, and the built
pages name no other host.
"""

project = "Kapok"
author = "Kapok maintainers"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["locale"]
language = "en"

# Warnings are errors in `make docs`; these find dead links and unknown references.
nitpicky = True
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
myst_url_schemes = ["http", "https", "mailto"]

locale_dirs = ["locale"]
gettext_compact = False  # one catalogue for each page
gettext_uuid = False
gettext_location = False

html_theme = "alabaster"
html_title = "Kapok"
html_show_sphinx = False
html_copy_source = False
html_theme_options = {
    "description": "Places government workloads across sites, and can say why",
    "page_width": "72rem",
    "sidebar_width": "18rem",
    "sidebar_includehidden": False,
    "font_family": "system-ui, sans-serif",
}
smartquotes = False
