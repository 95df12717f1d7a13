"""Draw a run, the JSON of ``summary.as_json``, as SVG.

Only the benchmark's own environment has matplotlib, so the drawing has its own process:

    python -I -S -B chart.py DIRECTORY_OF_PACKAGES < run.json > chart.svg
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from statistics import median
from typing import Any, Final

_OURS: Final = "#b8430f"
_OTHERS: Final = "#7d8fa3"


def _main() -> None:
    sys.path.insert(0, sys.argv[1])
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update(
        {
            "font.family": "sans-serif",
            "font.size": 9,
            "svg.fonttype": "none",
            "svg.hashsalt": "push-sender",
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )
    from matplotlib import pyplot

    run = json.load(sys.stdin)
    figure, ((fast, cheap), (cold, growth)) = pyplot.subplots(2, 2, figsize=(10, 7))
    _peers(
        fast, run, "tokens a second, 50 ms for each call (more is better; log scale)", speed=True
    )
    _peers(cheap, run, "CPU a token, µs (less is better; log scale)", speed=False)
    _cold(cold, run)
    _growth(growth, run)
    facts = run["machine"]
    figure.suptitle(
        f"{facts['cores']} cores, {facts['cpu']}, {facts['system']}, Python {facts['python']}, "
        f"{run['at'][:10]}; medians",
        fontsize=9,
        color="#555555",
    )
    figure.tight_layout()
    figure.savefig(sys.stdout.buffer, format="svg", facecolor="white", metadata={"Date": None})


def _peers(axes: Any, run: Mapping[str, Any], title: str, *, speed: bool) -> None:
    values = {}
    for name, peer in run["peers"].items():
        if speed:
            values[name] = peer["tokens"] / median(peer["rounds"]["wall_seconds"])
        else:
            values[name] = median(peer["rounds"]["cpu_seconds"]) / peer["tokens"] * 1e6
    _bars(axes, values, title)
    axes.set_xscale("log")
    axes.set_xlim(left=1)


def _cold(axes: Any, run: Mapping[str, Any]) -> None:
    values = {
        name: median(rounds["wall_seconds"]) * 1e3
        for name, rounds in run["cold_start"].items()
        if "without" not in name
    }
    _bars(axes, values, "cold start to the first report, ms (less is better)")


def _bars(axes: Any, values: Mapping[str, float], title: str) -> None:
    names = list(values)
    colours = [_OURS if name.startswith("push sender") else _OTHERS for name in names]
    bars = axes.barh(names, list(values.values()), color=colours)
    axes.bar_label(bars, labels=[f"{value:,.0f}" for value in values.values()], padding=3)
    axes.invert_yaxis()
    axes.margins(x=0.18)
    axes.set_title(title, fontsize=9, loc="left")


def _growth(axes: Any, run: Mapping[str, Any]) -> None:
    cases = [case for case in run["many"] if case["latency"] == 0.0]
    for name in cases[0]["sides"]:
        axes.plot(
            [case["recipients"] for case in cases],
            [median(case["sides"][name]["cpu_seconds"]) * 1e3 for case in cases],
            marker="o",
            markersize=3,
            label=name,
            linestyle="--" if "16" in name else "-",
            color=_OURS if name.startswith("push sender") else _OTHERS,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    sizes = [case["recipients"] for case in cases]
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("recipients of one request")
    axes.set_title("CPU of one request, ms", fontsize=9, loc="left")
    axes.legend(frameon=False, fontsize=8)


if __name__ == "__main__":
    _main()
