"""Measures how the router's index grows with blocks and workers, and draws it.

usage: index_growth.py [CHART.svg] [BLOCKS,...] [WORKERS,...]

`index-benchmark` (release build) fills an index with prompts of 8192 tokens in blocks of 16, of which the first 64 blocks are one of
sixteen beginnings that all workers share, and looks prompts up that are in it. Prints a table, and draws memory per block and the
time of a lookup when a file is named. Ends with 1 when a lookup's p99 with the most blocks misses its limit.
"""

import csv
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / ".build/release/index-benchmark"
LIMIT = 1000
COLOURS = ("#2b6cb0", "#dd6b20", "#2f855a", "#805ad5", "#b83280")
PANELS = (
    ("bytes_per_block", "memory per block held (bytes)"),
    ("lookup_p50_us", "lookup of a prompt of 8192 tokens, p50 (µs)"),
    ("lookup_p99_us", "lookup of a prompt of 8192 tokens, p99 (µs)"),
)
COLUMNS = {
    "blocks": "blocks", "workers": "workers", "bytes_per_block": "bytes a block", "blocks_applied_per_s": "blocks applied/s",
    "lookups_per_s": "lookups/s", "lookup_p50_us": "p50 µs", "lookup_p99_us": "p99 µs",
}


def chart(rows: list[dict[str, int]]) -> str:
    """One panel for each figure: blocks to the right, a line for each number of workers."""
    workers = sorted({row["workers"] for row in rows})
    width, height, left, top = 300, 200, 60, 60
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{len(PANELS) * (width + 90) + 20}" height="{height + 130}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    counts = sorted({row["asked"] for row in rows})
    for panel, (figure, title) in enumerate(PANELS):
        x0 = left + panel * (width + 90)
        most = max(row[figure] for row in rows) * 1.1 or 1
        lines.append(f'<text x="{x0}" y="{top - 20}" font-weight="bold">{title}</text>')
        for step in range(5):
            y = top + height - height * step / 4
            lines.append(f'<line x1="{x0}" y1="{y}" x2="{x0 + width}" y2="{y}" stroke="#ddd"/>')
            lines.append(f'<text x="{x0 - 6}" y="{y + 4}" text-anchor="end" fill="gray">{most * step / 4:.0f}</text>')
        place = {count: x0 + 20 + (width - 40) * i / max(1, len(counts) - 1) for i, count in enumerate(counts)}
        for count, x in place.items():
            label = f"{count / 1e6:g} M" if count >= 1e6 else f"{count / 1e3:g} k"
            lines.append(f'<text x="{x}" y="{top + height + 18}" text-anchor="middle" fill="gray">{label}</text>')
        lines.append(f'<text x="{x0 + width / 2}" y="{top + height + 36}" text-anchor="middle">blocks</text>')
        for number, count in enumerate(workers):
            colour = COLOURS[number % len(COLOURS)]
            points = [(place[r["asked"]], top + height * (1 - r[figure] / most)) for r in rows if r["workers"] == count]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            lines += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
            if panel == 0:
                y = top + height + 60
                x = left + number * 130
                lines.append(f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{colour}"/>')
                lines.append(f'<text x="{x + 18}" y="{y}">{count} worker{"s" if count > 1 else ""}</text>')
    lines.append("</svg>")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> None:
    blocks = arguments[1] if len(arguments) > 1 else "100000,1000000,10000000"
    workers = arguments[2] if len(arguments) > 2 else "1,16,256"
    rows = []
    print("| " + " | ".join(COLUMNS.values()) + " |\n" + "|---" * len(COLUMNS) + "|")
    # A process for each row: what one leaves to the allocator must not count for the next.
    for count in blocks.split(","):
        for ranks in workers.split(","):
            output = subprocess.run([PROGRAM, count, ranks], check=True, stdout=subprocess.PIPE, text=True).stdout
            row = {name: int(value) for name, value in next(csv.DictReader(output.splitlines())).items()}
            rows.append(row | {"asked": int(count)})
            print("| " + " | ".join(f"{row[name]:,}" for name in COLUMNS) + " |", flush=True)
    if arguments:
        pathlib.Path(arguments[0]).write_text(chart(rows))
    largest = max(row["asked"] for row in rows)
    slowest = max(row["lookup_p99_us"] for row in rows if row["asked"] == largest)
    if slowest > LIMIT:
        sys.exit(f"missed: a lookup's p99 with {largest} blocks is {slowest} µs, more than {LIMIT}")


if __name__ == "__main__":
    main(sys.argv[1:])
