"""Which modules pytest leaves out: examples of those whose package is not here cannot be imported."""

from importlib.util import find_spec

#: Of each package that a kind of network folder needs, the modules that import it at their top.
IMPORTING = {
    "nnunetv2": [f"tomaat/services/folders/nnunet_{name}.py" for name in ("load", "network", "tiles", "way_back")],
}
collect_ignore = [module for package, modules in IMPORTING.items() if find_spec(package) is None for module in modules]
