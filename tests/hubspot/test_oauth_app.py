import msgspec
import pytest

from include.hubspot.oauth import Grant, OAuthApp

APP = OAuthApp("client", "the-secret", "the-refresh-token")
GRANT = Grant("the-access-token", 1_800, "the-next-refresh-token", 7, ["oauth"])


def test_what_was_sealed_is_read_by_the_same_app_only() -> None:
    sealed = APP.seal(GRANT)

    assert OAuthApp("client", "the-secret", "the-refresh-token").unseal(sealed) == GRANT
    assert OAuthApp("client", "another-secret", "the-refresh-token").unseal(sealed) is None
    assert OAuthApp("client", "the-secret", "another-refresh-token").unseal(sealed) is None


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda sealed: sealed[:-4] + "AAA=", id="changed"),
        pytest.param(lambda sealed: sealed[:20], id="cut"),
        pytest.param(lambda _: "", id="empty"),
        pytest.param(lambda _: "grün ☃", id="no ciphertext"),
        pytest.param(lambda _: APP._fernet.encrypt(b'{"x": 1}').decode(), id="another shape"),
    ],
)
def test_what_was_tampered_with_is_nothing(spoil) -> None:  # type: ignore[no-untyped-def]
    assert APP.unseal(spoil(APP.seal(GRANT))) is None


def test_the_key_of_an_installation_depends_on_client_and_refresh_token_and_shows_neither() -> None:
    keys = {APP.key, OAuthApp("client", "", "x").key, OAuthApp("x", "", "the-refresh-token").key}

    assert len(keys) == 3
    assert OAuthApp("client", "rotated", "the-refresh-token").key == APP.key
    assert not any(secret in APP.key for secret in ("client", "the-refresh-token"))


def test_neither_an_app_nor_a_grant_shows_its_secrets() -> None:
    shown = f"{APP!r} {APP} {GRANT!r} {GRANT}"

    assert "secret" not in shown.replace("client_secret", "")
    assert "token" not in shown


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b'{"expires_in": 1800}', id="no token"),
        pytest.param(b'{"access_token": "", "expires_in": 1800}', id="empty token"),
        pytest.param(b'{"access_token": "a\\nb", "expires_in": 1800}', id="line break"),
        pytest.param(b'{"access_token": "a", "expires_in": 0}', id="expired"),
        pytest.param(b'{"access_token": "a", "expires_in": 9999999999}', id="centuries"),
        pytest.param(b'{"access_token": "a"}', id="no life"),
    ],
)
def test_a_grant_without_a_usable_token_is_none(answer: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(answer, type=Grant)
