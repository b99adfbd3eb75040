-- One row for each stage that a deal has left: how long deals were in it, in days.
with visits as (
    select
        pipeline_id,
        stage_id,
        extract(epoch from left_at - entered_at) / 86400 as days
    from {{ ref('stage_visits') }}
    where left_at is not null
)

select
    visits.pipeline_id,
    visits.stage_id,
    stages.stage_label,
    count(*) as visits,
    round(avg(visits.days)::numeric, 2) as mean_days,
    round(percentile_cont(0.5) within group (order by visits.days)::numeric, 2) as median_days
from visits
left join {{ ref('stages') }} as stages using (pipeline_id, stage_id)
group by 1, 2, 3
