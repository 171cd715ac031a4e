"""How Sphinx builds the documentation, without network access."""

import os

import latex2mathml.converter
from docutils.nodes import SkipNode
from sphinx_gallery.sorting import ExplicitOrder

import skdeepdive

project = "skdeepdive"
author = copyright = "the skdeepdive developers"
version = release = skdeepdive.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "sg_execution_times.rst", "auto_examples/sg_execution_times.rst"]
default_role = "literal"  # names of parameters in docstrings
nitpicky = True
# What numpydoc finds in descriptions of types is words as well as names.
numpydoc_xref_param_type = False
numpydoc_show_class_members = False
templates_path = ["_templates"]
autosummary_generate = True
# Methods in the order of use; others follow by name.
autosummary_context = {
    "order": [
        *("fit", "partial_fit", "predict", "predict_quantiles", "sample", "score", "backtest"),
        *("predict_cluster", "predict_cluster_proba", "predict_proba", "as_classifier"),
        *("transform", "get_feature_names_out", "inverse_transform", "reconstruct"),
        *("score_samples", "score_terms", "attribute", "counterfactual", "traverse", "attention"),
        *("save", "load"),
    ],
    "properties": ["factor_priors_"],
    "described_by_scikit_learn": [
        *("fit_transform", "get_metadata_routing", "get_params", "set_callbacks", "set_output"),
        *("set_params", "set_fit_request", "set_inverse_transform_request"),
        *("set_partial_fit_request", "set_predict_request", "set_score_request"),
    ],
}
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # the docstrings say more

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
myst_heading_anchors = 3

# Names of other projects become links only where their inventories may be fetched.
intersphinx_mapping = {}
if os.environ.get("SKDEEPDIVE_DOCS_ONLINE"):
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
    }
else:
    nitpick_ignore_regex = [("py:.*", r"(sklearn|numpy|torch|pandas)\..*")]

# The plainest first: forecasts, then their quality, labels, explanations; the demo takes minutes.
EXAMPLES = [
    *("next_day", "messy_meter", "panel", "weather", "gaps"),
    *("backtest", "intervals", "search", "chunks"),
    *("watch", "few_labels", "anomalies"),
    *("attribution", "what_if", "latent_space", "traversal"),
]

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"plot_(?!electricity)",
    "within_subsection_order": ExplicitOrder(
        [*(f"plot_{name}.py" for name in EXAMPLES), "*", "plot_electricity.py"]
    ),
    "thumbnail_size": (560, 392),  # twice what style.css shows, for dense screens
    "abort_on_example_error": True,
    "capture_repr": ("_repr_html_",),
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "skdeepdive"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_copy_source = html_show_sourcelink = True
html_math_renderer = "mathml"
# No pages below the first two, and wide tables on the last.
html_sidebars = {"index": [], "getting_started": [], "benchmarks": []}
html_theme_options = {
    "logo": {"text": f"{project} {release}"},
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": {
        "**": ["page-toc", "sourcelink"],
        **{page: [] for page in ("index", "auto_examples/index")},  # no sections
    },
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}


def _math(display):
    def visit(self, node):
        mathml = latex2mathml.converter.convert(node.astext(), display=display)
        self.body.append(mathml if display == "inline" else f'<div class="equation">{mathml}</div>')
        raise SkipNode

    return visit


def setup(app):
    """Write equations as MathML, which browsers show by themselves."""
    app.add_html_math_renderer("mathml", (_math("inline"), None), (_math("block"), None))
