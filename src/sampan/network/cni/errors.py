"""What an attachment can fail with: CNI's codes.

Source: CNI specification 1.1.0, "Error"
"""

from __future__ import annotations

INCOMPATIBLE, UNSUPPORTED, UNKNOWN_CONTAINER, ENVIRONMENT, IO, DECODE, CONFIG, TRY_LATER = 1, 2, 3, 4, 5, 6, 7, 11
FAILED = 100
NOT_AVAILABLE = 50


class CniError(Exception):
    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(f"{message}: {details}" if details else message)
        self.code, self.message, self.details = code, message, details
