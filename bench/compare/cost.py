"""Measured speeds -> the tables of docs/cost.md: `cost.py --transform MB/S --append MB/S`.

A TB is 10^12 bytes of events as producers send them, 1 TB a day, with the template's defaults. Speeds are MB of these per second of
one processor: of transform for records of 1 KB, of append for objects compressed with gzip.
"""

import argparse
import math
from dataclasses import dataclass

# Dollars, us-east-1, arm64.
GB_SECOND = 0.0000133334
VCPU_SECOND = 1769 / 1024 * GB_SECOND
REQUEST = 0.20e-6
LOG_GB = 0.50
PUT, GET = 0.005e-3, 0.0004e-3
SQS = 0.40e-6
GLUE = 1e-6
FIREHOSE_GB, FIREHOSE_ICEBERG_GB = 0.029, 0.075
DPU_HOUR, MCU_HOUR = 0.44, 0.11

TB = 1e12
EVENT, LOG_LINE = 1e6, 570
OBJECT, RANGE = 128e6, 8e6
COMMITS = 24 * 60
ADDED = 180


@dataclass
class Part:
    name: str
    formula: str
    dollars: float


def main():
    options = arguments()
    parts = rest(options.transform, options.append)
    total = sum(part.dollars for part in parts)
    print(ways(total, sum(part.dollars for part in parts[:3])))
    print("\n| part | formula | dollars per TB |\n| --- | --- | --- |")
    for part in parts:
        print(f"| {part.name} | {part.formula} | {part.dollars:.2f} |")
    print(f"| | | **{total:.2f}** |")
    slower = total + parts[0].dollars + parts[5].dollars
    alone = sum(part.dollars for part in parts[3:])
    print(f"\nWith functions that are half as fast: {slower:.2f}. append alone, objects and commits included: {alone:.2f}")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transform", type=float, required=True, metavar="MB/S")
    parser.add_argument("--append", type=float, required=True, metavar="MB/S")
    return parser.parse_args()


def rest(transform_mb, append_mb):
    """What is paid beside Firehose's price for each GB."""
    computing = VCPU_SECOND * 1e6
    events, objects, ranges = TB / EVENT, TB / OBJECT, TB / RANGE
    return [
        Part("transform: computing", f"{computing:.2f} / {transform_mb:.0f} MB/s", computing / transform_mb),
        Part("transform: requests", f"{events:,.0f} events of 1 MB × $0.20 per million", events * REQUEST),
        Part(
            "transform: logs",
            f"{events:,.0f} × {LOG_LINE / 1000} KB × $0.50 per GB: the line of metrics",
            events * LOG_LINE / 1e9 * LOG_GB,
        ),
        Part(
            "S3: raw objects",
            f"{math.ceil(objects):,} PUTs of 128 MB (before compression) × $0.005 per 1,000; GETs of 8 MB × $0.0004",
            objects * PUT + ranges * GET,
        ),
        Part("SQS", "3 requests for each object × $0.40 per million", 3 * objects * SQS),
        Part("append: computing", f"{computing:.2f} / {append_mb:.0f} MB/s", computing / append_mb),
        Part(
            "append: commits",
            f"one a minute: {COMMITS:,} × (5 PUTs, 5 requests of Glue at $1 per million)",
            COMMITS * 5 * (PUT + GLUE),
        ),
    ]


def ways(total, transform):
    sizes = (500, 1000, 5000)
    firehose, iceberg = FIREHOSE_GB * 1000, FIREHOSE_ICEBERG_GB * 1000

    def frazil(size):
        return firehose * math.ceil(size / 5000) * 5000 / size + total

    def cells(dollars):
        return " | ".join(f"{dollars(size):.0f}" for size in sizes)

    glue, connect = DPU_HOUR * 2 * 24, MCU_HOUR * 24
    bold = " | ".join(f"**{frazil(size):.0f}**" for size in sizes)
    return "\n".join([
        "| way | formula, per TB | records of 0.5 KB | 1 KB | 5 KB |",
        "| --- | --- | --- | --- | --- |",
        f"| **Frazil** | Firehose to S3: {firehose:.0f} × (record rounded up to 5 KB) / record; and {total:.1f} for all the rest | {bold} |",
        f"| Firehose's own Iceberg delivery, as the events are | {iceberg:.0f} | {cells(lambda _: iceberg)} |",
        f"| the same with the four fields that transform adds | {iceberg:.0f} × (record + {ADDED} bytes) / record, and {transform:.1f} for "
        f"transform | {cells(lambda size: iceberg * (size + ADDED) / size + transform)} |",
        f"| Glue streaming, 2 DPUs all the time | 0.44 × 2 × 24 / (TB per day) | {glue:.0f} at 1 TB a day, {glue * 10:.0f} at 100 GB, "
        f"{glue * 100:,.0f} at 10 GB | | |",
        f"| MSK Connect, N workers of 1 MCU all the time | 0.11 × N × 24 / (TB per day) | {connect:.1f} × N at 1 TB a day, "
        f"{connect * 10:.0f} × N at 100 GB, {connect * 100:.0f} × N at 10 GB | | |",
    ])


if __name__ == "__main__":
    main()
