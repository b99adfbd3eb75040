"""An OAuth app that is installed in one account, what it is given, and how that is kept secret."""

import base64
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Annotated

import msgspec
from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

#: What separates our digests and keys from any made elsewhere of the same secrets.
_PURPOSE = b"hubspot_deals.oauth_tokens"

#: It goes into a header: no blanks, no line breaks.
_Bearer = Annotated[str, msgspec.Meta(pattern=r"\A[!-~]+\Z")]


class Grant(msgspec.Struct, frozen=True):
    """What HubSpot answers to a refresh; fields have its names. Never shows itself.

    ``expires_in``: seconds from the answer on. ``hub_id`` and ``scopes`` may be left out.
    """

    access_token: _Bearer
    expires_in: Annotated[int, msgspec.Meta(gt=0)]
    #: Empty: go on with the one that was sent.
    refresh_token: str = ""
    hub_id: int | None = None
    scopes: list[str] | None = None

    def __repr__(self) -> str:
        return f"Grant(hub_id={self.hub_id}, expires_in={self.expires_in})"


_grant_decoder = msgspec.json.Decoder(Grant)


@dataclass(frozen=True)
class OAuthApp:
    """What a connection holds of it: enough to get access tokens for one account."""

    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)

    @cached_property
    def key(self) -> str:
        """By what this installation's row is found in a `TokenStore`.

        A refresh token is too long and random to be found by trying; the digest gives nothing away.
        """
        named = msgspec.json.encode([self.client_id, self.refresh_token])
        return blake2b(named, digest_size=16, key=_PURPOSE).hexdigest()

    def seal(self, grant: Grant) -> str:
        """Return *grant* as text that only who has this connection's secrets can read."""
        return self._fernet.encrypt(msgspec.json.encode(grant)).decode("ascii")

    def unseal(self, text: str) -> Grant | None:
        """Return what was sealed; None: by another app, or it was changed since."""
        try:
            return _grant_decoder.decode(self._fernet.decrypt(text))
        except (InvalidToken, msgspec.DecodeError, ValueError):
            return None

    @cached_property
    def _fernet(self) -> Fernet:
        secrets = msgspec.json.encode([self.client_secret, self.refresh_token])
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(secrets)
        return Fernet(base64.urlsafe_b64encode(key))
