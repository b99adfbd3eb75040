"""The data-quality checks: a name, a query that yields one figure, a bound, a severity, a reason.

A query sees the tables `{deals}`, `{scans}`, `{stages}`, the condition `{of_this_scan}` and the
parameters %(tenant_id)s and %(scan_id)s. Its figure counts what is wrong: a rule passes while
figure ≤ at_most.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    BLOCK = "block"  # fails the task: nobody should use this scan's rows unseen
    WARN = "warn"  # is written down and counted; the run goes on


@dataclass(frozen=True)
class Rule:
    """One check. ``needs_rows``: on a scan without deals it says nothing, and is `no_rows`."""

    name: str
    sql: str
    severity: Severity
    why: str
    at_most: int = 0
    needs_rows: bool = True


#: Its figure also tells the others whether there is anything to check.
DEALS_PRESENT = Rule(
    name="deals_present",
    sql="select case when exists (select from {deals} where {of_this_scan}) then 0 else 1 end",
    severity=Severity.WARN,
    why="a portal without a single deal is rare; a token of the wrong account is not",
    needs_rows=False,
)

RULES = (
    DEALS_PRESENT,
    Rule(
        name="rows_loaded_equal_deals_received",
        sql="""
            select abs((select deals_extracted from {scans} where scan_id = %(scan_id)s)
                       - (select count(*) from {deals} where {of_this_scan}))
        """,
        severity=Severity.BLOCK,
        why="every deal HubSpot sent must be a row, and no row may come from nowhere",
        needs_rows=False,
    ),
    Rule(
        name="keys_not_null",
        sql="""
            select count(*) from {deals}
            where _scan_id = %(scan_id)s and (_tenant_id is null or deal_id is null)
        """,
        severity=Severity.BLOCK,
        why="a row without its key can't be updated, only doubled",
    ),
    Rule(
        name="keys_unique",
        sql="""
            select count(*) from (
                select from {deals} where _tenant_id = %(tenant_id)s
                group by deal_id having count(*) > 1
            ) as doubled
        """,
        severity=Severity.BLOCK,
        why="a doubled deal doubles the revenue in every sum",
    ),
    Rule(
        name="rows_carry_this_tenant",
        sql="""
            select count(*) from {deals}
            where _scan_id = %(scan_id)s and _tenant_id is distinct from %(tenant_id)s
        """,
        severity=Severity.BLOCK,
        why="a row of this scan under another tenant is shown to that tenant",
    ),
    Rule(
        name="properties_belong_to_their_deal",
        sql="""
            select count(*) from {deals}
            where {of_this_scan} and properties ->> 'hs_object_id' is distinct from deal_id::text
        """,
        severity=Severity.BLOCK,
        why="properties of one deal under the id of another are worse than none",
    ),
    Rule(
        name="modified_not_in_the_future",
        sql="""
            select count(*) from {deals}
            where {of_this_scan} and updated_at > _extracted_at + interval '1 day'
        """,
        severity=Severity.BLOCK,
        why="a modification time ahead of the clock hides later changes from incremental scans",
    ),
    Rule(
        name="modified_not_before_created",
        sql="""
            select count(*) from {deals}
            where {of_this_scan} and updated_at < created_at
        """,
        severity=Severity.WARN,
        why="HubSpot sets both itself; a wrong order points to a damaged record",
    ),
    Rule(
        name="timestamps_present",
        sql="""
            select count(*) from {deals}
            where {of_this_scan} and (updated_at is null or created_at is null)
        """,
        severity=Severity.WARN,
        why="HubSpot sends both with every deal",
    ),
    Rule(
        name="archived_rows_have_their_time",
        sql="""
            select count(*) from {deals}
            where {of_this_scan} and archived and archived_at is null
        """,
        severity=Severity.WARN,
        why="without it nobody can tell when the deal left the pipeline",
    ),
    Rule(
        name="stages_known_to_the_portal",
        sql="""
            select count(*) from {deals} as deal
            where deal._tenant_id = %(tenant_id)s
              and deal._scan_id = %(scan_id)s
              and not deal.archived
              and deal.stage_id is not null
              and not exists (
                  select from {stages} as stage
                  where stage._tenant_id = deal._tenant_id
                    and stage.pipeline_id = deal.pipeline_id
                    and stage.stage_id = deal.stage_id
                    and stage._scan_id = %(scan_id)s
              )
        """,
        severity=Severity.WARN,
        why="a deal in a deleted stage falls out of every report by stage",
    ),
    Rule(
        name="values_fit_their_columns",
        sql="""
            select coalesce(sum(count::bigint), 0)
            from {scans}, jsonb_each_text(misfits) as misfit (column_name, count)
            where scan_id = %(scan_id)s
        """,
        severity=Severity.WARN,
        why="a value that is no number or date is NULL in its column (and untouched in properties)",
    ),
)
