"""What the objects of the kernel's benchmark are called.

By themselves: kopf's process must not load our kernel, which the typed objects need.
"""

from typing import Final

GROUP: Final = "bench.kubernaut.ai"
PLURAL: Final = "probes"
