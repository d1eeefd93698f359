"""Broken files are refused in one sentence: the place, the value, and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from ancf_jax.config import Config
from ancf_jax.data.readers import read
from ancf_jax.errors import UserError

BADINPUT = Path(__file__).resolve().parents[1] / "badinput"

# File -> what the message must hold: the place, the value, and what to do about it.
BROKEN = {
    "binary_id.parquet": 'column "user_id" holds binary, expected text',
    "blank_item.csv": "line 3, column \"item_id\": found '  '",
    "bom_only.csv": "is empty",
    "clicked_maybe.csv": "line 3, column \"clicked\": found 'maybe', expected 1, 0, true or false",
    "code_of_no_text.parquet": 'row 1, column "user_id": found a code that stands for no text',
    "compressed.csv": "a NUL byte, expected text; unpack the file",
    "date_rating.parquet": "row 1, column \"rating\": found '2017-01-01', expected a number",
    "dwell_negative.csv": (
        "line 3, column \"dwell_seconds\": found '-2.5', expected a number from 0 up"
    ),
    "empty.csv": "is empty",
    "empty_event.csv": 'line 3, column "event": found nothing',
    "empty_user.csv": 'line 3, column "user_id": found nothing',
    "extra_field_every_row.csv": "line 2: 5 fields, expected 4;",
    "feature_column_twice": 'items.csv has the column "department" 2 times',
    "fraction_id.parquet": 'column "user_id" holds double, expected text or whole numbers',
    "header_only.csv": "holds no rows",
    "huge_id.csv": 'line 3, column "user_id": found \'xxx',
    "item_column_twice.csv": 'has the column "item_id" 2 times',
    "item_twice": "items.csv, line 3, column \"item_id\": found 'milk', expected every id once",
    "latin_1_item.csv": "line 3, byte 8: found 0xe9, expected UTF-8;",
    "many_kinds.csv": "found 'e127', expected at most 127 kinds of event",
    "movielens": "u.data, line 2, column \"rating\": found 'x'",
    "movielens_csv": 'movies.csv has no column "movieId"; it has id, title',
    "nan_rating.parquet": "row 2, column \"rating\": found 'nan'",
    "ncf_lonely": (
        "should hold one file each of *.train.rating, *.test.rating, "
        "*.test.negative, found s.train.rating"
    ),
    "ncf_no_line": 'has no line for user "b"',
    "ncf_two_tests": "s.test.rating, line 2, column \"user_id\": found 'a', expected every id once",
    "ncf_wrong_head": (
        "s.test.negative, line 1: found '(a,x)\\tz', expected (user,item) of "
        ".test.rating"
    ),
    "nested_id.parquet": 'column "user_id" holds list<item: large_string>',
    "no_item_column.csv": (
        'no column "item_id" (did you mean "itemid"?); it has user_id, itemid, '
        "timestamp"
    ),
    "no_rows.parquet": "holds no rows",
    "not_parquet.parquet": "is damaged or no Parquet file",
    "nul_byte.csv": "line 3: a NUL byte",
    "not_utf8_id.parquet": 'row 2, column "user_id": found the byte 0xe9, which is not UTF-8',
    "not_utf8_kind.parquet": 'row 3, column "event": found the byte 0xe9, which is not UTF-8',
    "nul_feature": 'items.parquet, row 2, column "category": found a NUL byte',
    "nul_id.parquet": 'row 3, column "user_id": found a NUL byte',
    "null_id.parquet": 'row 2, column "user_id": found nothing',
    "null_time.parquet": 'row 2, column "timestamp": found nothing',
    "one_column.csv": 'no column "item_id"; it has user_id;',
    "open_quote.csv": 'line 3: a quote (") that is not closed',
    "rating_3e38.csv": (
        "line 3, column \"rating\": found '3e38', expected a number of at most 1e+12;"
    ),
    "rating_decimal_comma.csv": "line 3, column \"rating\": found '3,5'",
    "rating_huge.csv": "line 3, column \"rating\": found '1e300'",
    "rating_inf.csv": "line 3, column \"rating\": found '-inf'",
    "rating_nan.csv": "line 3, column \"rating\": found 'NaN'",
    "rating_negative.csv": "line 3, column \"rating\": found '-1'",
    "rating_text.csv": "line 5, column \"rating\": found 'good'",
    "sequence_broken_json": (
        "s_item2attributes.json is not a JSON object of item -> list of values "
        "(Expecting"
    ),
    "sequence_empty_item": (
        "s_item2attributes.json is not a JSON object of item -> list of values "
        "(it holds"
    ),
    "sequence_nul": "s_item2attributes.json is not a JSON object of item -> list of values (it holds a NUL",
    "sequence_unknown_user": 'user "b" has no line of items',
    "sequence_user_alone.txt": 'line 2: "bob" alone',
    "sequence_surrogate": "s_item2attributes.json is not a JSON object of item -> list of values",
    "short_row.csv": "line 3: 2 fields, expected 4;",
    "struct_rating.parquet": 'column "rating" holds struct<stars: int64>',
    "time_missing.csv": 'line 3, column "timestamp": found nothing',
    "time_mixed_units.csv": (
        "line 3, column \"timestamp\": found '1490000001000', expected times "
        "in one unit"
    ),
    "time_mixed_zones.csv": (
        "line 3, column \"timestamp\": found '2017-03-01T10:00:00+02:00', "
        "expected an offset"
    ),
    "time_negative.csv": "line 3, column \"timestamp\": found '-5'",
    "time_no_such_day.csv": "line 3, column \"timestamp\": found '2017-02-30 10:00'",
    "time_numbers_among_dates.csv": "line 4, column \"timestamp\": found '1490000000'",
    "time_of_day.parquet": "row 1, column \"timestamp\": found '01:01:00.000000', expected a time",
    "time_out_of_range.csv": "line 3, column \"timestamp\": found '99999999999'",
    "time_text.csv": "line 3, column \"timestamp\": found 'yesterday'",
    "truncated.parquet": "is damaged or no Parquet file",
    "two_open_quotes.csv": 'line 3: a quote (") that is not closed',
    "two_tables": "two_tables/transactions.csv",
    "unknown_layout": "no known layout: it holds notes.md",
    "utf16_cut.csv": "line 1: a NUL byte",
    "utf16_without_bom.csv": "line 1: a NUL byte",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_in_one_sentence(name):
    with pytest.raises(UserError) as refused:
        read(Config(data=str(BADINPUT / name)))
    message = str(refused.value)
    assert BROKEN[name] in message
    assert name in message
    assert "\n" not in message
    assert len(message) < 500
