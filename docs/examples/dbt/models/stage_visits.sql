-- One row for each time that a live deal entered a stage. `left_at` is null while it is there.
with history as (
    select
        record_id as deal_id,
        value as stage_id,
        changed_at as entered_at,
        lag(value) over of_deal as previous_stage_id
    from {{ source('hubspot', 'deal_property_history') }}
    where property = 'dealstage'
    window of_deal as (partition by record_id order by changed_at)
),

-- HubSpot also lists a change that set the same stage again.
entries as (
    select deal_id, stage_id, entered_at
    from history
    where stage_id is distinct from previous_stage_id
)

select
    entries.deal_id,
    deals.pipeline as pipeline_id,
    entries.stage_id,
    entries.entered_at,
    lead(entries.entered_at) over (
        partition by entries.deal_id
        order by entries.entered_at
    ) as left_at
from entries
inner join {{ source('hubspot', 'deals') }} as deals using (deal_id)
