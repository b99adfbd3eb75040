import pytest

from include.errors import QualityError, TokenRejectedError
from include.warehouse.errors import RecordedError, columns_of


@pytest.mark.parametrize(
    "error",
    [
        TokenRejectedError("HubSpot said no.", tenant_id="acme", remedy="Rotate it."),
        TokenRejectedError("HubSpot said: see below.\nNo.", remedy="Rotate it."),
        QualityError("2 of 15 checks failed: a = 3; b = 1.", tenant_id="acme"),
    ],
)
def test_an_error_of_ours_is_read_back_in_parts(error: TokenRejectedError) -> None:
    found = RecordedError.of_columns(*columns_of(error))

    assert found.is_ours
    assert (found.type, found.what) == (type(error).__name__, error.what)
    assert (found.remedy or "", found.heading) == (error.remedy, error.runbook_heading)


def test_the_message_names_the_tenant() -> None:
    columns = columns_of(QualityError("1 of 15 checks failed.", tenant_id="acme"))

    assert RecordedError.of_columns(*columns).message == "tenant acme: 1 of 15 checks failed."


def test_of_another_librarys_error_only_the_type_is_on_record() -> None:
    columns = columns_of(ValueError("amount of Jane Doe is 4711"))

    found = RecordedError.of_columns(*columns)

    assert "4711" not in repr(columns)
    assert (found.type, found.is_ours, found.heading) == ("ValueError", False, None)


def test_a_text_of_another_program_is_kept_whole() -> None:
    found = RecordedError.of_columns("out of memory", None)

    assert (found.type, found.message, found.is_ours) == ("Exception", "out of memory", False)
