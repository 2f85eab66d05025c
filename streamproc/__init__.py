"""A stream processor in pure Python: Kafka -> stateful windows and deduplication -> Delta Lake, exactly once.

```python
import polars as pl
import streamproc as sp

topology = sp.Topology("iot")
reading = {"device": pl.String, "time": pl.Datetime, "celsius": pl.Float64}
readings = (
    topology.read_kafka("sensor-data", format=sp.Json(reading), partitioned_by="device")
    .with_watermark("time", lateness="10s")
    .deduplicate("device", "time", within="10m")
)
readings.write_delta("silver/readings")
readings.group_by(sp.tumbling("1m"), "device").agg(mean=sp.mean("celsius")).write_delta("gold/minutes")
```
"""

from streamproc.errors import (
    ConfigError,
    DataError,
    Fenced,
    LogError,
    StateError,
    StreamprocError,
    TableError,
    TopologyError,
)
from streamproc.flow.aggregates import count, first, last, max, mean, min, std, sum, var
from streamproc.flow.topology import Topology
from streamproc.flow.windows import tumbling
from streamproc.formats.json import Json
from streamproc.formats.raw import Raw

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "DataError",
    "Fenced",
    "Json",
    "LogError",
    "Raw",
    "StateError",
    "StreamprocError",
    "TableError",
    "Topology",
    "TopologyError",
    "__version__",
    "count",
    "first",
    "last",
    "max",
    "mean",
    "min",
    "std",
    "sum",
    "tumbling",
    "var",
]
