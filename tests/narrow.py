"""The five methods with networks of few filters and layers, for tests that train or answer."""

from dataclasses import replace

from ecg.methods import Method, find_method

_NETWORKS = {
    "multiscale_se": {"widths": (2, 2, 2, 2, 2), "steps": (2,), "squeeze_ratio": 1},
    "branched_se": {"shared_width": 2, "widths": (4, 4), "blocks": (2, 1), "squeeze_ratio": 1},
    "mtfnet": {"channels": 4, "n_blocks": 7, "bilstm_layers": 1, "hidden": 4},
    "se_ecgnet": {"stem_widths": (4, 4), "widths": (4, 4), "squeeze_ratio": 1, "hidden": 8},
    "antialiased_resnet18": {"widths": (2, 2, 4, 4)},
}


def narrow_method(name: str, **training) -> Method:
    """The method with a network of next to no size, trained for one epoch unless told otherwise."""
    method = find_method(name, "demo")
    return replace(
        method,
        network=replace(method.network, **_NETWORKS[name]),
        training=replace(method.training, **({"epochs": 1} | training)),
    )
