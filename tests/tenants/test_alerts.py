"""The settings `defaults`, `alerts` and `deadline_s` of the tenants file."""

from pathlib import Path
from typing import Any

import pytest

from include.errors import TenantsFileError
from include.tenants import Tenants, load_tenants
from include.tenants.file import merged

MAIL = "{smtp: {to: [ops@example.com]}}"


def tenants_of(tmp_path: Path, text: str, **environ: str) -> Tenants:
    file = tmp_path / "tenants.yaml"
    file.write_text(text)
    return load_tenants({"HUBSPOT_DEALS_TENANTS_FILE": str(file), **environ})


def test_alerts_need_a_channel_and_by_default_leave_out_warnings(
    tmp_path: Path,
) -> None:
    (tenant,) = tenants_of(tmp_path, "tenants: [{id: acme}]").enabled

    assert tenant.alerts.channels == ()
    assert tenant.alerts.on == ("failure", "quality", "deadline", "quota", "recovery")
    assert (tenant.alerts.repeat_after_s, tenant.deadline_s) == (86_400, None)


def test_channels_are_what_their_key_says(tmp_path: Path) -> None:
    channels = (
        f"[{MAIL}, {{slack: }}, {{webhook: {{endpoint: x}}}}, {{apprise: {{connection: pd}}}}]"
    )

    (tenant,) = tenants_of(tmp_path, f"[{{id: acme, alerts: {{channels: {channels}}}}}]").enabled

    assert [channel.label for channel in tenant.alerts.channels] == [
        "smtp:smtp_default:ops@example.com",
        "slack:slack_default",
        "webhook:http_default:x",
        "apprise:pd",
    ]


def test_defaults_are_part_of_every_tenant_and_entries_win(tmp_path: Path) -> None:
    text = f"""
defaults:
  schedule: null
  retries: 1
  alerts: {{channels: [{MAIL}], repeat_after_s: 600}}
tenants:
  - id: acme
  - {{id: globex, retries: 5, alerts: {{on: [failure]}}}}
  - {{id: initech, alerts: {{channels: []}}}}
"""

    acme, globex, initech = tenants_of(tmp_path, text).enabled

    assert (acme.schedule, acme.retries, acme.alerts.repeat_after_s) == (None, 1, 600)
    assert (globex.retries, globex.alerts.on, len(globex.alerts.channels)) == (5, ("failure",), 1)
    assert (initech.alerts.channels, initech.alerts.repeat_after_s) == ((), 600)


def test_defaults_hold_for_the_environments_tenant_too(tmp_path: Path) -> None:
    text = "{defaults: {retries: 7}, tenants: []}"

    (tenant,) = tenants_of(tmp_path, text, HUBSPOT_ACCESS_TOKEN="x").enabled

    assert (tenant.id, tenant.retries) == ("default", 7)


@pytest.mark.parametrize(
    ("defaults", "said"),
    [
        pytest.param(
            "{schedul: null}",
            "defaults: unknown key 'schedul' (did you mean 'schedule'?)",
            id="misspelt key",
        ),
        pytest.param("{id: acme}", "defaults: key 'id' must differ", id="an id"),
        pytest.param("[a]", "defaults: expected keys such as 'schedule'", id="a list"),
        pytest.param("{retries: -1}", "defaults: key 'retries'", id="out of range"),
        pytest.param(
            "{alerts: {on: [failures]}}", "defaults: key 'alerts.on.0'", id="unknown event"
        ),
    ],
)
def test_an_error_in_defaults_is_reported_as_one_of_defaults(
    tmp_path: Path, defaults: str, said: str
) -> None:
    with pytest.raises(TenantsFileError) as caught:
        tenants_of(tmp_path, f"{{defaults: {defaults}, tenants: [{{id: acme}}]}}")

    assert said in str(caught.value)
    assert str(caught.value).count("unknown key") <= 1


def test_an_unknown_key_at_the_top_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TenantsFileError, match=r"unknown key 'default' \(did you mean 'defaults'"):
        tenants_of(tmp_path, "{default: {}, tenants: []}")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        pytest.param(
            "alerts: {chanels: []}",
            "unknown key 'alerts.chanels' (did you mean 'channels'?)",
            id="misspelt key",
        ),
        pytest.param(
            "alerts: {channels: [{smpt: {to: [a@b.c]}}]}",
            "unknown key 'alerts.channels.0.smpt' (did you mean 'smtp'?)",
            id="misspelt channel",
        ),
        pytest.param(
            "alerts: {channels: [{smtp: {too: [a@b.c]}}]}",
            "unknown key 'alerts.channels.0.smtp.too' (did you mean 'to'?)",
            id="misspelt key of a channel",
        ),
        pytest.param(
            "alerts: {channels: [{smtp: {to: [a@b.c], password: x}}]}",
            "unknown key 'alerts.channels.0.smtp.password' (possible: to, connection, from)",
            id="a secret in the file",
        ),
        pytest.param(
            "alerts: {channels: [{smtp: }]}",
            "key 'alerts.channels.0.smtp.to' is missing",
            id="mail without a recipient",
        ),
        pytest.param(
            "alerts: {channels: [{smtp: {to: [a b]}}]}",
            "key 'alerts.channels.0.smtp.to.0'",
            id="no address",
        ),
        pytest.param(
            "alerts: {channels: [{slack: , apprise: }]}",
            "a channel is one of smtp, slack, webhook, apprise",
            id="two channels in one",
        ),
        pytest.param("alerts: {repeat_after_s: 1}", "key 'alerts.repeat_after_s'", id="too often"),
        pytest.param("deadline_s: 0", "key 'deadline_s'", id="no time at all"),
    ],
)
def test_a_bad_setting_is_reported_with_its_path(tmp_path: Path, entry: str, said: str) -> None:
    tenants = tenants_of(tmp_path, f"tenants: [{{id: globex}}, {{id: acme, {entry}}}]")

    assert [tenant.id for tenant in tenants.enabled] == ["globex"]
    assert said in str(tenants.problems[0])


@pytest.mark.parametrize(
    ("defaults", "entry", "result"),
    [
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"x": 1}}, {"a": None}, {"a": None}),
        ({"a": 1}, {"a": {"x": 1}}, {"a": {"x": 1}}),
    ],
    ids=["mappings are merged", "lists replace", "null replaces", "a mapping replaces a value"],
)
def test_how_an_entry_and_the_defaults_are_merged(
    defaults: dict[str, Any], entry: dict[str, Any], result: dict[str, Any]
) -> None:
    before = repr(defaults)

    assert merged(defaults, entry) == result
    assert repr(defaults) == before
