"""All randomness comes from one seed, folded by names."""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def generator(seed: int, *names: object) -> "np.random.Generator":
    """NumPy's generator for one purpose: a seed and names give the same numbers again, other names independent ones."""
    import numpy as np

    digest = hashlib.sha256("/".join(map(str, (seed, *names))).encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))
