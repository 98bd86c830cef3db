from typing import Any

intrinsic: Any
