"""The data-quality checks: each has a name, a query for wrong records, a severity, a reason.

A query can use the tables `{deals}`, `{records}`, `{scans}`, `{scan_objects}` and
`{pipeline_stages}`, the temporary tables `received` (the records that this scan received: object,
record_id, content_hash, chunk, loaded_at) and `misfits` (the values that the views show as NULL:
object, record_id, column_name, value), `{typed_columns}` of deals (column_name, property), the
condition `{of_this_scan}` on `deals`, and the parameters %(tenant_id)s and %(scan_id)s.
"""

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    BLOCK = "block"  # fails the task: look at this scan's rows before you use them
    WARN = "warn"  # is stored and counted; the run continues


@dataclass(frozen=True)
class Rule:
    """One check. It passes if its figure is at most ``at_most``.

    ``records`` selects the wrong records: object, record_id, detail (a text or NULL). They are
    stored for the status page. ``figure`` selects one number; without it, the figure is the number
    of wrong records.

    A rule with ``needs_rows`` does not apply to a scan that received no deals. ``applies`` is a
    further condition. The status of a rule that does not apply is `no_rows`.
    """

    name: str
    severity: Severity
    why: str
    records: str = ""
    figure: str = ""
    at_most: int = 0
    needs_rows: bool = True
    applies: str = "true"

    @property
    def statement(self) -> str:
        figure = self.figure or f"select count(*) from ({self.records}) as wrong"  # noqa: S608
        return f"select ({figure}) where {self.applies}"


RULES = (
    Rule(
        name="deals_present",
        figure="""
            select case when exists (select from {deals} where _tenant_id = %(tenant_id)s)
                   then 0 else 1 end
        """,
        severity=Severity.WARN,
        why="accounts without deals are rare; the token may belong to another account",
        needs_rows=False,
    ),
    Rule(
        name="extraction_has_ended",
        figure="""
            select count(*) from {scans}
            where scan_id = %(scan_id)s and extraction_finished_at is null
        """,
        severity=Severity.BLOCK,
        why="an unfinished scan must not move the watermark",
        needs_rows=False,
    ),
    Rule(
        name="received_records_are_held",
        records="""
            with differing as (
                select sent.*, held._scan_id, held._extracted_at
                from received as sent
                left join (
                    select 'deals' as object, deal_id as record_id, _content_hash, _scan_id,
                           _extracted_at
                    from {deals}
                    where _tenant_id = %(tenant_id)s
                    union all
                    select object, record_id, _content_hash, _scan_id, _extracted_at
                    from {records}
                    where _tenant_id = %(tenant_id)s
                ) as held using (object, record_id)
                where held._content_hash is distinct from sent.content_hash
            )
            select object, record_id, null as detail
            from differing
            join {scans} as scan on scan.scan_id = %(scan_id)s
            left join {scans} as writer on writer.scan_id = differing._scan_id
            -- if a record was received several times, only its last state has to be held
            where not exists (
                select from received as later
                where later.object = differing.object and later.record_id = differing.record_id
                  and later.chunk > differing.chunk
            )
            -- a difference is explained if the record was read later by another scan, or by a try
            -- of this one that was killed before it could record what it had received
            and case when differing._scan_id = scan.scan_id
                     then differing._extracted_at > differing.loaded_at
                     else writer.last_extraction > coalesce(scan.first_extraction, 0)
                end is not true
        """,
        severity=Severity.BLOCK,
        why="every record that HubSpot sent must be a row with the same content",
        needs_rows=False,
    ),
    Rule(
        name="portal_count_is_explained",
        figure="""
            select sum(unexplained) from {scan_objects} where scan_id = %(scan_id)s
        """,
        severity=Severity.BLOCK,
        why="HubSpot and PostgreSQL must have the same live records",
        needs_rows=False,
        applies="""
            exists (
                select from {scan_objects} where scan_id = %(scan_id)s and unexplained is not null
            )
        """,
    ),
    Rule(
        name="most_records_are_still_there",
        figure="""
            select count(*) from {scan_objects}
            where scan_id = %(scan_id)s and vanished > 100 and vanished > live_rows
        """,
        severity=Severity.BLOCK,
        why="a token that suddenly sees fewer records must not empty reports unnoticed",
        needs_rows=False,
    ),
    Rule(
        name="everything_wanted_was_read",
        figure="""
            select jsonb_array_length(warnings) from {scans} where scan_id = %(scan_id)s
        """,
        severity=Severity.WARN,
        why="data that could not be read was not changed; the scan's `warnings` name it",
        needs_rows=False,
    ),
    Rule(
        name="keys_not_null",
        figure="""
            select count(*) from {deals}
            where _scan_id = %(scan_id)s and (_tenant_id is null or deal_id is null)
        """,
        severity=Severity.BLOCK,
        why="a row without a key would be inserted again instead of updated",
    ),
    Rule(
        name="keys_unique",
        records="""
            select 'deals' as object, deal_id as record_id, count(*) || ' rows' as detail
            from {deals} where _tenant_id = %(tenant_id)s
            group by deal_id having count(*) > 1
        """,
        severity=Severity.BLOCK,
        why="a duplicate deal counts twice in every sum",
    ),
    Rule(
        name="rows_carry_this_tenant",
        records="""
            select 'deals' as object, deal_id as record_id, null as detail from {deals}
            where _scan_id = %(scan_id)s and _tenant_id is distinct from %(tenant_id)s
        """,
        severity=Severity.BLOCK,
        why="a row under another tenant's id is visible to that tenant",
    ),
    Rule(
        name="properties_belong_to_their_deal",
        records="""
            select 'deals' as object, deal_id as record_id,
                   'hs_object_id ' || (properties ->> 'hs_object_id') as detail
            from {deals}
            where {of_this_scan} and properties ->> 'hs_object_id' <> deal_id::text
        """,
        severity=Severity.BLOCK,
        why="a row must not have the properties of another deal",
    ),
    Rule(
        name="records_came_with_properties",
        records="""
            select object, record_id, null as detail
            from (
                select 'deals' as object, deal_id as record_id, properties
                from {deals} where _tenant_id = %(tenant_id)s
                union all
                select object, record_id, properties
                from {records} where _tenant_id = %(tenant_id)s
            ) as held
            where (object, record_id) in (select object, record_id from received)
              and properties ->> 'hs_object_id' is null
        """,
        severity=Severity.WARN,
        why="HubSpot sends at least hs_object_id with every record",
        needs_rows=False,
    ),
    Rule(
        name="modified_not_in_the_future",
        records="""
            select 'deals' as object, deal_id as record_id, 'modified ' || updated_at as detail
            from {deals}
            where {of_this_scan} and updated_at > _extracted_at + interval '1 day'
        """,
        severity=Severity.BLOCK,
        why="a modification time in the future hides later changes from incremental scans",
    ),
    Rule(
        name="modified_not_before_created",
        records="""
            select 'deals' as object, deal_id as record_id,
                   'modified ' || updated_at || ', created ' || created_at as detail
            from {deals}
            where {of_this_scan} and updated_at < created_at
        """,
        severity=Severity.WARN,
        why="HubSpot sets both; a wrong order suggests a damaged record",
    ),
    Rule(
        name="timestamps_present",
        records="""
            select 'deals' as object, deal_id as record_id, null as detail from {deals}
            where {of_this_scan} and (updated_at is null or created_at is null)
        """,
        severity=Severity.WARN,
        why="HubSpot sends both with every deal",
    ),
    Rule(
        name="archived_rows_have_their_time",
        records="""
            select 'deals' as object, deal_id as record_id, null as detail from {deals}
            where {of_this_scan} and archived and archived_at is null
        """,
        severity=Severity.WARN,
        why="without archived_at, the day when the deal was archived is unknown",
    ),
    Rule(
        name="stages_known_to_the_portal",
        records="""
            select 'deals' as object, deal.deal_id as record_id,
                   'stage ' || deal.stage_id || ' of pipeline '
                   || coalesce(deal.pipeline_id, 'NULL') as detail
            from {deals} as deal
            where deal._tenant_id = %(tenant_id)s
              and deal.deal_id in (select record_id from received where object = 'deals')
              and not deal.archived
              and deal.stage_id is not null
              and not exists (
                  select from {pipeline_stages} as stage
                  where stage._tenant_id = deal._tenant_id
                    and stage.object = 'deals'
                    and stage.pipeline_id = deal.pipeline_id
                    and stage.stage_id = deal.stage_id
                    and stage.listed
              )
        """,
        # without any listed stage, the stages were not read
        applies="""
            exists (
                select from {pipeline_stages}
                where _tenant_id = %(tenant_id)s and object = 'deals' and listed
            )
        """,
        severity=Severity.WARN,
        why="a deal in a deleted stage is missing from reports by stage",
    ),
    Rule(
        name="values_fit_their_columns",
        figure="""
            select coalesce(sum(count::bigint), 0)
            from {scans}, jsonb_each_text(misfits) as misfit (column_name, count)
            where scan_id = %(scan_id)s
        """,
        records="""
            select object, record_id, column_name || ': ' || value as detail from misfits
            -- once, also for a column with two types
            union
            select 'deals', deal_id, column_name || ': ' || (properties ->> property)
            from (
                select deal_id, properties, to_jsonb(deal) - 'properties' as held
                from {deals} as deal where {of_this_scan}
            ) as deal, {typed_columns} as typed (column_name, property)
            where properties ->> property <> '' and held ->> column_name is null
        """,
        applies="""
            exists (select from received)
            or (select misfits <> '{{}}' from {scans} where scan_id = %(scan_id)s)
        """,
        severity=Severity.WARN,
        why="a value that does not fit is NULL in its column; the scan's `misfits` has the counts",
        needs_rows=False,
    ),
)
