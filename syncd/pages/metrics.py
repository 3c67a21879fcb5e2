"""Numbers as Prometheus reads them: the text format 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Sample = tuple[Mapping[str, str], float]


def exposition(families: Iterable[tuple[str, str, Sequence[Sample]]]) -> str:
    """Name, help, samples with their labels. All are gauges."""
    lines: list[str] = []
    for name, about, samples in families:
        lines += [f"# HELP {name} {about}", f"# TYPE {name} gauge"]
        for labels, value in samples:
            inside = ",".join(f'{key}="{_label(text)}"' for key, text in labels.items())
            lines.append(f"{name}{{{inside}}} {value!r}" if inside else f"{name} {value!r}")
    return "\n".join(lines) + "\n"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
