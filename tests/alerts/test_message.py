import json

import pytest

from include.alerts.delivery import SLACK_TEXT_LIMIT, VERSION, Message
from tests.alerts.messages import MESSAGE, message


def test_the_text_tells_tenant_task_cause_remedy_heading_figures_and_links() -> None:
    text = MESSAGE.text

    for part in (
        "Tenant acme: scan failed at validate_token.",
        "HubSpot refused the token (401): it has expired.",
        "What to do: Put a valid token into the connection hubspot_acme",
        "Runbook: http://localhost:5200/hubspot-deals/help/runbook#token-rejected",
        "Scan: 5f0e0000-0000-5000-8000-000000000000",
        "Deals received: 1200",
        "Task log: http://localhost:5200/dags/",
        "Status page: http://localhost:5200/plugin/hubspot-scans/hubspot-deals/ui?scan=5f0e",
    ):
        assert part in text


def test_the_subject_names_tenant_event_and_error() -> None:
    assert MESSAGE.subject == "[HubSpot deals] acme: scan failed (TokenRejectedError)"


def test_a_repeated_alert_says_so_in_its_subject() -> None:
    assert message(round=2, runs=9).subject.endswith(", still after 9 runs")


def test_a_repeated_alert_of_one_run_counts_no_runs() -> None:
    assert message(event="quota", round=2, runs=1).subject.endswith(", still")


def test_a_subject_is_one_line_whatever_the_error_is_called() -> None:
    subject = message(error_type="Odd\r\nBcc: all@example.com").subject

    assert "\n" not in subject
    assert "\r" not in subject


def test_a_message_survives_the_outbox() -> None:
    assert Message.of_json(json.loads(json.dumps(MESSAGE.as_json()))) == MESSAGE


def test_an_alert_of_a_newer_version_is_sent_without_its_new_fields() -> None:
    assert Message.of_json({**MESSAGE.as_json(), "team": "sales"}) == MESSAGE


def test_figures_stand_in_the_same_order_whatever_the_outbox_makes_of_it() -> None:
    figures = {"seconds": 9, "checks_passed": 3, "deals_received": 1, "another": 7}

    parsed = Message.of_json(message(figures=figures).as_json())

    assert list(parsed.figures) == ["deals_received", "seconds", "another", "checks_passed"]


def test_the_json_has_a_version() -> None:
    assert MESSAGE.as_json()["version"] == VERSION


def test_html_escapes_what_is_not_ours_and_links_what_is() -> None:
    page = message(why="HubSpot says '<script>'").html

    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert (
        '<a href="http://localhost:5200/plugin/hubspot-scans/hubspot-deals/ui?scan=5f0e">' in page
    )


def test_slack_gets_no_mentions_from_a_message() -> None:
    blocks = json.dumps(message(why="HubSpot says '<!channel> <@U1>'").slack_blocks)

    assert "<!channel>" not in blocks
    assert "&lt;!channel&gt;" in blocks


def test_slack_blocks_keep_to_slacks_limits() -> None:
    blocks = message(why="long " * 2000, tenant="a" * 200).slack_blocks

    assert all(len(b["text"]["text"]) <= SLACK_TEXT_LIMIT for b in blocks if "text" in b)
    assert len(blocks[0]["text"]["text"]) <= 150


@pytest.mark.parametrize(
    ("event", "word"),
    [
        ("failure", "failure"),
        ("quota", "warning"),
        ("deadline", "warning"),
        ("recovery", "success"),
    ],
)
def test_apprise_gets_how_bad_it_is(event: str, word: str) -> None:
    assert message(event=event).apprise_type == word


def test_checks_without_rows_are_called_not_applicable() -> None:
    text = message(figures={"checks_no_rows": 10, "checks_passed": 6}).text

    assert "Checks not applicable: 10\nChecks passed: 6" in text
