from __future__ import annotations

from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow.dataset as ds

from pipeline.output.schema import ANSWERS
from tests.support.bundles import rows_of
from tests.support.published import SCHEMAS, published, results_for, sql, store_at


def test_any_reader_opens_a_table_as_a_folder(tmp_path: Path) -> None:
    store = store_at(str(tmp_path))
    results = results_for([40, None, 3])
    for result in results:
        store.commit(result)
        published(store)
    want = len(rows_of(results))
    assert sql(f"select count(*), count(distinct unit_id) from '{tmp_path}/answers/*.parquet'") == [
        (want, len({unit.unit_id for result in results for unit in result.bundle.units}))
    ]
    box = sql(f"select evidence[1].x1 from '{tmp_path}/answers/*.parquet' where page = 1")
    assert box == [(20.25,)] * 4
    frame = pd.read_parquet(tmp_path / "answers")
    assert len(frame) == want
    assert sorted(frame.columns) == sorted(ANSWERS.names)
    assert frame["decode_ms"].isna().all()
    assert pl.read_parquet(tmp_path / "answers").height == want
    assert ds.dataset(tmp_path / "answers").to_table().num_rows == want
    for name, schema in SCHEMAS.items():
        assert list(pd.read_parquet(tmp_path / name).columns) == schema.names
