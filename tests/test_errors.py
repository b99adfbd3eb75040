import base64
import html
import json
import pickle
import re
from urllib.parse import quote, quote_plus

import pytest

from include.errors import (
    ConfigError,
    HubSpotDealsError,
    LoadError,
    QualityError,
    ScopeMissingError,
    TenantsFileError,
    TokenRejectedError,
    naming_tenant,
)
from include.secret_text import keep_out_of_messages


def test_a_message_names_tenant_remedy_and_runbook_heading() -> None:
    error = TokenRejectedError("HubSpot said no.", tenant_id="acme", remedy="Rotate it.")

    assert str(error) == (
        "tenant acme: HubSpot said no. Rotate it. Then clear the task."
        " See docs/runbook.md#token-rejected"
    )


@pytest.mark.parametrize(
    ("error", "in_task"),
    [
        (ConfigError("No.", remedy="Write it."), "No. Write it. Then clear the task."),
        (LoadError("No.", remedy="If so, look."), "No. The task is retried. If so, look."),
        (LoadError("No."), "No. The task is retried."),
        (TenantsFileError("No.", remedy="Remove it."), "No. Remove it."),
        (QualityError("No.", remedy="{ Look }"), "No. { Look }"),
    ],
)
def test_a_message_says_how_the_task_continues(error: HubSpotDealsError, in_task: str) -> None:
    assert str(error) == f"{in_task} See docs/runbook.md#{error.runbook_heading}"


@pytest.mark.parametrize("error", [ConfigError, LoadError])
def test_a_command_gets_no_advice_about_a_task(error: type[HubSpotDealsError]) -> None:
    raised = error("No.", tenant_id="acme", remedy="Check the host.")

    see = f"See docs/runbook.md#{error.runbook_heading}"
    assert raised.for_command == f"tenant acme: No. Check the host. {see}"


def test_the_tenant_of_a_block_is_named_once() -> None:
    with pytest.raises(LoadError) as unnamed, naming_tenant("acme"):
        raise LoadError("No.")
    with pytest.raises(LoadError) as named, naming_tenant("acme"):
        raise LoadError("No.", tenant_id="globex")

    assert str(unnamed.value).startswith("tenant acme: No.")
    assert str(named.value).startswith("tenant globex: No.")


def test_an_error_survives_pickling_with_its_attributes() -> None:
    error = pickle.loads(pickle.dumps(ScopeMissingError(["a.read"], tenant_id="acme")))  # noqa: S301

    assert error.scopes == ("a.read",)
    assert str(error).count("tenant acme") == 1


SECRET = 'q"Zx7\\v&<K>2/w+m=%\u00e9 \nT9'
LOWER = re.sub("%..", lambda found: found[0].lower(), quote(SECRET, safe=""))


@pytest.mark.parametrize(
    "quoted",
    [
        pytest.param(SECRET, id="as it is"),
        pytest.param(json.dumps(SECRET), id="JSON"),
        pytest.param(json.dumps(json.dumps(SECRET)), id="JSON in JSON"),
        pytest.param(json.dumps(SECRET, ensure_ascii=False), id="JSON, not ASCII"),
        pytest.param(json.dumps(SECRET).replace("/", "\\/"), id="JSON of other languages"),
        pytest.param(repr(SECRET), id="repr"),
        pytest.param(ascii(repr(SECRET)), id="repr of a repr"),
        pytest.param(quote(SECRET), id="URL"),
        pytest.param(LOWER, id="URL in small letters"),
        pytest.param(quote_plus(SECRET), id="form"),
        pytest.param(html.escape(SECRET), id="HTML"),
        pytest.param(SECRET[:5] + "\n   " + SECRET[5:], id="wrapped"),
        pytest.param(SECRET.encode().hex(), id="hex"),
        pytest.param(base64.b64encode(SECRET.encode()).decode(), id="base64"),
        pytest.param(base64.b64encode(b"user:" + SECRET.encode()).decode(), id="Basic"),
        pytest.param(
            base64.urlsafe_b64encode(b"ab" + SECRET.encode() + b"c").decode(), id="of URLs"
        ),
    ],
)
def test_a_message_never_holds_a_known_secret_however_it_is_escaped(quoted: str) -> None:
    keep_out_of_messages(SECRET)

    error = ConfigError(f"HubSpot says <{quoted}>.", remedy=f"Look at {quoted}.")

    assert "***" in str(error)
    for text in (str(error), error.what, error.remedy, repr(error)):
        assert not any(part in text for part in ("Zx7", "K>2", "w+m", quoted[4:20]))


def test_a_short_secret_cuts_no_holes_into_words() -> None:
    keep_out_of_messages("at")

    assert "what" in str(ConfigError("what"))
