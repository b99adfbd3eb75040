import json
from pathlib import Path

import pytest

from include.errors import TenantsFileError
from include.tenants import DEFAULT_FILE, Tenant, Tenants, load_tenants


def tenants_of(tmp_path: Path, text: str, **environ: str) -> Tenants:
    file = tmp_path / "tenants.yaml"
    file.write_text(text)
    return load_tenants({"HUBSPOT_DEALS_TENANTS_FILE": str(file), **environ})


def test_an_id_is_a_whole_entry(tmp_path: Path) -> None:
    tenants = tenants_of(tmp_path, "tenants:\n  - id: acme\n")

    assert tenants.enabled == (Tenant(id="acme"),)
    assert tenants.problems == ()


def test_a_bare_list_is_a_tenants_file_too(tmp_path: Path) -> None:
    assert tenants_of(tmp_path, "- id: acme\n").enabled == (Tenant(id="acme"),)


def test_dag_and_connection_are_named_after_the_tenant() -> None:
    tenant = Tenant(id="acme")

    assert (tenant.dag_id, tenant.connection_id) == ("hubspot_deals__acme", "hubspot_acme")


def test_a_disabled_tenant_is_left_out(tmp_path: Path) -> None:
    assert tenants_of(tmp_path, "[{id: acme, enabled: false}, {id: globex}]").enabled == (
        Tenant(id="globex"),
    )


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        pytest.param(
            "{id: acme, schedul: '@daily'}",
            "tenant 'acme': unknown key 'schedul' (did you mean 'schedule'?)",
            id="misspelt key",
        ),
        pytest.param("{id: acme, colour: red}", "unknown key 'colour'", id="unknown key"),
        pytest.param("{id: Acme-Corp}", "id 'Acme-Corp' must match", id="id that is no slug"),
        pytest.param("{schedule: null}", "key 'id' is missing", id="no id"),
        pytest.param("{id: acme, schedule: 0 0 30 2 *}", "'0 0 30 2 *' is not a cron", id="never"),
        pytest.param(
            "{id: acme, full_scan_schedule: 0 0 31 4 *}",
            "'0 0 31 4 *' is not a cron",
            id="never full",
        ),
        pytest.param("{id: acme, schedule: daily}", "'daily' is not a cron", id="no cron"),
        pytest.param("{id: acme, timezone: Mars/Base}", "IANA time zone", id="no time zone"),
        pytest.param(
            "{id: acme, owner_link: 'javascript:x()'}", "must be like mailto", id="script"
        ),
        pytest.param(
            "{id: acme, owner_link: 'http://x.example'}", "must be like mailto", id="no TLS"
        ),
        pytest.param(
            "{id: acme, owner_link: 'mailto:crm'}", "must be like mailto", id="no address"
        ),
        pytest.param("{id: acme, owner_link: 'https:///x'}", "must be like mailto", id="no host"),
        pytest.param("{id: acme, checkpoint_pages: 0}", "greater than or equal to 1", id="bound"),
        pytest.param("{id: acme, properties: [Amount!]}", "key 'properties'", id="property name"),
        pytest.param(
            "{id: acme, full_scan_schedule: weekly}", "'weekly' is not a cron", id="no full cron"
        ),
        pytest.param("{id: acme, search_lag_s: -1}", "key 'search_lag_s'", id="negative lag"),
        pytest.param(
            "{id: acme, objects: {contcts: }}",
            "unknown object 'contcts' (did you mean 'contacts'?)",
            id="misspelt object",
        ),
        pytest.param(
            "{id: acme, objects: {machines: {}}}",
            "unknown object 'machines' (a custom one needs 'object_type')",
            id="custom object without its type",
        ),
        pytest.param(
            "{id: acme, objects: {contacts: {propertys: all}}}",
            "unknown key 'objects.contacts.propertys' (did you mean 'properties'?)",
            id="misspelt key of an object",
        ),
        pytest.param(
            "{id: acme, objects: {contacts: {colour: red}}}",
            "unknown key 'objects.contacts.colour' (possible: object_type, properties,",
            id="unknown key of an object",
        ),
        pytest.param(
            "{id: acme, objects: {deals: {}}}",
            "deals', which are always loaded",
            id="deals as an object",
        ),
        pytest.param(
            "{id: acme, objects: {deal_associations: companies}}",
            "key 'objects.deal_associations'",
            id="text where a list belongs",
        ),
        pytest.param("{id: acme, objects: [contacts]}", "key 'objects'", id="a list of objects"),
        pytest.param(
            "{id: acme, objects: sails}",
            "key 'objects.preset': Input should be 'sales'",
            id="misspelt preset",
        ),
        pytest.param(
            "{id: acme, objects: {payment: }}",
            "unknown object 'payment' (did you mean 'payments'?)",
            id="misspelt object of commerce",
        ),
        pytest.param(
            "{id: acme, objects: {contacts: {property_history: al}}}",
            "key 'objects.contacts.property_history': expected 'all' or a list",
            id="misspelt all",
        ),
        pytest.param(
            '{id: acme, objects: {"a; drop table": {object_type: 2-1}}}',
            "must match ^[a-z]",
            id="hostile name",
        ),
        pytest.param("just text", "expected keys such as 'id: acme'", id="not a mapping"),
    ],
)
def test_a_bad_entry_is_reported_and_hides_no_other(tmp_path: Path, entry: str, said: str) -> None:
    tenants = tenants_of(tmp_path, f"tenants: [{{id: globex}}, {entry}, {{id: initech}}]")

    assert [tenant.id for tenant in tenants.enabled] == ["globex", "initech"]
    (problem,) = tenants.problems
    assert said in str(problem)
    assert str(tmp_path / "tenants.yaml") in str(problem)


def test_deals_are_the_first_object_with_what_the_tenant_wants_of_them() -> None:
    tenant = Tenant.model_validate(
        {
            "id": "acme",
            "properties": ["amount"],
            "objects": {"deal_associations": ["companies"], "deal_property_history": False},
        }
    )

    (deals,) = tenant.crm_objects
    assert (deals.name, deals.properties, deals.associations) == (
        "deals",
        ("amount",),
        ("companies",),
    )
    assert deals.property_history == ()


def test_any_other_object_is_named_in_the_file(tmp_path: Path) -> None:
    objects = "{contacts: , companies: true, tickets: false, machines: {object_type: 2-77}}"

    (tenant,) = tenants_of(tmp_path, f"[{{id: acme, objects: {objects}}}]").enabled

    found = {crm_object.name: crm_object for crm_object in tenant.crm_objects}
    assert list(found) == ["deals", "companies", "contacts", "machines"]
    assert found["contacts"].modified_property == "lastmodifieddate"
    assert found["machines"].object_type == "2-77"
    assert found["machines"].read_scope == "crm.objects.custom.read"
    assert found["companies"].read_scope == "crm.objects.companies.read"


ENGAGEMENTS = ("calls", "emails", "meetings", "notes", "tasks")


@pytest.mark.parametrize("preset", ["sales", "{preset: sales}"])
def test_a_preset_stands_for_the_objects_of_sales(tmp_path: Path, preset: str) -> None:
    (tenant,) = tenants_of(tmp_path, f"[{{id: acme, objects: {preset}}}]").enabled

    found = {crm_object.name: crm_object for crm_object in tenant.crm_objects}
    assert set(found) == {"deals", "companies", "contacts", "tickets", *ENGAGEMENTS}
    for name in ENGAGEMENTS:
        assert found[name].associations == ("deals", "contacts", "companies", "tickets")
    assert found["tickets"].associations == ("deals", "contacts", "companies")
    assert found["deals"].associations == ("companies", "contacts", "line_items", "tickets")
    assert "dealstage" in found["deals"].property_history
    assert "lifecyclestage" in found["contacts"].property_history
    assert "hs_pipeline_stage" in found["tickets"].property_history


@pytest.mark.parametrize(
    ("defaults", "entry"),
    [
        pytest.param(
            "{}",
            "{preset: sales, tickets: false, owners: false, contacts: {properties: [email]}}",
            id="one entry",
        ),
        pytest.param(
            "sales",
            "{tickets: false, owners: false, contacts: {properties: [email]}}",
            id="default",
        ),
        pytest.param(
            "{tickets: false, owners: false, contacts: {properties: [email]}}", "sales", id="entry"
        ),
    ],
)
def test_keys_beside_a_preset_refine_it(tmp_path: Path, defaults: str, entry: str) -> None:
    text = f"{{defaults: {{objects: {defaults}}}, tenants: [{{id: acme, objects: {entry}}}]}}"

    (tenant,) = tenants_of(tmp_path, text).enabled

    found = {crm_object.name: crm_object for crm_object in tenant.crm_objects}
    assert set(found) == {"deals", "companies", "contacts", *ENGAGEMENTS}
    assert found["contacts"].properties == ("email",)
    assert found["contacts"].associations == ("companies",)
    assert not tenant.objects.owners


def test_the_history_of_all_properties_can_be_wanted_of_any_object(tmp_path: Path) -> None:
    objects = "{deal_property_history: all, contacts: {property_history: all}}"

    (tenant,) = tenants_of(tmp_path, f"[{{id: acme, objects: {objects}}}]").enabled

    assert [crm_object.property_history for crm_object in tenant.crm_objects] == ["all", "all"]


@pytest.mark.parametrize(
    ("entry", "object_type", "scope"),
    [
        pytest.param("calls: ", "calls", "crm.objects.contacts.read", id="activities"),
        pytest.param("goals: ", "goal_targets", "crm.objects.goals.read", id="name of its own"),
        pytest.param("goal_targets: ", "goal_targets", "crm.objects.goals.read", id="path segment"),
        pytest.param("kurse: {object_type: 0-410}", "0-410", "crm.objects.courses.read", id="id"),
        pytest.param("fees: ", "fees", "crm.objects.line_items.read", id="scope of another"),
        pytest.param("tickets: ", "tickets", "tickets", id="older scope"),
    ],
)
def test_every_standard_object_has_its_path_and_its_scope(
    tmp_path: Path, entry: str, object_type: str, scope: str
) -> None:
    (tenant,) = tenants_of(tmp_path, f"[{{id: acme, objects: {{{entry}}}}}]").enabled

    _, found = tenant.crm_objects
    assert (found.object_type, found.read_scope) == (object_type, scope)


def test_a_tenant_listed_twice_is_taken_once_and_reported(tmp_path: Path) -> None:
    tenants = tenants_of(tmp_path, "[{id: acme, retries: 1}, {id: acme, retries: 2}]")

    assert tenants.enabled == (Tenant(id="acme", retries=1),)
    assert "listed twice" in str(tenants.problems[0])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("tenants: [", "is not valid YAML at line", id="not YAML"),
        pytest.param("tenants: {acme: {}}", "expected a list of tenants", id="a mapping"),
        pytest.param("acme", "expected a list of tenants", id="a word"),
    ],
)
def test_a_file_that_is_no_list_of_tenants_is_refused(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(TenantsFileError, match=said):
        tenants_of(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TenantsFileError, match=r"nowhere\.yaml: can't be read"):
        load_tenants({"HUBSPOT_DEALS_TENANTS_FILE": str(tmp_path / "nowhere.yaml")})


def test_a_token_in_the_environment_makes_the_tenant_default(tmp_path: Path) -> None:
    tenants = tenants_of(tmp_path, "[]", HUBSPOT_ACCESS_TOKEN="pat-na1-x")

    assert tenants.enabled == (Tenant(id="default"),)


def test_the_shipped_file_holds_the_one_account_setup() -> None:
    assert load_tenants({}).enabled == (Tenant(id="default"),)
    assert DEFAULT_FILE.name == "tenants.yaml"


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param("../x", id="up"),
        pytest.param("a/b", id="down"),
        pytest.param("a\x00b", id="NUL"),
        pytest.param("a" * 41, id="41 characters"),
        pytest.param("acme\n", id="line break at the end"),
        pytest.param("acme ", id="blank at the end"),
        pytest.param("\nacme", id="line break before"),
        pytest.param("аcme", id="Cyrillic look-alike"),  # noqa: RUF001
        pytest.param("acme\u200b", id="invisible"),
        pytest.param("ACME", id="capitals"),
        pytest.param("a'; drop table deals; --", id="SQL"),
        pytest.param("__class__", id="Python's"),
        pytest.param("1acme", id="digit first"),
        pytest.param("%(x)s", id="format"),
        pytest.param(True, id="yes, to YAML"),
        pytest.param(123, id="number"),
        pytest.param(["acme"], id="list"),
        pytest.param({"a": 1}, id="mapping"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_is_no_id_never_becomes_a_tenant(tmp_path: Path, hostile: object) -> None:
    file = tmp_path / "tenants.json"
    file.write_text(json.dumps({"tenants": [{"id": "globex"}, {"id": hostile}]}))

    tenants = load_tenants({"HUBSPOT_DEALS_TENANTS_FILE": str(file)})

    assert [tenant.id for tenant in tenants.all] == ["globex"]
    assert "must match" in str(tenants.problems[0])


def test_one_tenant_can_be_asked_for_and_no_other_is_looked_at(tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text("tenants: [{id: globex, wrong: 1}, {id: acme}, just text]")

    tenants = load_tenants({"HUBSPOT_DEALS_TENANTS_FILE": str(file)}, only="acme")

    assert (tenants.enabled, tenants.problems) == ((Tenant(id="acme"),), ())


def test_the_token_of_the_environment_adds_no_tenant_to_another_ones_task(tmp_path: Path) -> None:
    file = tmp_path / "tenants.yaml"
    file.write_text("tenants: [{id: acme}]")
    environ = {"HUBSPOT_DEALS_TENANTS_FILE": str(file), "HUBSPOT_ACCESS_TOKEN": "pat-na1-x"}

    assert load_tenants(environ, only="acme").enabled == (Tenant(id="acme"),)
    assert load_tenants(environ, only="default").enabled == (Tenant(id="default"),)


def test_pools_are_named_once_and_used_by_entries(tmp_path: Path) -> None:
    text = "pools: {hubspot_large: 2}\ntenants: [{id: acme, pool: hubspot_large, priority: 5}]"

    tenants = tenants_of(tmp_path, text)

    assert tenants.pools == {"hubspot_large": 2}
    assert (tenants.enabled[0].pool, tenants.enabled[0].priority) == ("hubspot_large", 5)


def test_a_pool_that_is_not_listed_is_a_problem_of_its_entry(tmp_path: Path) -> None:
    text = "pools: {hubspot_large: 2}\ntenants: [{id: acme, pool: hubspot_larg}, {id: globex}]"

    tenants = tenants_of(tmp_path, text)

    assert [tenant.id for tenant in tenants.enabled] == ["globex"]
    assert "'hubspot_larg' is not listed under 'pools' (did you mean 'hubspot_large'?)" in str(
        tenants.problems[0]
    )


@pytest.mark.parametrize(
    ("pools", "said"),
    [
        pytest.param("[a]", "expected names and slots", id="a list"),
        pytest.param("{a: 0}", "'a' has 0 slots", id="no slots"),
        pytest.param("{a: true}", "'a' has True slots", id="yes"),
        pytest.param("{a: x}", "'a' has 'x' slots", id="text"),
        pytest.param("{'a b': 1}", "name 'a b' must match", id="a blank"),
        pytest.param("{1: 1}", "name 1 must match", id="a number"),
        pytest.param(
            "{default_pool: 1}", "set the slots of 'default_pool' in Airflow", id="Airflow's pool"
        ),
    ],
)
def test_wrong_pools_are_refused(tmp_path: Path, pools: str, said: str) -> None:
    with pytest.raises(TenantsFileError, match=r"pools: ") as refused:
        tenants_of(tmp_path, f"pools: {pools}\ntenants: []")

    assert said in str(refused.value)


def test_what_stands_in_an_entry_is_never_shown_whole(tmp_path: Path) -> None:
    bomb = ["x: &a0 [y]"] + [f"x{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    text = "\n".join(["tenants:", "  - [{}]".format(", ".join(f"{{{line}}}" for line in bomb))])

    (problem,) = tenants_of(tmp_path, text).problems

    assert len(str(problem)) < 1_000


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        pytest.param(
            "id: acme\n    portal_id: 4242\n    portal_id: 777",
            "tenant 'acme': duplicate key 'portal_id' in lines 4 and 5",
            id="the account check disarmed",
        ),
        pytest.param("id: acme\n    'enabled': true\n    \"enabled\": false", "twice", id="quotes"),
        pytest.param("{id: acme, id: acme}", "duplicate key 'id' in line 3", id="one line"),
        pytest.param("{id: acme, id: other}", "duplicate key 'id'", id="two ids"),
        pytest.param(
            "{id: acme, objects: {contacts: {properties: all, properties: []}}}",
            "duplicate key 'properties'",
            id="deep below",
        ),
        pytest.param(
            "{id: acme, alerts: {on: [failure], 'on': []}}", "duplicate key 'on'", id="on"
        ),
        pytest.param(
            "{id: acme, alerts: {channels: [{smtp: {to: [a@b.c], to: [d@e.f]}}]}}",
            "duplicate key 'to'",
            id="in a list",
        ),
        pytest.param("{id: acme, 1: a, 0x1: b}", "duplicate key 1", id="two ways to write it"),
        pytest.param("{id: acme, yes: a, true: b}", "duplicate key True", id="truths"),
        pytest.param("{id: acme, null: a, ~: b}", "duplicate key None", id="nulls"),
        pytest.param("{id: acme, <<: {retries: 1}, <<: {retries: 2}}", "key '<<'", id="merges"),
        pytest.param(
            "{id: acme, <<: {retries: 1, retries: 2}}", "key 'retries'", id="what is merged"
        ),
        pytest.param(
            "{id: acme, <<: [{owner: a}, {retries: 1, retries: 2}]}", "'retries'", id="one of many"
        ),
        pytest.param(
            "{id: acme, objects: !!map {owners: true, owners: false}}", "'owners'", id="tagged"
        ),
    ],
)
def test_a_key_that_stands_twice_is_a_problem_of_its_entry(
    tmp_path: Path, entry: str, said: str
) -> None:
    tenants = tenants_of(tmp_path, f"tenants:\n  - id: globex\n  - {entry}\n  - id: initech\n")

    assert [tenant.id for tenant in tenants.all] == ["globex", "initech"]
    (problem,) = tenants.problems
    assert said in str(problem)


@pytest.mark.parametrize(
    "text",
    [
        "tenants: [{id: a}]\ntenants: [{id: b}]",
        "defaults: {retries: 1}\ndefaults: {retries: 2}\ntenants: [{id: a}]",
        "defaults: {retries: 1, retries: 2}\ntenants: [{id: a}]",
        "pools: {large: 1, large: 2}\ntenants: [{id: a}]",
        "defaults: {alerts: {on: [failure], on: []}}\ntenants: [{id: a}]",
    ],
)
def test_a_key_that_stands_twice_for_all_refuses_the_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(TenantsFileError, match="duplicate key"):
        tenants_of(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"tenants": [], "tenants": [{"id": "a"}]}', id="top"),
        pytest.param('{"tenants": [{"id": "a"}], "pools": {"p": 1,\n"p": 2}}', id="pools"),
    ],
)
def test_a_key_that_stands_twice_in_json_refuses_the_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "tenants.json").write_text(text)

    with pytest.raises(TenantsFileError, match="duplicate key"):
        load_tenants({"HUBSPOT_DEALS_TENANTS_FILE": str(tmp_path / "tenants.json")})


def test_a_key_that_stands_twice_in_an_entry_in_json_harms_no_other(tmp_path: Path) -> None:
    (tmp_path / "tenants.json").write_text(
        '[{"id": "a"},\n {"id": "acme",\n  "portal_id": 4242,\n  "portal_id": 777}]'
    )

    tenants = load_tenants({"HUBSPOT_DEALS_TENANTS_FILE": str(tmp_path / "tenants.json")})

    assert tenants.all == (Tenant(id="a"),)
    (problem,) = tenants.problems
    assert "tenant 'acme': duplicate key 'portal_id' in lines 3 and 4" in str(problem)


def test_a_key_that_stands_twice_in_json_that_yaml_reads_otherwise_harms_no_other(
    tmp_path: Path,
) -> None:
    (tmp_path / "tenants.json").write_text('[{"id": "a"}, {"id": "acme", "x": 1e3, "x": 1e3}]')

    tenants = load_tenants({"HUBSPOT_DEALS_TENANTS_FILE": str(tmp_path / "tenants.json")})

    assert tenants.all == (Tenant(id="a"),)
    assert "tenant 'acme': duplicate key 'x'" in str(tenants.problems[0])


def test_what_an_entry_merges_it_may_state_otherwise(tmp_path: Path) -> None:
    tenants = tenants_of(
        tmp_path,
        "tenants:\n- &a {id: acme, retries: 1}\n- &b {<<: *a, id: globex}\n"
        "- {<<: [*b, *a], id: initech, retries: 2}\n",
    )

    assert tenants.problems == ()
    assert [(tenant.id, tenant.retries) for tenant in tenants.all] == [
        ("acme", 1),
        ("globex", 1),
        ("initech", 2),
    ]


def test_mappings_that_merge_each_other_many_times_take_no_memory(tmp_path: Path) -> None:
    lines = ["- &m0 {id: a0}"]
    for level in range(1, 30):
        before = f"*m{level - 1}"
        lines.append(f"- &m{level} {{<<: [{', '.join([before] * 10)}], id: a{level}}}")

    assert len(tenants_of(tmp_path, "\n".join(lines)).all) == 30


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n \n",
        "# tenants:\n#   - id: acme\n",
        "---\n",
        "tenants:\n  # - id: acme\n",
        "defaults: {}",
    ],
)
def test_a_file_without_any_tenant_is_a_problem(tmp_path: Path, text: str) -> None:
    tenants = tenants_of(tmp_path, text)

    assert tenants.all == ()
    (problem,) = tenants.problems
    assert "there are no tenants" in str(problem)


@pytest.mark.parametrize("text", ["[]", "tenants: []"])
def test_an_empty_list_says_that_there_is_to_be_no_tenant(tmp_path: Path, text: str) -> None:
    assert tenants_of(tmp_path, text) == Tenants((), (), {})


def test_the_token_of_the_environment_does_not_replace_a_bad_entry(tmp_path: Path) -> None:
    text = "tenants: [{id: default, shedule: null}]"

    tenants = tenants_of(tmp_path, text, HUBSPOT_ACCESS_TOKEN="pat")

    assert tenants.all == ()
    (problem,) = tenants.problems
    assert "unknown key 'shedule' (did you mean 'schedule'?)" in str(problem)


UTF16 = "tenants: [{id: acme}]".encode("utf-16")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbftenants: [{id: acme}]", id="BOM"),
        pytest.param(UTF16, id="UTF-16"),
        pytest.param(b"tenants:\r\n  - id: acme\r\n", id="CRLF"),
        pytest.param(b"tenants:\r  - id: acme\r", id="CR"),
        pytest.param(b"---\ntenants: [{id: acme}]\n...\n", id="one document, marked"),
        pytest.param(b"%YAML 1.1\n---\ntenants: [{id: acme}]", id="directive"),
    ],
)
def test_the_same_file_may_be_written_in_several_ways(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tenants.yaml").write_bytes(content)

    tenants = load_tenants({"HUBSPOT_DEALS_TENANTS_FILE": str(tmp_path / "tenants.yaml")})

    assert tenants == Tenants((Tenant(id="acme"),), (), {})


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"tenants:\n\t- id: acme\n", id="tab"),
        pytest.param(b"tenants: [{id: a\x00cme}]", id="NUL"),
        pytest.param(b"tenants: [{id: acm\xe9}]", id="Latin-1"),
        pytest.param(b"tenants: [{id: a}]\n---\ntenants: [{id: b}]", id="two documents"),
        pytest.param(b"tenants: " + b"[" * 100_000, id="deep"),
        pytest.param(b"tenants: *nowhere", id="alias of nothing"),
        pytest.param(b"tenants: !!python/object/apply:os.getcwd []", id="a call"),
        pytest.param(b"tenants: [{[a]: b}]", id="a list as a key"),
        pytest.param(b"tenants: {id: acme}", id="a mapping of one entry"),
        pytest.param(b"tenants: acme", id="a word"),
        pytest.param(b"tenants: false", id="false"),
        pytest.param(b"tenants: [{id: acme, portal_id: 2026-99-99}]", id="no date"),
        pytest.param(b"tennants: [{id: acme}]", id="misspelt at the top"),
        pytest.param(b"tenants: [{id: acme}", id="unclosed"),
    ],
)
def test_a_file_that_can_not_be_read_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tenants.yaml").write_bytes(content)

    with pytest.raises(TenantsFileError) as caught:
        load_tenants({"HUBSPOT_DEALS_TENANTS_FILE": str(tmp_path / "tenants.yaml")})

    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\x00", b"", b'[{"id": "\xe9"}]', b"[] []"])
def test_json_that_can_not_be_read_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tenants.json").write_bytes(content)

    with pytest.raises(TenantsFileError):
        load_tenants({"HUBSPOT_DEALS_TENANTS_FILE": str(tmp_path / "tenants.json")})


@pytest.mark.parametrize(
    "entry",
    ["&a [*a]", "&a {id: acme, objects: *a}", "&a {id: acme, alerts: {channels: [*a]}}", "~", "''"],
)
def test_an_entry_that_holds_itself_or_nothing_hides_no_other(tmp_path: Path, entry: str) -> None:
    tenants = tenants_of(tmp_path, f"tenants: [{{id: globex}}, {entry}]")

    assert tenants.all == (Tenant(id="globex"),)
    assert len(tenants.problems) == 1
