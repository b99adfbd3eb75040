"""What is read as a number, a time and a date: by Python and by PostgreSQL alike."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.warehouse.connection import Warehouse
from include.warehouse.migrations import migrate
from include.warehouse.values import to_moment, to_number

Times = list[datetime | None]


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type]


#: docs/api-integration.md#values, as cases: (text, the time that is read)
TIMES: list[tuple[str, datetime | None]] = [
    # ISO 8601
    ("2023-10-19", at(2023, 10, 19)),
    ("2023-10-19T18:07", at(2023, 10, 19, 18, 7)),
    ("2023-10-19T18:07Z", at(2023, 10, 19, 18, 7)),
    ("2023-10-19T18:07:59", at(2023, 10, 19, 18, 7, 59)),
    ("2023-10-19T18:07:59Z", at(2023, 10, 19, 18, 7, 59)),
    ("2023-10-19 18:07:59.2Z", at(2023, 10, 19, 18, 7, 59, 200_000)),
    ("2023-10-19T18:07:59.292Z", at(2023, 10, 19, 18, 7, 59, 292_000)),
    ("2023-10-19t18:07:59.292z", at(2023, 10, 19, 18, 7, 59, 292_000)),
    ("2023-10-19T18:07:59.123456789Z", at(2023, 10, 19, 18, 7, 59, 123_457)),
    ("2023-10-19T18:07:59.9999999", at(2023, 10, 19, 18, 8)),
    ("2023-10-19T20:07:59+02:00", at(2023, 10, 19, 18, 7, 59)),
    ("2023-10-19T20:07:59+0200", at(2023, 10, 19, 18, 7, 59)),
    ("2023-10-19T20:07:59+02", at(2023, 10, 19, 18, 7, 59)),
    ("2023-10-19 18:07-05:30", at(2023, 10, 19, 23, 37)),
    ("2023-10-19T18:07:59-00:00", at(2023, 10, 19, 18, 7, 59)),
    ("2023-10-19T18:07:59+15:59", at(2023, 10, 19, 2, 8, 59)),
    (" \t2023-10-19\r\n", at(2023, 10, 19)),
    (" 2023-10-19T18:07:59+02 ", at(2023, 10, 19, 16, 7, 59)),
    ("2024-02-29", at(2024, 2, 29)),
    ("2000-02-29", at(2000, 2, 29)),
    ("0001-01-01", at(1, 1, 1)),
    ("9999-12-31T23:59:59.999999Z", at(9999, 12, 31, 23, 59, 59, 999_999)),
    # milliseconds since 1970
    ("0", at(1970, 1, 1)),
    ("1633996800000", at(2021, 10, 12)),
    ("1633996800000.0", at(2021, 10, 12)),
    ("1633996800000.", at(2021, 10, 12)),
    ("1.6339968E12", at(2021, 10, 12)),
    ("1.6339968e+12", at(2021, 10, 12)),
    ("+1633996800000", at(2021, 10, 12)),
    ("16339968000000e-1", at(2021, 10, 12)),
    ("1633996800000.4994", at(2021, 10, 12, 0, 0, 0, 499)),
    ("1633996800000.4995", at(2021, 10, 12, 0, 0, 0, 500)),
    # a number, though it could be meant as a date
    ("20231019", at(1970, 1, 1, 5, 37, 11, 19_000)),
    ("-86400000", at(1969, 12, 31)),
    ("-0.0006", at(1969, 12, 31, 23, 59, 59, 999_999)),
    ("\n1697738879292 ", at(2023, 10, 19, 18, 7, 59, 292_000)),
    ("-62135596800000", at(1, 1, 1)),
    ("253402300799999", at(9999, 12, 31, 23, 59, 59, 999_000)),
    ("0" * 387 + "1633996800000", at(2021, 10, 12)),
    ("1e-999", at(1970, 1, 1)),
    # no times
    *(
        (text, None)
        for text in [
            "",
            " ",
            "soon",
            "today",
            "now",
            "epoch",
            "infinity",
            "-infinity",
            "NaN",
            "nan",
            "2023-13-01",
            "2023-00-01",
            "2023-01-00",
            "2023-01-32",
            "2023-04-31",
            "2023-02-29",
            "1900-02-29",
            "0000-01-01",
            "10000-01-01",
            "02023-01-01",
            "23-01-01",
            "-2023-01-01",
            "2023-W01",
            "2023-W01-1",
            "2023-W01-1T00:00:00Z",
            "2023-292",
            "2023-10",
            "20231019T180759Z",
            "2023-10-19T180759Z",
            "2023-10-19T18",
            "2023-10-19T18Z",
            "2023-10-19T18:07:59,292Z",
            "2023-10-19T18:07:59.Z",
            "2023-10-19T18:07.5Z",
            "2023-10-19T18:07:59.1234567890Z",
            "2023-10-19T24:00:00Z",
            "2023-10-19T18:60Z",
            "2023-10-19T18:07:60Z",
            "2023-10-19T23:59:60Z",
            "2023-10-19T",
            "2023-10-19Z",
            "2023-10-19T18:07:59 Z",
            "2023-10-19T18:07:59 +02",
            "2023-10-19  18:07:59",
            "2023-10-19T18:07:59+2",
            "2023-10-19T18:07:59+02:0",
            "2023-10-19T18:07:59+16",
            "2023-10-19T18:07:59+02:60",
            "2023-10-19T18:07:59+02:00:00",
            "2023-10-19+02:00",
            "2023-10-19T18:07:59ZZ",
            "2023-10-19T18:07:59 UTC",
            "2023-10-19T18:07:59\u221202:00",
            "2023-10-19_18:07:59",
            "2023-10-19\n18:07:59",
            "2023/10/19",
            "19.10.2023",
            "31.12.2025",
            "10/19/2023",
            "Oct 19, 2023",
            "2023-10-19T18:07:59Z;2023-10-20",
            "2023-10-19 BC",
            "\u0662\u0660\u0662\u0663-10-19",
            "2023-1\u0660-19",
            "\u20032023-10-19",
            "2023-10-19\u00a0",
            "\uff11\uff16\uff13\uff13",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "9999-12-31T23:59:59.9999999",
            "253402300800000",
            "253402300799999.9995",
            "-62135596800001",
            # before PostgreSQL's first year
            "-542282438881221",
            "-8796093022207E2",
            "-1e14",
            "-1e15",
            "99999999999999999999",
            "1e400",
            "1e15",
            "-1e999",
            "1E",
            "1e+",
            ".",
            "e5",
            "0x10",
            "1_000",
            "1,000",
            "1;2",
            "1 633",
            "--1",
            "0" * 400 + "1",
            "1e1000",
            "true",
        ]
    ),
]


@pytest.fixture(scope="module")
def connection(modules_database_url: str) -> Iterator[psycopg.Connection]:
    """A session with as few of PostgreSQL's defaults as one could have."""
    migrate(Warehouse.from_url(modules_database_url, "values_of_hubspot"))
    with psycopg.connect(modules_database_url) as connection:
        connection.execute("set search_path to values_of_hubspot")
        connection.execute("set datestyle to 'German, DMY'; set timezone to 'Asia/Kathmandu'")
        connection.execute("set intervalstyle to 'sql_standard'")
        yield connection


def by_postgresql(connection: psycopg.Connection, texts: Sequence[str]) -> Times:
    rows = connection.execute(
        "select to_char(as_timestamptz(text) at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
        " from unnest(%s::text[]) with ordinality as given (text, n) order by n",
        [list(texts)],
    )
    return [datetime.fromisoformat(f"{text}+00:00") if text else None for (text,) in rows]


@pytest.mark.parametrize(("text", "moment"), TIMES)
def test_python_reads_a_time(text: str, moment: datetime | None) -> None:
    assert to_moment(text) == moment


def test_postgresql_reads_the_same_times(connection: psycopg.Connection) -> None:
    found = by_postgresql(connection, [text for text, _ in TIMES])

    assert list(zip([text for text, _ in TIMES], found, strict=True)) == TIMES


def test_a_date_is_the_day_of_that_time_in_utc(connection: psycopg.Connection) -> None:
    rows = connection.execute(
        "select text, to_char(as_date(text), 'YYYY-MM-DD') from unnest(%s::text[]) as text",
        [[text for text, _ in TIMES]],
    ).fetchall()

    assert dict(rows) == {
        text: moment.date().isoformat() if moment else None for text, moment in TIMES
    }


_digits = st.text("0123456789", max_size=16)
_signs = st.sampled_from(["", "", "+", "-"])
_years = st.sampled_from(["0000", "0001", "1900", "1970", "2000", "2023", "2024", "9999", "10000"])
_numbers = st.builds(
    "{}{}{}{}".format,
    _signs,
    st.one_of(_digits, st.integers(-(10**15), 10**15).map(str)),
    st.one_of(st.just(""), _digits.map(".{}".format)),
    st.one_of(st.just(""), st.integers(-1000, 1000).map("e{}".format), st.just("E2")),
)
_dates = st.builds(
    "{}{}{:02}{}{:02}".format,
    st.one_of(_years, st.integers(0, 10_000).map("{:04}".format)),
    st.sampled_from(["-", "-", "-", "", "/"]),
    st.integers(0, 13),
    st.sampled_from(["-", "-", "-", "", "."]),
    st.integers(0, 32),
)
_clocks = st.builds(
    "{}{:02}{}{:02}{}{}".format,
    st.sampled_from(["T", "T", " ", "t", "", "_"]),
    st.integers(0, 25),
    st.sampled_from([":", ":", ":", ""]),
    st.integers(0, 61),
    st.one_of(st.just(""), st.integers(0, 61).map(":{:02}".format)),
    st.one_of(st.just(""), st.builds("{}{}".format, st.sampled_from([".", ".", ","]), _digits)),
)
_zones = st.one_of(
    st.sampled_from(["", "Z", "z", " Z", "UTC"]),
    st.builds(
        "{}{:02}{}".format,
        _signs,
        st.integers(0, 24),
        st.one_of(
            st.just(""), st.integers(0, 61).map(":{:02}".format), st.integers(0, 61).map(str)
        ),
    ),
)
_blanks = st.sampled_from(["", "", "", "", " ", "\t", "\n", "\v", "\x1f", "\x85", "\u00a0"])
_texts = st.builds(
    "{}{}{}".format,
    _blanks,
    st.one_of(
        _numbers,
        _dates,
        st.builds("{}{}{}".format, _dates, _clocks, _zones),
        st.text("0123456789-+.:;,TZtzWeE \n", max_size=30),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
    ),
    _blanks,
)


@settings(max_examples=60, derandomize=True)
@given(texts=st.lists(_texts, min_size=50, max_size=200))
def test_python_and_postgresql_agree_about_any_text(
    connection: psycopg.Connection, texts: list[str]
) -> None:
    found = by_postgresql(connection, texts)

    assert dict(zip(texts, found, strict=True)) == {text: to_moment(text) for text in texts}


@settings(max_examples=30, derandomize=True)
@given(texts=st.lists(st.one_of(_numbers, _texts), min_size=50, max_size=200))
def test_python_and_postgresql_agree_about_numbers(
    connection: psycopg.Connection, texts: list[str]
) -> None:
    rows = connection.execute(
        "select text, as_number(text) from unnest(%s::text[]) as text", [texts]
    ).fetchall()

    assert dict(rows) == {text: to_number(text) for text in texts}


@pytest.mark.parametrize("text", ["1e200000", "NaN", "Infinity", "9" * 65_536, None, True])
def test_what_postgresql_could_not_hold_is_no_number(text: object) -> None:
    assert to_number(text) is None
