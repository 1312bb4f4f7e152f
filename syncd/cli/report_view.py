"""A sidecar for a person's eyes, on a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from syncd.cli.jobs import offset_text
from syncd.cli.output import confidence_text, plain, printable

VERDICT_STYLES = {"in_sync": "bold green", "offset": "bold yellow", "no_match": "bold red", "inconclusive": "bold red"}


def report_view(report: dict[str, Any]) -> Group:
    """Verdict first, then what it rests on, then what to do."""
    verdict = str(report["verdict"])
    parts: list[RenderableType] = [plain(report["sync_status"], VERDICT_STYLES.get(verdict, "bold"))]
    if report["error"]:
        parts.append(plain(f"{report['error']['code']}: {report['error']['message']}", "red"))
    if report["review"]:
        parts.append(Text("A person should check this one by hand.", style="yellow"))
    parts += [Text(), _figures(report)]
    if report["method_results"]:
        parts += [Text(), _methods(report["method_results"])]
    parts += [plain(f"! {warning}", "yellow") for warning in report["warnings"]]
    parts += [Text(), *(part for advice in report["recommendations"] for part in _advice(advice, report))]
    return Group(*parts)


def _advice(advice: str, report: dict[str, Any]) -> list[Text]:
    """A command stands on a line of its own, which is never broken: it is there to be copied."""
    shell = (report["correction"] or {}).get("shell")
    if not shell or not advice.endswith(shell):
        return [plain(f"* {advice}")]
    command = Text(printable(shell), no_wrap=True, overflow="ignore")
    return [plain(f"* {advice.removesuffix(shell).rstrip()}"), command]


def _figures(report: dict[str, Any]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    if consensus := report["consensus_offset"]:
        frames = consensus["offset_frames"]
        table.add_row("Offset", f"{offset_text(consensus['offset_seconds'])} (± {consensus['uncertainty_ms']} ms)")
        table.add_row("In frames", ", ".join(f"{abs(frames[fps])} at {fps}" for fps in ("23.976", "25.0", "29.97")))
        whole = confidence_text(report["overall_confidence"])
        table.add_row("Confidence", f"{confidence_text(consensus['confidence'])} in the offset, {whole} in the whole")
    for side in ("master", "dub"):
        table.add_row(side.capitalize(), plain(_side(report[side])))
    tolerance = report["tolerance"]
    table.add_row(
        "Tolerance", f"{tolerance['name']}: {tolerance['early_ms']:g} ms early, {tolerance['late_ms']:g} ms late"
    )
    table.add_row("Evidence", plain(report["channels_used"] or "none"))
    if report["ai_result"]:
        table.add_row("Model", plain(_model(report["ai_result"])))
    table.add_row("Took", f"{report['processing']['seconds']:.2f} s on {report['processing']['device']}")
    return table


def _model(ai: dict[str, Any]) -> str:
    said = offset_text(ai["offset"]["offset_seconds"]) if ai["offset"] else "; ".join(ai["reasons"])
    shares = (("similarity", ai["embedding_similarity"]), ("consistency", ai["temporal_consistency"]))
    figures = [f"{name} {value:.2f}" for name, value in shares if value is not None]
    return f"{ai['model']} on {ai['device']}: {', '.join([said, *figures])}"


def _side(side: dict[str, Any]) -> str:
    known = [
        f"{side['duration_seconds']:.2f} s" if side.get("duration_seconds") is not None else None,
        str(side["codec"]) if side.get("codec") else None,
        f"{side['sample_rate']} Hz" if side.get("sample_rate") else None,
        f"{side['channels']} channels" if side.get("channels") else None,
    ]
    return f"{side['path']} ({', '.join(fact for fact in known if fact) or 'not read'})"


def _methods(results: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("METHOD", "SAYS", "CONFIDENCE", "QUALITY", "SECONDS"):
        table.add_column(heading, overflow="fold")
    for result in results:
        offset = result["offset"]
        said = offset_text(offset["offset_seconds"]) if offset else "; ".join([result["status"], *result["reasons"]])
        table.add_row(
            plain(result["method"]),
            plain(said),
            confidence_text(offset["confidence"]) if offset else "",
            "" if result["quality_score"] is None else f"{result['quality_score']:.1f}",
            f"{result['processing_seconds']:.2f}",
        )
    return table
