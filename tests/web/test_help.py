from include.web.page import rendered


def test_the_marks_of_the_generated_parts_are_not_shown() -> None:
    page = rendered("runbook")

    assert "TokenRejectedError" in page
    assert "make reference:" not in page
