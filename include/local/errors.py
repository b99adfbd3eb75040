"""What can go wrong with the local stack, in words for whoever ran `make`."""


class LocalError(Exception):
    """The stack can't do what was asked: what happened and why, then what to do."""

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what} {remedy}".strip())
