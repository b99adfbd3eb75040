import pickle

from include.errors import ScopeMissingError, TokenRejectedError


def test_a_message_names_tenant_remedy_and_runbook_heading() -> None:
    error = TokenRejectedError("HubSpot said no.", tenant_id="acme", remedy="Rotate it.")

    assert str(error) == (
        "tenant acme: HubSpot said no. Rotate it. See docs/runbook.md#token-rejected"
    )


def test_an_error_survives_pickling_with_its_attributes() -> None:
    error = pickle.loads(pickle.dumps(ScopeMissingError(["a.read"], tenant_id="acme")))  # noqa: S301

    assert error.scopes == ("a.read",)
    assert str(error).count("tenant acme") == 1
