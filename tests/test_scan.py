from include.scan import scan_id


def test_a_scan_id_depends_on_dag_and_run_only() -> None:
    once = scan_id("hubspot_deals__acme", "manual__1")

    assert once == scan_id("hubspot_deals__acme", "manual__1")
    assert once != scan_id("hubspot_deals__acme", "manual__2")
    assert once != scan_id("hubspot_deals__globex", "manual__1")
