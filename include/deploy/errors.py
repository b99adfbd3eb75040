"""What can go wrong with a deployment, in words for whoever ran `docker compose`."""


class DeployError(Exception):
    """It can't be started so: what is wrong and why, then what to do. Never with a secret in it."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what}\n{remedy}")
