-- One row for each stage of each pipeline, with its place in the funnel.
select
    pipeline_id,
    stage_id,
    pipeline_label,
    stage_label,
    coalesce(is_closed, false) as is_closed,
    coalesce(is_closed and probability = 1, false) as is_won,
    row_number() over (
        partition by pipeline_id
        order by not listed, display_order, stage_id
    ) as position
from {{ source('hubspot', 'deal_stages') }}
